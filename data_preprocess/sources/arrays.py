"""read_files: arrays at hand, one file or one per split -> cohorts."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from configs.runtime.errors import ConfigError, DataError
from data_preprocess.cohort import Cohort, FlowStep, is_measured, require_float32
from data_preprocess.sources.registry import Settings, SourceData, reader, require_window
from data_preprocess.storage.array_files import (
    LAYOUT,
    SUBJECTS,
    Arrays,
    labels_of,
    read_arrays,
    require_classes,
)
from data_preprocess.storage.cell_text import MISSING

log = logging.getLogger("tardiff.data")

_FAR = 100  # times the range from the 1st to the 99th percentile


@reader("files")
def read_files(section: Any, settings: Settings) -> SourceData:
    """The pool (`train`), and the test and validation cohorts where files are named for them.

    Without patient ids in a file every series counts as a patient of its own.

    Raises:
        ConfigError: no train file is named; or as `require_window`.
        MissingInputError: a file does not exist.
        DataError: a file is damaged, has another layout, or the files do not fit together.
    """
    if section.train is None:
        raise ConfigError("data.source=files needs data.files.train, a .npz, .pkl or .npy file")
    named = {"train": section.train, "test": section.test, "val": section.val}
    paths = {name: Path(path) for name, path in named.items() if path is not None}
    arrays = {name: read_arrays(path, key=f"data.files.{name}") for name, path in paths.items()}
    feature_names = _feature_names(arrays, section.channels)
    steps = arrays["train"].values.shape[2]
    require_window(steps, settings, f"{steps} points of data.files.train")
    label_names = _label_names(arrays)
    subjects = numbered_patients(arrays)
    cohorts = {
        name: _cohort(paths[name], found, subjects[name], feature_names, label_names)
        for name, found in arrays.items()
    }
    files = [file for path in paths.values() for file in (path, labels_of(path)) if file.is_file()]
    return SourceData(cohorts["train"], cohorts.get("test"), cohorts.get("val"), tuple(files))


def _feature_names(arrays: dict[str, Arrays], channels: list[str] | None) -> tuple[str, ...]:
    first = arrays["train"]
    _, num_channels, length = first.values.shape
    for name, found in arrays.items():
        if found.values.shape[1:] != first.values.shape[1:]:
            raise DataError(
                f"data.files.{name} has shape {found.values.shape} but data.files.train has "
                f"{first.values.shape}; channels and time steps must agree, layout {LAYOUT}"
            )
        named = {found.feature_names, first.feature_names} - {None}
        if channels is None and len(named) > 1:
            raise DataError(
                f"data.files.{name} has channels {found.feature_names} but data.files.train has "
                f"{first.feature_names}"
            )
    if channels is not None and len(channels) != num_channels:
        swapped = length == len(channels)
        hint = "; the last two axes look swapped" if swapped else ""
        raise DataError(
            f"data.files.channels has {len(channels)} names but the data has shape "
            f"{first.values.shape}, expected {LAYOUT}{hint}"
        )
    plain = tuple(f"channel_{index}" for index in range(num_channels))
    return tuple(channels) if channels is not None else first.feature_names or plain


def _label_names(arrays: dict[str, Arrays]) -> tuple[str, ...]:
    named = {found.label_names for found in arrays.values()} - {None}
    if len(named) > 1:
        raise DataError(
            f"the files of data.files name different classes: {sorted(map(str, named))}"
        )
    num_classes = 1 + max(int(found.labels.max()) for found in arrays.values())
    for names in named:
        if names is not None and len(names) >= num_classes:
            return names
    require_classes(np.concatenate([found.labels for found in arrays.values()]), "data.files")
    return tuple(f"class_{index}" for index in range(num_classes))


def _unknown(ids: np.ndarray) -> np.ndarray:
    """True where no patient is named: -1, and what a table's reader takes for missing."""
    if ids.dtype.kind == "S":
        ids = np.char.decode(ids, "utf-8", "replace")
    return (
        np.isin(np.char.lower(np.char.strip(ids)), MISSING) if ids.dtype.kind == "U" else ids == -1
    )


def numbered_patients(arrays: dict[str, Arrays]) -> dict[str, np.ndarray]:
    """Patient ids per file; series without one get fresh ids that collide with none."""
    known = {n: a.subject_ids for n, a in arrays.items() if a.subject_ids is not None}
    texts = [ids for ids in known.values() if ids.dtype.kind in "US"]
    if 0 < len(texts) < len(known):
        raise DataError(f"{SUBJECTS} are texts in one file and numbers in another")
    # Hashes are below zero; -1 is unknown.
    if texts or any((ids < -1).any() for ids in known.values()):
        # Numbered over all files, so that one patient has one number.
        names = np.unique(np.concatenate([*known.values()]))
        place = {n: np.searchsorted(names, ids) for n, ids in known.items()}
        known = {n: np.where(_unknown(ids), -1, place[n]) for n, ids in known.items()}
        free = len(names)
    else:
        free = 1 + max((int(ids.max()) for ids in known.values()), default=-1)
    subjects = {}
    for name, found in arrays.items():
        fresh = np.arange(free, free + len(found.labels))
        ids = known.get(name, fresh)
        subjects[name] = np.where(ids < 0, fresh, ids)
        free += len(fresh)
    return subjects


def _cohort(
    path: Path,
    found: Arrays,
    subjects: np.ndarray,
    feature_names: tuple[str, ...],
    label_names: tuple[str, ...],
) -> Cohort:
    n = len(found.labels)
    require_float32(found.values, feature_names, str(path))
    notes = [*_extremes(found.values, feature_names)]
    if found.subject_ids is None:
        notes.append(f"{path.name} has no patient ids: every series counts as its own patient")
    elif unknown := np.count_nonzero(_unknown(found.subject_ids)):
        notes.append(f"series whose patient is unknown, each a patient of its own: {unknown:,}")
    cohort = Cohort(
        values=found.values.astype(np.float32),
        labels=found.labels,
        subject_ids=subjects.astype(np.int64),
        feature_names=feature_names,
        label_names=label_names,
        static=np.zeros((n, 0), np.float32) if found.static is None else found.static,
        static_names=found.static_names,
        flow=(FlowStep(f"series of {path.name}", 0, n),),
        notes=tuple(notes),
    )
    return cohort.remove({"no value at all": ~is_measured(cohort.values)})


def _extremes(values: np.ndarray, names: tuple[str, ...]) -> Iterator[str]:
    """A note for each channel with values far outside all others, which ruin its scale."""
    for k, name in enumerate(names):
        measured = values[:, k][~np.isnan(values[:, k])]
        if not len(measured):
            continue
        low, middle, high = np.quantile(measured, [0.01, 0.5, 0.99])
        far = np.abs(measured - middle) > _FAR * max(high - low, 1e-12 * abs(middle))
        if high > low and far.any():
            note = (
                f"{name}: {int(far.sum()):,} values lie more than {_FAR} times the range of the "
                f"others away (up to {np.abs(measured[far]).max():.4g}): typing errors or codes?"
            )
            log.warning("%s", note)
            yield note
