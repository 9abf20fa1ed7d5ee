"""Reads and writes an EHRDataset as .npz, without pickle."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from configs.runtime.atomic_files import atomic_path
from configs.runtime.errors import UNREADABLE, DataError, MissingInputError
from data_preprocess.dataset import EHRDataset
from data_preprocess.storage.safe_npy import read_npz

FORMAT = 1
_ARRAYS = ("values", "observed", "labels", "subject_ids", "static")
_NAMES = ("feature_names", "label_names", "static_names")


def save_dataset(path: Path, dataset: EHRDataset, extra: dict[str, Any] | None = None) -> None:
    """Writes `dataset` whole or not at all.

    Args:
        extra: JSON-able facts to keep beside the arrays, e.g. how a synthetic set was made.
    """
    meta = {name: list(getattr(dataset, name)) for name in _NAMES}
    meta |= {"format": FORMAT, "extra": extra or {}}
    with atomic_path(path) as temporary:
        arrays = {name: getattr(dataset, name) for name in _ARRAYS}
        np.savez_compressed(temporary, meta=np.array(json.dumps(meta)), **arrays)


def load_dataset(path: Path) -> EHRDataset:
    """Reads what `save_dataset` wrote.

    Raises:
        MissingInputError: no such file.
        DataError: not such a file, or its content breaks the contract of EHRDataset.
    """
    return _load(path)[0]


def load_extra(path: Path) -> dict[str, Any]:
    """The `extra` facts stored with a dataset; errors as in `load_dataset`."""
    return _load(path)[1]


def _load(path: Path) -> tuple[EHRDataset, dict[str, Any]]:
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist")
    archive: dict[str, np.ndarray] = {}
    try:
        archive = read_npz(path)
        meta = json.loads(str(archive["meta"]))
        arrays: dict[str, Any] = {name: archive[name] for name in _ARRAYS}
        names: dict[str, Any] = {name: tuple(meta[name]) for name in _NAMES}
        extra = dict(meta["extra"])
    except UNREADABLE as error:
        there = f"its arrays are {', '.join(archive)}" if archive else str(error)
        raise DataError(
            f"{path}: not a dataset file of this project ({there}); expected an .npz with "
            f"{', '.join(_ARRAYS)} and meta, as save_dataset writes it. Arrays of your own go into "
            "numpy.savez(path, x=data, y=label) with data (series, channel, time), or into x.npy "
            "with x_labels.npy beside it"
        ) from error
    if meta.get("format") != FORMAT:
        raise DataError(f"{path}: format {meta.get('format')}, this version reads {FORMAT}")
    try:
        return EHRDataset(**(arrays | names)), extra
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
