"""Synthesiser: all stages behind `fit(x, y)` and `sample(counts)`, for arrays at hand."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import configs
from classifier.train import main as train_classifier
from configs.run_record import run_dir
from configs.runtime.errors import DataError, MismatchError, MissingInputError
from data_preprocess.build import ensure_built
from data_preprocess.dataset import EHRDataset
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
        settings: "key=value" as on the command line, such as "diffusion.max_steps=6000".
        config: a YAML, or the name of one in configs/base.
    """

    def __init__(self, folder: Path | str, *settings: str, config: Path | str = "demo") -> None:
        self._folder, self._settings = Path(folder), settings
        own = BASE / f"{config}.yaml"
        if not own.is_file() and not Path(config).is_file():
            known = ", ".join(sorted(path.stem for path in BASE.glob("*.yaml")))
            raise MissingInputError(
                f"config={str(config)!r}: no such file, and none of configs/base ({known})"
            )
        self._yaml = own if own.is_file() else config

    def config(self, *more: str) -> configs.ExperimentConfig:
        """The configuration of every stage; `more` are further settings."""
        return configs.load_config(
            [
                str(self._yaml),
                f"runs_dir={self._folder / 'runs'}",
                f"classifier.checkpoint_dir={self._folder / 'classifier'}",
                f"data.dir={self._folder / 'data'}",
                "data.source=files",
                f"data.files.train={self._folder / 'series.npz'}",
                *SHARES,
                *self._settings,
                *more,
            ]
        )

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike,
        *,
        subjects: ArrayLike | None = None,
        channels: Iterable[str] | None = None,
    ) -> "Synthesiser":
        """Splits the series by patient, trains the diffusion model and the task classifier.

        Args:
            x: (series, channel, time) in clinical units, NaN where nothing was measured.
            y: (series,) classes 0..K-1.
            subjects: (series,) patient of each, numbers or text; None: each has its own.
            channels: names with units ("heart_rate[bpm]"); None: channel_0, ...

        Raises:
            UserError: the arrays do not fit, or the folder holds a fit of other series.
        """
        series = _series(x, y, subjects, channels)
        path, config = self._folder / "series.npz", self.config()
        if self._is_built() and (other := _differing(load_dataset(path), series)):
            raise MismatchError(
                f"{self._folder} holds a fit of other series; give another folder, or remove it "
                f"(not the same: {', '.join(other)})"
            )
        save_dataset(path, series)
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


def _differing(one: EHRDataset, other: EHRDataset) -> list[str]:
    names = ("values", "observed", "labels", "subject_ids", "feature_names")
    return [name for name in names if not np.array_equal(getattr(one, name), getattr(other, name))]


def _series(
    x: ArrayLike, y: ArrayLike, subjects: ArrayLike | None, channels: Iterable[str] | None
) -> EHRDataset:
    """The arrays as a data set; errors as in `checked`."""
    patients = None if subjects is None else np.asarray(subjects)
    try:
        arrays = Arrays(np.asarray(x), np.asarray(y), patients)
    except ValueError as error:  # lists of unequal length
        raise DataError(f"fit(x, y): x or y is no array: {error}") from error
    values, labels, patients, *_ = checked(arrays, "fit(x, y)")
    require_classes(labels, "fit(x, y)")
    if isinstance(channels, str):
        raise DataError(f"fit: channels={channels!r}; expected a list with one name a channel")
    n, num_channels, length = values.shape
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
    if patients is None:
        patients = np.arange(n)
    elif patients.dtype.kind in "US":
        patients = np.unique(patients, return_inverse=True)[1]
    observed = ~np.isnan(values)
    return EHRDataset(
        values=np.where(observed, values, 0).astype(np.float32),
        observed=observed,
        labels=labels,
        subject_ids=patients,
        feature_names=tuple(map(str, names)),
        label_names=tuple(f"class_{k}" for k in range(int(labels.max()) + 1)),
        static=np.zeros((n, 0), np.float32),
        static_names=(),
    )
