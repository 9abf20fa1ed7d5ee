"""read_medformer: labelled recordings in Medformer's public layout -> cohorts.

APAVA, ADFTD, TDBRAIN and PTB are shared as one folder per data set: `Feature/feature_XX.npy`, an
array (sample, time, channel) per subject, and `Label/label.npy`, a row [label, subject] per file.
The files are memory-mapped and copied once, subject by subject, into one float32 array: 70,000
samples of 19 channels and 256 points take 1.4 GB, and no second copy of that is made here.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from configs.runtime.errors import DataError, MissingInputError
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.arrays import MAX_CLASSES
from data_preprocess.sources.hospital.extraction_request import require_folder
from data_preprocess.storage.safe_npy import UNREADABLE


def read_medformer(
    *,
    folder: str | None,
    classes: list[str] | None,
    channels: list[str] | None,
    test_subjects: list[int] | None,
    val_subjects: list[int] | None,
) -> tuple[Cohort, Cohort | None, Cohort | None]:
    """The pool, and the test and validation cohorts where subjects are named for them.

    Args:
        folder: holds Feature/ and Label/.
        classes: class names in label order; None: class_0, ...
        channels: channel names in order; None: channel_0, ...
        test_subjects, val_subjects: subjects of fixed splits, as in published protocols.

    Raises:
        MissingInputError: a folder or file is not there.
        DataError: files do not fit together, or names do not fit the arrays.
    """
    root = require_folder(folder, "medformer")
    rows = _read_labels(root / "Label" / "label.npy")
    arrays = _open_features(root / "Feature", len(rows))
    names = _names(channels, arrays[0].shape[2], "channel")
    label_names = _names(classes, int(rows[:, 0].max()) + 1, "class")
    test, val = set(test_subjects or ()), set(val_subjects or ())
    _require_subjects(rows[:, 1], test, val)
    subject = rows[:, 1]
    groups = [
        [place for place, who in enumerate(subject) if who not in test | val],
        [place for place, who in enumerate(subject) if who in test],
        [place for place, who in enumerate(subject) if who in val],
    ]
    pool, *held_out = (
        _cohort(rows, arrays, chosen, names, label_names) if chosen else None for chosen in groups
    )
    if pool is None:
        raise DataError(f"{root}: every subject is in test_subjects or val_subjects")
    return pool, held_out[0], held_out[1]


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


def _open_features(folder: Path, num_subjects: int) -> list[np.ndarray]:
    """The memory-mapped arrays in the order of their numbers."""
    if not folder.is_dir():
        raise MissingInputError(f"{folder} does not exist; expected feature_01.npy, ... in it")
    numbered = [(re.fullmatch(r"feature_(\d+)\.npy", p.name), p) for p in folder.iterdir()]
    found = sorted((int(match[1]), path) for match, path in numbered if match)
    if len(found) != num_subjects:
        raise DataError(
            f"{folder}: {len(found)} feature files for {num_subjects} rows of label.npy"
        )
    arrays = [_load(path) for _, path in found]
    for (_, path), array in zip(found, arrays, strict=True):
        if array.ndim != 3 or array.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"{path}: shape {array.shape}, expected (samples, time, channel) like "
                f"{arrays[0].shape} of {found[0][1].name}"
            )
    return arrays


def _load(path: Path) -> np.ndarray:
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist (Medformer's layout has it)")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except UNREADABLE as error:
        raise DataError(f"{path}: not a whole .npy file of numbers ({error})") from error
    if not np.issubdtype(array.dtype, np.number):
        raise DataError(f"{path}: dtype {array.dtype}, expected numbers")
    return array


def _names(given: Sequence[str] | None, count: int, kind: str) -> tuple[str, ...]:
    if given is None:
        return tuple(f"{kind}_{index}" for index in range(count))
    if len(given) != count:
        raise DataError(f"{len(given)} {kind} names given, but the data have {count}")
    return tuple(given)


def _require_subjects(present: np.ndarray, test: set[int], val: set[int]) -> None:
    if test & val:
        raise DataError(f"subjects {sorted(test & val)} are in test_subjects and val_subjects")
    absent = (test | val) - set(present.tolist())
    if absent:
        raise DataError(f"subjects {sorted(absent)} are not in label.npy")


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
        values[start : start + size] = arrays[place].transpose(0, 2, 1)
        start += size
    return Cohort(
        values=values,
        labels=np.repeat(rows[chosen, 0], sizes),
        subject_ids=np.repeat(rows[chosen, 1], sizes),
        feature_names=names,
        label_names=label_names,
        static=np.zeros((len(values), 0), np.float32),
        static_names=(),
        flow=(FlowStep(f"samples of {len(chosen)} subjects", 0, len(values)),),
    )
