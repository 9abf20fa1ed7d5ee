"""read_arrays: one file of labelled series, checked. NaN marks what was not measured.

Three forms, told apart by suffix: `.npz` as this project writes it or with x, y and, if patients
have several series, subject_ids; a `.pkl` holding the tuple `(data, label)` as users of the
published TarDiff code have it; and `x.npy` beside `x_labels.npy`.
"""

import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from configs.runtime.errors import UNREADABLE, DataError, MissingInputError
from data_preprocess.storage.dataset_files import load_dataset
from data_preprocess.storage.safe_npy import read_npy, read_npz
from data_preprocess.storage.safe_pickle import load_array_pickle

log = logging.getLogger("tardiff.data")

MAX_CLASSES = 1000
DATA_NAMES, LABEL_NAMES = ("x", "data", "values"), ("y", "label", "labels")  # in a plain .npz
SUBJECTS = "subject_ids"
LAYOUT = "(N, C, T) = (series, channel, time)"
ARRAY_FORMS = (
    f"expected x.npy with data {LAYOUT} and x_labels.npy (N,) beside it (numpy.save), a .pkl with "
    "the tuple (data, label), or an .npz with x and y (numpy.savez) or as this project writes it"
)


class Arrays(NamedTuple):
    """What a file holds; `None` where its form has no place for it."""

    values: np.ndarray
    labels: np.ndarray
    subject_ids: np.ndarray | None = None
    feature_names: tuple[str, ...] | None = None
    label_names: tuple[str, ...] | None = None
    static: np.ndarray | None = None
    static_names: tuple[str, ...] = ()


def read_arrays(path: Path, *, key: str, classes: Sequence[str] = ()) -> Arrays:
    """The checked content of one file: float values (N, C, T), whole labels (N,).

    Args:
        key: the configuration key that named the file, for messages.
        classes: names in label order, which labels may be given by.
    """
    pickled = {".pkl": _read_pickle, ".pickle": _read_pickle}
    readers = {".npz": _read_npz, ".npy": _read_npy, **pickled}
    suffix = path.suffix.lower()
    if suffix not in readers:
        raise DataError(f"{path} ({key}): unknown kind of file; {ARRAY_FORMS}")
    if not path.is_file():
        raise MissingInputError(f"{path.absolute()} does not exist ({key} names it)")
    return checked(readers[suffix](path), str(path), classes)


def checked(found: Arrays, where: str, classes: Sequence[str] = ()) -> Arrays:
    """Float values, whole labels, and patients as whole numbers or texts.

    Args:
        where: what the arrays are called in messages.
        classes: as of `read_arrays`.

    Raises:
        DataError: an array has another shape or kind.
    """
    values = _checked_values(found.values, where)
    labels = _checked_labels(_coded(found.labels, classes), len(values), where, classes)
    subjects = _checked_subjects(found.subject_ids, len(values), where)
    return found._replace(values=values, labels=labels, subject_ids=subjects)


def _read_npz(path: Path) -> Arrays:
    if (names := _plain_names(path)) is not None:
        return _read_plain(path, *names)
    dataset = load_dataset(path)
    return Arrays(
        values=np.where(dataset.observed, dataset.values, np.nan),
        labels=dataset.labels,
        subject_ids=dataset.subject_ids if (dataset.subject_ids != -1).any() else None,
        feature_names=dataset.feature_names,
        label_names=dataset.label_names,
        static=dataset.static,
        static_names=dataset.static_names,
    )


def is_plain_npz(path: Path) -> bool:
    """Whether `numpy.savez(path, x=data, y=label)` wrote the file."""
    return _plain_names(path) is not None


def _plain_names(path: Path) -> tuple[str, str] | None:
    """What the data and the labels are called in such a file; None for any other."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [member.removesuffix(".npy") for member in archive.namelist()]
    except UNREADABLE:
        return None
    data = next((name for name in names if name.lower() in DATA_NAMES), None)
    label = next((name for name in names if name.lower() in LABEL_NAMES), None)
    return None if data is None or label is None or "meta" in names else (data, label)


def _read_plain(path: Path, data: str, label: str) -> Arrays:
    try:
        arrays = read_npz(path)
    except UNREADABLE as error:
        raise DataError(
            f"{path}: cannot be read ({error}); {ARRAY_FORMS}. Python objects in an array, such as "
            "a column of texts in pandas, become plain by .astype(float) or .astype(str)"
        ) from error
    if unread := sorted(set(arrays) - {data, label, SUBJECTS}):
        log.warning("%s: not read: %s (patients stand in %s)", path, ", ".join(unread), SUBJECTS)
    return Arrays(arrays[data], arrays[label], arrays.get(SUBJECTS))


def _read_pickle(path: Path) -> Arrays:
    content = load_array_pickle(path)
    if not isinstance(content, (tuple, list)) or len(content) != 2:
        raise DataError(f"{path}: holds {_describe(content)}, expected the tuple (data, label)")
    data, label = content
    if not isinstance(data, np.ndarray) or not isinstance(label, np.ndarray):
        raise DataError(
            f"{path}: holds ({_describe(data)}, {_describe(label)}), expected two numpy arrays, "
            f"data {LAYOUT} and label (N,)"
        )
    return Arrays(data, label)


def _read_npy(path: Path) -> Arrays:
    beside = labels_of(path)
    if not beside.is_file():
        raise MissingInputError(f"{beside} does not exist: the labels belong beside {path.name}")
    return Arrays(_load_npy(path), _load_npy(beside))


def labels_of(path: Path) -> Path:
    """Where the labels of a .npy file or of a long table are, whose name may end in .gz too."""
    place = path.with_name(path.name.removesuffix(".gz"))
    return place.with_name(f"{place.stem}_labels{place.suffix}")


def _load_npy(path: Path) -> np.ndarray:
    try:
        return read_npy(path)
    except UNREADABLE as error:
        raise DataError(f"{path}: not a plain .npy array ({error})") from error


def _checked_values(values: np.ndarray, path: str) -> np.ndarray:
    if values.ndim != 3 or 0 in values.shape:
        raise DataError(f"{path}: data has shape {values.shape}, expected {LAYOUT}, none empty")
    if values.dtype.kind not in "fiub":
        raise DataError(
            f"{path}: data has dtype {values.dtype}, expected numbers; .astype(float) makes them "
            "of objects, and NaN of None"
        )
    with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN like any other
        as_float = values.astype(np.float64)
    if np.isinf(as_float).any():
        row, channel, step = np.argwhere(np.isinf(as_float))[0]
        raise DataError(
            f"{path}: infinite value in series {row}, channel {channel}, step {step}; use NaN for "
            "what was not measured"
        )
    return as_float


def _checked_subjects(subjects: np.ndarray | None, n: int, path: str) -> np.ndarray | None:
    """Patients as whole numbers or texts."""
    if subjects is None:
        return None
    if subjects.shape != (n,):
        raise DataError(
            f"{path}: {SUBJECTS} has shape {subjects.shape}, expected ({n},) for {n} series"
        )
    subjects = _of_numbers(subjects)
    if subjects.dtype.kind in "US":
        return subjects
    if all(isinstance(cell, str) for cell in subjects):
        return subjects.astype(str)  # a column of texts in pandas is an array of objects
    whole = subjects.dtype.kind in "fiu" and np.isfinite(subjects.astype(np.float64)).all()
    if not whole or (subjects != np.floor(subjects.astype(np.float64))).any():
        strange = next((k for k, s in enumerate(subjects.tolist()) if not _names_patient(s)), 0)
        raise DataError(
            f"{path}: {SUBJECTS} must be whole numbers or texts, not both, one a series (-1: "
            f"unknown); found {_describe(subjects)}, series {strange} has {subjects[strange]}"
        )
    if subjects.dtype.kind == "f" and np.abs(subjects).max() > 1 / np.finfo(subjects.dtype).eps:
        raise DataError(
            f"{path}: {SUBJECTS} holds {subjects.dtype} up to {np.abs(subjects).max():.0f}, where "
            "neighbours are rounded to one number; give whole numbers (int64) or texts"
        )
    return subjects.astype(np.int64)


def _of_numbers(cells: np.ndarray) -> np.ndarray:
    """Whole numbers that are Python's objects, as pandas may have them, as numpy's."""
    if cells.dtype.kind != "O" or not all(isinstance(c, (int, np.integer)) for c in cells):
        return cells
    found = np.array(cells.tolist())
    return found if found.dtype.kind in "bi" else cells  # not in 64 bits: numpy would round them


def _names_patient(cell: Any) -> bool:
    return isinstance(cell, (str, int)) or (isinstance(cell, float) and cell.is_integer())


def _coded(labels: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    """Labels that are names of `classes` as their places; others as they are."""
    names = labels.astype(str) if labels.dtype.kind in "US" else np.array([""])
    if not np.isin(names, classes).all():
        return labels
    order = np.argsort(classes)
    return order[np.searchsorted(np.array(classes)[order], names)]


def _checked_labels(labels: np.ndarray, n: int, path: str, classes: Sequence[str]) -> np.ndarray:
    flat = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.shape != (n,):
        raise DataError(f"{path}: label has shape {labels.shape}, expected ({n},) for {n} series")
    flat = _of_numbers(flat)
    whole = flat.dtype.kind in "fiub" and np.isfinite(flat.astype(np.float64)).all()
    if flat.dtype.kind == "f" and (unknown := np.isnan(flat)).any():
        raise DataError(
            f"{path}: {unknown.sum()} of {n} labels are NaN (first at row {unknown.argmax()}); "
            "leave these series out: rows = ~numpy.isnan(label)"
        )
    if not whole or (flat != np.floor(flat.astype(np.float64))).any() or flat.min() < 0:
        or_names = f" or names of classes ({', '.join(classes)})" if classes else ""
        raise DataError(
            f"{path}: label must hold whole numbers 0..K-1{or_names}, found "
            f"{_describe(flat)} with values {np.unique(flat.astype(str))[:6].tolist()}; of words "
            "numpy.unique(labels, return_inverse=True)[1] makes numbers, in alphabetical order"
        )
    if flat.max() >= MAX_CLASSES:
        raise DataError(
            f"{path}: label goes up to {flat.max():g}; expected classes 0..K-1 with K at most "
            f"{MAX_CLASSES:,}"
        )
    return flat.astype(np.int64)


def require_classes(labels: np.ndarray, where: str) -> None:
    """Refuses labels of one class, and class numbers that no series has.

    Raises:
        DataError: names them.
    """
    absent = np.flatnonzero(np.bincount(labels) == 0).tolist()
    if absent:
        raise DataError(
            f"{where}: labels go up to {labels.max()}, but no series is of class "
            f"{', '.join(map(str, absent))}; number the classes 0..K-1 without gaps"
        )
    if labels.max() == 0:
        raise DataError(f"{where}: every label is 0; a task needs at least two classes")


def _describe(thing: Any) -> str:
    if isinstance(thing, np.ndarray):
        return f"an array {thing.shape} of {thing.dtype}"
    size = f" of length {len(thing)}" if isinstance(thing, (tuple, list, dict)) else ""
    return f"a {type(thing).__name__}{size}"
