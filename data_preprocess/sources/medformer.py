"""read_medformer: labelled recordings in Medformer's public layout -> cohorts.

APAVA, ADFTD, TDBRAIN and PTB are shared as one folder per data set: `Feature/feature_XX.npy`, an
array (sample, time, channel) per subject, and `Label/label.npy`, a row [label, subject] per file.
The files are memory-mapped and copied once, subject by subject, into one float32 array: 70,000
samples of 19 channels and 256 points take 1.4 GB, and no second copy of that is made here.
"""

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.runtime.errors import UNREADABLE, DataError, MissingInputError, few
from data_preprocess.cohort import Cohort, FlowStep, is_measured
from data_preprocess.sources.registry import (
    Settings,
    SourceData,
    reader,
    require_folder,
    require_window,
)
from data_preprocess.storage.array_files import MAX_CLASSES

log = logging.getLogger("tardiff.data")


@reader("medformer")
def read_medformer(section: Any, settings: Settings) -> SourceData:
    """The pool, and the test and validation cohorts where subjects are named for them.

    Raises:
        MissingInputError: a folder or file is not there.
        DataError: files do not fit together, or names do not fit the arrays.
        ConfigError: as `require_window`.
    """
    root = require_folder(section.folder, "medformer")
    rows = _read_labels(root / "Label" / "label.npy")
    arrays = _open_features(root / "Feature", rows[:, 1])
    _, steps, channels = arrays[0].shape
    require_window(steps, settings, f"{steps} points of {root}")
    names = _names(section.channels, channels, "channel")
    label_names = _names(section.classes, int(rows[:, 0].max()) + 1, "class")
    test: set[int] = set(section.test_subjects or ())
    val: set[int] = set(section.val_subjects or ())
    subjects = rows[:, 1].tolist()
    if test & val:
        raise DataError(f"subjects {sorted(test & val)} are in test_subjects and val_subjects")
    if absent := (test | val) - set(subjects):
        raise DataError(f"subjects {sorted(absent)} are not in label.npy")
    groups = [
        [place for place, who in enumerate(subjects) if who in group]
        for group in (set(subjects) - test - val, test, val)
    ]
    pool, in_test, in_val = (
        _cohort(rows, arrays, chosen, names, label_names) if chosen else None for chosen in groups
    )
    if pool is None:
        raise DataError(f"{root}: every subject is in test_subjects or val_subjects")
    return SourceData(pool, in_test, in_val, (root / "Feature", root / "Label"))


def _read_labels(path: Path) -> np.ndarray:
    labels = _load(path)
    if labels.ndim != 2 or labels.shape[1] != 2 or not len(labels):
        raise DataError(
            f"{path}: shape {labels.shape}, expected (subjects, 2) with rows [label, subject]"
        )
    rows = labels.astype(np.int64)
    if not np.array_equal(rows, labels) or rows[:, 0].min() < 0:
        raise DataError(f"{path}: labels and subjects must be whole numbers, labels from 0")
    if rows[:, 0].max() >= MAX_CLASSES:
        raise DataError(f"{path}: labels go up to {rows[:, 0].max()}, expected below {MAX_CLASSES}")
    if len(np.unique(rows[:, 1])) != len(rows):
        raise DataError(f"{path}: a subject stands in two rows; expected one row per feature file")
    return rows


def _open_features(folder: Path, subjects: np.ndarray) -> list[np.ndarray]:
    """The memory-mapped arrays, one per row of label.npy: feature_<subject>.npy."""
    if not folder.is_dir():
        raise MissingInputError(f"{folder} does not exist; expected feature_01.npy, ... in it")
    numbered = [(re.fullmatch(r"feature_(\d+)\.npy", p.name), p) for p in folder.iterdir()]
    found = sorted((int(match[1]), path) for match, path in numbered if match)
    numbers = [number for number, _ in found]
    if twice := sorted({number for number in numbers if numbers.count(number) > 1}):
        raise DataError(f"{folder}: two feature files have the number {twice[0]}")
    if len(found) != len(subjects):
        raise DataError(
            f"{folder}: {len(found)} feature files for {len(subjects)} rows of label.npy"
        )
    paths = _by_subject(dict(found), subjects, folder)
    arrays = [_load(path) for path in paths]
    for path, array in zip(paths, arrays, strict=True):
        if array.ndim != 3 or array.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"{path}: shape {array.shape}, expected (samples, time, channel) like "
                f"{arrays[0].shape} of {paths[0].name}"
            )
    return arrays


def _by_subject(paths: dict[int, Path], subjects: np.ndarray, folder: Path) -> list[Path]:
    """The file of every subject, paired by number.

    Files that are numbered otherwise belong to the rows in ascending order, as Medformer's own
    loader takes them; rows in another order cannot be paired.

    Raises:
        DataError: the numbers are not the same set and the rows are in no order.
    """
    wanted = [int(who) for who in subjects]
    if set(paths) == set(wanted):
        return [paths[who] for who in wanted]
    if wanted == sorted(wanted):
        log.info("%s: files in ascending order for the subjects %s", folder, few(sorted(wanted)))
        return [paths[number] for number in sorted(paths)]
    raise DataError(
        f"{folder}: its files are numbered {few(sorted(paths))}, the subjects of label.npy are "
        f"{few(sorted(wanted))}; expected feature_<subject>.npy for each row [label, subject]"
    )


def _load(path: Path) -> np.ndarray:
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist (Medformer's layout has it)")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise DataError(f"{path}: not a whole .npy file of numbers ({error})") from error
    if array.dtype.kind not in "fiu":
        raise DataError(f"{path}: dtype {array.dtype}, expected numbers")
    return array


def _names(given: Sequence[str] | None, count: int, kind: str) -> tuple[str, ...]:
    if given is None:
        return tuple(f"{kind}_{index}" for index in range(count))
    if len(given) != count:
        raise DataError(f"{len(given)} {kind} names given, but the data have {count}")
    return tuple(given)


def _cohort(
    rows: np.ndarray,
    arrays: Sequence[np.ndarray],
    chosen: Sequence[int],
    names: tuple[str, ...],
    label_names: tuple[str, ...],
) -> Cohort:
    sizes = np.array([len(arrays[place]) for place in chosen])
    _, length, num_channels = arrays[0].shape
    values = np.empty((int(sizes.sum()), num_channels, length), np.float32)
    start = 0
    for place, size in zip(chosen, sizes, strict=True):
        with np.errstate(over="ignore"):  # what single precision cannot hold is refused below
            values[start : start + size] = arrays[place].transpose(0, 2, 1)
        if np.isinf(values[start : start + size]).any():
            raise DataError(
                f"the features of subject {rows[place, 1]}: an infinite value, or one that single "
                "precision cannot hold; use NaN for what was not measured"
            )
        start += size
    cohort = Cohort(
        values=values,
        labels=np.repeat(rows[chosen, 0], sizes),
        subject_ids=np.repeat(rows[chosen, 1], sizes),
        feature_names=names,
        label_names=label_names,
        static=np.zeros((len(values), 0), np.float32),
        static_names=(),
        flow=(FlowStep(f"samples of {len(chosen)} subjects", 0, len(values)),),
    )
    empty = ~is_measured(values)
    return cohort.remove({"no value at all": empty}) if empty.any() else cohort  # it copies
