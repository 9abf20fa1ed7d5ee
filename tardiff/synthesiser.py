"""Synthesiser: all stages behind `fit(x, y)` and `sample(counts)`, for arrays at hand."""

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import configs
from classifier.train import main as train_classifier
from configs.run_record import run_dir
from configs.runtime.errors import DataError, MismatchError, MissingInputError
from data_preprocess.build import ensure_built
from data_preprocess.cohort import require_float32
from data_preprocess.dataset import EHRDataset
from data_preprocess.sources.arrays import numbered_patients
from data_preprocess.storage.array_files import LAYOUT, Arrays, checked, require_classes
from data_preprocess.storage.dataset_files import load_dataset, save_dataset
from tardiff.generate import main as generate
from tardiff.train import main as train_diffusion

log = logging.getLogger("tardiff.data")

BASE = Path(configs.__file__).parent / "base"
# A base config may fix sizes for the data that it was made for; arrays at hand have their own.
SHARES = ("data.train_size=null", "data.guide_size=null", "data.select_size=null", "data.test=0.2")


class Synthesiser:
    """Guided synthetic series from labelled series.

    Everything is kept in one folder, so that a fit which was interrupted goes on, one that is there
    costs nothing, and the commands of the other stages work on it.

    Args:
        folder: of data, models and sets.
        settings: "key=value" as on the command line, such as "diffusion.max_steps=6000", or
            mappings such as {"diffusion.max_steps": 6000}.
        config: a YAML, or the name of one in configs/base.
    """

    def __init__(
        self,
        folder: Path | str,
        *settings: str | Mapping[str, Any],
        config: Path | str = "demo",
    ) -> None:
        self._folder, self._settings = Path(folder), tuple(_texts(settings))
        own = BASE / f"{config}.yaml"
        if not own.is_file() and not Path(config).is_file():
            known = ", ".join(sorted(path.stem for path in BASE.glob("*.yaml")))
            raise MissingInputError(
                f"config={str(config)!r}: no such file, and none of configs/base ({known})"
            )
        self._yaml = own if own.is_file() else config

    def config(self, *more: str) -> configs.ExperimentConfig:
        """The configuration of every stage; `more` are further settings."""
        guidance = self._folder / "guidance.npz"
        return configs.load_config(
            [
                str(self._yaml),
                f"runs_dir={self._folder / 'runs'}",
                f"classifier.checkpoint_dir={self._folder / 'classifier'}",
                f"data.dir={self._folder / 'data'}",
                "data.source=files",
                f"data.files.train={self._folder / 'series.npz'}",
                *(self._of_guidance(guidance) if guidance.exists() else []),
                *SHARES,
                *self._settings,
                *more,
            ]
        )

    def _of_guidance(self, path: Path) -> list[str]:
        """Settings for guidance rows of their own: they stand for whom the series are meant for,
        and resampling would draw the series away from them, toward the training rows."""
        by_yaml = configs.load_config([str(self._yaml)]).generation.resample
        never = ["generation.resample=never"] if by_yaml == "auto" else []
        return [f"data.files.val={path}", *never]

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        subjects: ArrayLike | None = None,
        channels: Iterable[str] | None = None,
        guidance: Any = None,
    ) -> "Synthesiser":
        """Splits the series by patient, trains the diffusion model and the task classifier.

        Args:
            x: (series, channel, time) in clinical units, NaN or masked where nothing was measured.
            y: (series,) classes 0..K-1.
            subjects: (series,) patient of each, numbers or text; None: each has its own.
            channels: names with units ("heart_rate[bpm]"); None: channel_0, ...
            guidance: (x, y) or (x, y, subjects) of other patients, those whom the series are to
                serve: `data.val_guide` to `data.val_select` of them guide, the others choose
                checkpoints and thresholds. Sets are not resampled toward `x` then, unless
                `generation.resample` says so. None: both are drawn from `x`, as the test split is.

        Raises:
            UserError: the arrays do not fit, or the folder holds a fit of other series.
        """
        given: dict[str, Sequence[Any]] = {"series": (x, y, subjects)}
        if guidance is not None:
            if not isinstance(guidance, (tuple, list)) or len(guidance) not in (2, 3):
                raise DataError(
                    f"fit: guidance is a {type(guidance).__name__}; expected the tuple (x, y) or "
                    "(x, y, subjects)"
                )
            given["guidance"] = guidance
        sets = _series(given, channels)
        if self._is_built() and (other := self._differing(sets)):
            raise MismatchError(
                f"{self._folder} holds a fit of other series; give another folder, or remove it "
                f"(not the same: {', '.join(other)})"
            )
        (self._folder / "guidance.npz").unlink(missing_ok=True)  # of a fit that built nothing
        for name, series in sets.items():
            save_dataset(self._folder / f"{name}.npz", series)
        config = self.config()
        ensure_built(config.data)
        train_diffusion(config)
        train_classifier(config)
        return self

    def _is_built(self) -> bool:
        return all((self._folder / name).exists() for name in ("series.npz", "data/data.json"))

    def sample(self, counts: Any, *, name: str = "sample", seed: int = 0) -> EHRDataset:
        """New series, `counts[k]` of class k, in clinical units.

        Args:
            counts: a list, tuple or array of whole numbers.
            name: of the set on disk, where it has a card. `guidance.w` among the settings says how
                strongly they are guided, `guidance.kind=none` that they are not.
            seed: another one draws other series.

        Raises:
            UserError: nothing was fitted yet, or `counts` do not fit the classes.
        """
        if not self._is_built():
            raise MissingInputError(f"{self._folder} holds no fit yet; call fit(x, y) first")
        if not isinstance(counts, (list, tuple, np.ndarray)) or np.ndim(counts) != 1:
            raise DataError(
                f"sample: counts is a {type(counts).__name__}; expected a list with the number of "
                "series of class 0, class 1, ..., each a whole number"
            )
        config = self.config(
            f"generation.name={name}",
            f"generation.counts=[{','.join(map(str, counts))}]",
            f"generation.seed={seed}",
            "generation.unguided_too=false",
        )
        generate(config)
        return load_dataset(run_dir(config) / "synthetic" / f"{name}.npz")

    def _differing(self, sets: Mapping[str, EHRDataset]) -> list[str]:
        """What of a set is not as the fit in the folder has it."""
        paths = {name: self._folder / f"{name}.npz" for name in ("series", "guidance")}
        kept = {name: load_dataset(path) for name, path in paths.items() if path.exists()}
        if kept.keys() != sets.keys():
            return ["guidance"]
        names = ("values", "observed", "labels", "subject_ids", "feature_names")
        return [
            name if of == "series" else f"{name} of {of}"
            for of, series in sets.items()
            for name in names
            if not np.array_equal(getattr(kept[of], name), getattr(series, name))
        ]


def _texts(settings: Iterable[str | Mapping[str, Any]]) -> Iterator[str]:
    """Settings as on the command line; JSON is YAML."""
    for given in settings:
        if isinstance(given, str):
            yield given
        else:
            yield from (f"{key}={json.dumps(value, default=str)}" for key, value in given.items())


def _checked(where: str, x: ArrayLike, y: ArrayLike, subjects: ArrayLike | None = None) -> Arrays:
    """The arrays of one set; errors as in `checked`."""
    found = {}
    for name, given in {"x": x, "y": y, "subjects": subjects}.items():
        try:
            found[name] = None if given is None and name == "subjects" else _plain(given)
        except (ValueError, TypeError, RuntimeError) as error:  # unequal lists; tensors with grad
            raise DataError(f"{where}: {name} is no array: {error}") from error
    return checked(Arrays(*found.values()), f"{where}, x as data and y as label")


def _plain(given: Any) -> np.ndarray:
    """An array without a mask: what is masked is NaN, not the number that lies beneath."""
    array: Any = np.ma.asarray(given)
    if not np.ma.is_masked(array):
        return array.data
    if array.dtype.kind not in "fiub":
        raise TypeError(f"masked values of {array.dtype}, where only numbers have a NaN")
    return array.astype(float).filled(np.nan)


def _series(
    given: Mapping[str, Sequence[Any]], channels: Iterable[str] | None
) -> dict[str, EHRDataset]:
    """The sets as data sets, "series" first."""
    if isinstance(channels, str):
        raise DataError(f"fit: channels={channels!r}; expected a list with one name a channel")
    sets = {
        name: _checked("fit" if name == "series" else f"fit, {name}", *parts)
        for name, parts in given.items()
    }
    values, labels, *_ = sets["series"]
    require_classes(labels, "fit(x, y)")
    _, num_channels, length = values.shape
    names = [f"channel_{k}" for k in range(num_channels)] if channels is None else list(channels)
    swapped = "if yours are (series, time, channel), give x.transpose(0, 2, 1)"
    if len(names) != num_channels:
        raise DataError(
            f"fit: {len(names)} names of channels for x of shape {values.shape}, read as {LAYOUT}; "
            f"{swapped}"
        )
    if channels is None and num_channels > length:
        log.warning(
            "fit: %d channels x %d points: x is read as %s; %s",
            num_channels,
            length,
            LAYOUT,
            swapped,
        )
    for name, found in sets.items():
        if found.values.shape[1:] != (num_channels, length):
            raise DataError(
                f"fit: {name} has x of shape {found.values.shape}, the series {values.shape}; "
                f"channels and points must agree, {LAYOUT}"
            )
        require_float32(found.values, names, f"fit, {name}")
    patients = numbered_patients(sets)
    num_classes = 1 + max(int(found.labels.max()) for found in sets.values())
    return {
        name: EHRDataset(
            values=np.nan_to_num(found.values).astype(np.float32),
            observed=~np.isnan(found.values),
            labels=found.labels,
            subject_ids=patients[name],
            feature_names=tuple(map(str, names)),
            label_names=tuple(f"class_{k}" for k in range(num_classes)),
            static=np.zeros((len(found.labels), 0), np.float32),
            static_names=(),
        )
        for name, found in sets.items()
    }
