"""GenerationSession: one set of labels and noise, sampled unguided and under any strength.

What does not depend on the strength (direction, pilot, unguided counterpart) is computed once, so
a search over strengths pays for its guided sampling only. What is finished stays on disk until
`forget`, so that an interrupted run goes on.
"""

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from configs.runtime.device import one_thread
from configs.runtime.processes import Processes
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import EncodedSeries, decode
from data_preprocess.splits import Splits
from data_preprocess.storage.content_cache import ContentCache, array_fingerprint
from tardiff.diffusion.denoiser import NetworkDenoiser
from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.generation.artefacts import requested_labels
from tardiff.generation.batches import Job, sample_batches
from tardiff.generation.pilot import GuidanceSettings, Pilot
from tardiff.generation.pool import Pool, Rows, Sampled, as_released
from tardiff.generation.reverse_process import GUIDE, ReverseProcess, fresh_numbers
from tardiff.guidance.algorithm1 import algorithm1
from tardiff.guidance.calibration import Calibration, unguided_scale
from tardiff.guidance.diagnostics import GuidanceOutcome, outcome_of, score_all
from tardiff.guidance.direction_loader import LoadedDirection
from tardiff.guidance.directions import Direction
from tardiff.guidance.guided_denoiser import Guidance, GuidanceStats, Tilt
from tardiff.influence.parameter_space import weights_sha256
from tardiff.privacy.memorisation import CopyCheck, replace_copies
from tardiff.training.checkpoint import DiffusionModel

CODE = ("tardiff", "classifier", "data_preprocess.model_space")  # decides what is sampled

MOST_GUIDE_ROWS = 4096  # that the guide is trained on
FEWEST_PER_CLASS = 32

log = logging.getLogger(__name__)


def rows_for_guide(y: Labels) -> Rows:
    """Rows of series with labels `y` that the guide is trained on: all where they are few enough,
    else a random choice that leaves no class with fewer than `FEWEST_PER_CLASS` if it has them."""
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))
    kept = torch.cat([order[y[order] == k][:FEWEST_PER_CLASS] for k in y.unique()])
    others = order[~torch.isin(order, kept)]
    chosen = torch.cat([kept, others[: max(0, MOST_GUIDE_ROWS - len(kept))]])
    return order[torch.isin(order, chosen)]


@dataclass(frozen=True, kw_only=True)
class GenerationSession:
    """A trained model, ready to sample requested labels.

    Attributes:
        model: its network is on the device of `process`.
        cfg_scale: of classifier-free guidance.
        y: label of every series.
        load_direction: what guidance raises, given what makes the unguided series that a guide is
            trained on; called at most once, when something is to be guided.
        pool_ratio: unguided series per series asked for, from which both sets are drawn; 1:
            nothing is drawn, the sampler is pushed.
        trained_on: the series that the generator has seen; none is released again.
        resampled: whether the pool is resampled toward those.
        allow_copies: release series that copy one of those.
        folder: of finished batches and calibrations; processes on other machines must see it.
        used: the files of this session in `folder`.
    """

    splits: Splits
    model: DiffusionModel
    process: ReverseProcess
    cfg_scale: float
    y: Tensor
    load_direction: Callable[[Callable[[], EncodedSeries]], LoadedDirection]
    pool_ratio: int = 1
    trained_on: EHRDataset
    resampled: bool = False
    guidance: GuidanceSettings
    allow_copies: bool
    folder: Path
    processes: Processes
    used: set[Path] = field(default_factory=set)

    @cached_property
    def denoiser(self) -> NetworkDenoiser:
        """The unguided denoiser, classifier-free guidance included."""
        model = self.model
        return NetworkDenoiser(model.network, prediction=model.prediction, cfg_scale=self.cfg_scale)

    @cached_property
    def unguided(self) -> Sampled:
        """The set without guidance."""
        return self.pool.take(torch.cat(self.pool.draw(self.y)))

    @cached_property
    def pool(self) -> Pool:
        """The unguided series that sets are drawn from."""
        return Pool(
            sampled=self._sample("unguided", None, None, self.y.repeat(self.pool_ratio)),
            splits=self.splits,
            toward=self.trained_on if self.resampled else None,
            seed=self.process.seed,
            processes=self.processes,
        )

    @cached_property
    def loaded_direction(self) -> LoadedDirection:
        """What guidance raises."""
        return self.load_direction(self.guide_series)

    def guide_series(self) -> EncodedSeries:
        """Unguided series for the guide to be trained on: those at hand where they are many enough
        and of every class, else new ones."""
        train = self.splits.train
        enough = min(len(train), MOST_GUIDE_ROWS)
        # The rest of a resampled pool is of another mixture than the set drawn from it, so no more
        # of it takes part than a guide needs.
        repeats = min(math.ceil(enough / len(self.y)), self.pool_ratio - 1)
        y = self.y.repeat(repeats if self.resampled else self.pool_ratio)
        counts = torch.bincount(y, minlength=train.num_classes)
        fewest = torch.as_tensor(train.class_counts).clamp(2, FEWEST_PER_CLASS)
        if len(y) >= enough and bool((counts >= fewest).all()):
            rows = torch.cat(self.pool.draw(y)) if self.resampled else torch.arange(len(y))
            some = rows[rows_for_guide(self.pool.sampled.y[rows])].sort().values
            return as_released(self.pool.take(some), self.splits)
        ratio = min(2.0, MOST_GUIDE_ROWS / len(train))
        wanted = [max(FEWEST_PER_CLASS, round(ratio * int(n))) for n in train.class_counts]
        y = requested_labels(train, ratio=ratio, counts=wanted)
        log.info("sampling %d unguided series to train the guide on", len(y))
        with one_thread():
            numbers = range(GUIDE, GUIDE + len(y))
            x = self.process.run(self.denoiser, y, numbers, None).x
        if not self.allow_copies:  # a guide file holds what it was trained on
            x, _ = self._without_copies(x, y, None)
        return as_released(Sampled(x, y, GuidanceStats(), None), self.splits)

    def guided(self, w: float, title: str = "guided") -> tuple[Sampled, GuidanceOutcome]:
        """The set whose mean score is higher by `w` unguided standard deviations in every class
        than that of `unguided`, and how strong guidance really was."""
        if self.pool_ratio > 1:
            return self._chosen(w)
        calibrations = self._calibrations(w)
        gain = Tilt(
            torch.tensor([found.multiplier for found in calibrations], dtype=torch.float64),
            torch.tensor([found.scale for found in calibrations], dtype=torch.float64),
        )
        guidance = self.guidance.guidance(self._pushing, gain, self.process.levels)
        key = {"strength": gain.strength.tolist(), "settings": asdict(self.guidance)}
        return self._guided(title, guidance, key, calibrations)

    def _chosen(self, w: float) -> tuple[Sampled, GuidanceOutcome]:
        loaded, pool = self.loaded_direction, self.pool
        scores = self._score(pool.released.x, pool.sampled.y).double()
        rows, found = pool.choose(self.y, scores, w)
        before, after = ([scores[mine] for mine in side] for side in (pool.draw(self.y), rows))
        outcome = outcome_of(loaded, before, after, found, pool=len(scores))
        return pool.take(torch.cat(rows)), outcome

    def algorithm1(self, w: float, title: str = "paper") -> tuple[Sampled, GuidanceOutcome]:
        """The set of the paper's algorithm as printed, with multiplier `w`; see
        tardiff/guidance/algorithm1.py."""
        calibrations = [
            Calibration(multiplier=w, scale=unguided_scale(scores) if len(scores) else 1.0)
            for scores in self._unguided_scores
        ]
        guidance = algorithm1(self._pushing, w, self.process.levels)
        return self._guided(title, guidance, {"algorithm1": w}, calibrations)

    def forget(self) -> None:
        """Removes what this session keeps on disk; its sets are written."""
        for path in self.used:
            path.unlink(missing_ok=True)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    @property
    def _pushing(self) -> Direction:
        """The direction, which must have a gradient."""
        direction = self.loaded_direction.direction
        if not isinstance(direction, Direction):
            raise ValueError("boosted trees have no gradient: they choose, and push no sampler")
        return direction

    @property
    def _cache(self) -> ContentCache:
        return ContentCache(self.folder, CODE)

    @cached_property
    def _key(self) -> dict[str, Any]:
        """All that decides unguided series, besides their labels."""
        process, finish = self.process, self.process.finish
        return {
            "network": [weights_sha256(self.model.network), self.model.network_args],
            "prediction": self.model.prediction,
            "cfg_scale": self.cfg_scale,
            "sampler": [process.sampler, process.eta, process.levels.tolist()],
            "noise": [process.seed, list(process.shape)],
            "batch_size": process.batch_size,
            "marginals": None if finish is None else weights_sha256(finish),
            "device": process.device.type,
        }

    def _calibrations(self, w: float) -> list[Calibration]:
        classes, direction = self.splits.train.num_classes, self.loaded_direction.key
        pilot = Pilot(
            process=self.process,
            denoiser=self.denoiser,
            direction=self._pushing,
            settings=self.guidance,
            key=self._key | {"direction": direction, "settings": asdict(self.guidance)},
            cache=self._cache,
        )
        asked = [(label, w) for label in range(classes)]
        keys = [pilot.unguided_key(label) for label, _ in asked]
        keys += [pilot.calibration_key(pair) for pair in asked]
        self._keep(keys)
        if any(self._cache.read(key) is None for key in keys):
            log.info("pilot of %d series per class", self.guidance.pilot_rows)
        found = dict(self.processes.run(pilot.calibration, asked))
        return [found[pair] for pair in asked]

    def _guided(
        self,
        title: str,
        guidance: Guidance,
        key: Mapping[str, Any],
        calibrations: list[Calibration],
    ) -> tuple[Sampled, GuidanceOutcome]:
        before, loaded = self._unguided_scores, self.loaded_direction
        made = self._sample(title, guidance, {**key, "direction": loaded.key}, self.y)
        after = self._scores(made.x)
        return made, outcome_of(loaded, before, after, calibrations, stats=made.stats)

    @cached_property
    def _unguided_scores(self) -> list[Tensor]:
        return self._scores(self.unguided.x)

    def _scores(self, x: Series) -> list[Tensor]:
        """Of series with the labels of this session, per class."""
        scores = self._score(x, self.y)
        return [scores[self.y == k] for k in range(self.splits.train.num_classes)]

    def _score(self, x: Series, y: Tensor) -> Tensor:
        direction, device = self.loaded_direction.direction, self.process.device
        return score_all(direction, x, y, device, title="influence")

    def _sample(
        self,
        title: str,
        guidance: Guidance | None,
        key: Mapping[str, Any] | None,
        y: Tensor,
    ) -> Sampled:
        labels = array_fingerprint(y.numpy())
        job = Job(
            process=self.process,
            denoiser=self.denoiser,
            guidance=guidance,
            y=y,
            key=self._key | {"labels": labels, "guidance": key},
        )
        self._keep([job.batch_key(rows) for rows in job.batches])
        x, stats = sample_batches(job, self._cache, self.processes, title=title)
        if self.allow_copies:
            return Sampled(x, y, stats, None)
        x, copies = self._without_copies(x, y, guidance)
        return Sampled(x, y, stats, copies)

    def _keep(self, keys: Sequence[Mapping[str, Any]]) -> None:
        self.used.update(self._cache.path(key) for key in keys)

    def _without_copies(
        self, x: Series, y: Tensor, guidance: Guidance | None
    ) -> tuple[Series, CopyCheck]:
        normaliser = self.splits.normaliser

        def resample(rows: np.ndarray, attempt: int) -> Series:
            labels, numbers = y[torch.from_numpy(rows)], fresh_numbers(rows, attempt)
            with one_thread():
                return self.process.run(self.denoiser, labels, numbers, guidance).x

        def released(series: Series) -> Tensor:
            return normaliser.to_model(decode(normaliser, series)[0])

        seen = normaliser.to_model(self.trained_on.values)
        return replace_copies(x, seen, resample, through=released)
