"""read_set: a synthetic set of any origin, in the form of the real splits.

Besides this project's own .npz: the `(data, label)` pickle of the published TarDiff code, a .npy
pair, and the long table id,time,variable,value (.csv, .csv.gz, .parquet) with `<stem>_labels.csv`
beside it, as `generation.csv` writes it. Values are clinical units, as everywhere on disk.
"""

import logging
import re
from pathlib import Path

import numpy as np

from configs.runtime.errors import DataError, MismatchError
from data_preprocess.dataset import EHRDataset
from data_preprocess.impute import impute
from data_preprocess.sources.arrays import read_arrays
from data_preprocess.sources.registry import Settings
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.reader import read_table
from data_preprocess.storage.csv_export import labels_path
from data_preprocess.storage.dataset_files import load_dataset

TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet")
ARRAY_SUFFIXES = (".pkl", ".pickle", ".npy")
# A set of which more lies outside the range of the training data was hardly meant in its units.
MAX_SHARE_OUTSIDE = 0.5
MEMORY_LIMIT = "2GB"

logger = logging.getLogger(__name__)


def read_set(path: Path, train: EHRDataset, *, step_minutes: float) -> EHRDataset:
    """The set in `path`, with the channel and class names of `train`.

    Arrays without names are taken to have the channels and classes of `train` in their order.
    Gaps are filled forward, backward, then with the median of `train`.

    Args:
        step_minutes: minutes between grid points, to sort the rows of a table onto the grid.

    Raises:
        MissingInputError: no such file.
        DataError: the file does not have the layout that its suffix promises.
        MismatchError: it holds other channels, classes or lengths than `train`, or other units.
    """
    if path.name.endswith(TABLE_SUFFIXES):
        found = _from_table(path, train, step_minutes)
    elif path.suffix in ARRAY_SUFFIXES:
        found = _from_arrays(path, train)
    else:
        return load_dataset(path)
    _require_clinical_units(path, found, train)
    return found


def set_name(path: Path) -> str:
    """What a set is called: its file name without suffixes."""
    suffix = next((s for s in TABLE_SUFFIXES if path.name.endswith(s)), path.suffix)
    return path.name.removesuffix(suffix)


def _from_arrays(path: Path, train: EHRDataset) -> EHRDataset:
    arrays = read_arrays(path, key="synthetic")
    if arrays.values.shape[1:] != train.values.shape[1:]:
        swapped = arrays.values.shape[:0:-1] == train.values.shape[1:]
        hint = "; the last two axes look swapped" if swapped else ""
        raise MismatchError(
            f"{path}: data has shape {arrays.values.shape} but the train split is "
            f"(n, {train.num_channels}, {train.length}) (series, channel, time){hint}"
        )
    logger.info("%s: channels taken as %s", path, ", ".join(train.feature_names))
    return _dataset(path, arrays.values, arrays.labels, train)


def _from_table(path: Path, train: EHRDataset, step_minutes: float) -> EHRDataset:
    labels = labels_path(path) if path.suffix != ".parquet" else _parquet_labels(path)
    settings = Settings(
        window_hours=train.length * step_minutes / 60,
        step_minutes=step_minutes,
        memory_limit=MEMORY_LIMIT,
        threads=1,
    )
    form = TableForm(series=str(path), labels=str(labels), channels=train.feature_names)
    cohort = read_table(form, settings).pool
    return _dataset(
        path, cohort.values, _labels(path, cohort.labels, cohort.label_names, train), train
    )


def _parquet_labels(path: Path) -> Path:
    return path.with_name(f"{path.stem}_labels.parquet")


def _labels(
    path: Path, labels: np.ndarray, names: tuple[str, ...], train: EHRDataset
) -> np.ndarray:
    """Labels by the class names of `train`, or as the whole numbers they are."""
    if all(name in train.label_names for name in names):
        codes = [train.label_names.index(name) for name in names]
    elif all(re.fullmatch(r"[0-9]{1,18}", name) for name in names):
        codes = [int(name) for name in names]
    else:
        raise MismatchError(
            f"{path}: its labels are {', '.join(names)}, expected {', '.join(train.label_names)} "
            f"or 0..{train.num_classes - 1}"
        )
    return np.array(codes)[labels]


def _dataset(path: Path, values: np.ndarray, labels: np.ndarray, train: EHRDataset) -> EHRDataset:
    medians = np.median(train.values, axis=(0, 2))
    filled, observed = impute(values.astype(np.float64), medians)
    try:
        return EHRDataset(
            values=filled,
            observed=observed,
            labels=labels,
            subject_ids=np.full(len(labels), -1),
            feature_names=train.feature_names,
            label_names=train.label_names,
            static=np.zeros((len(labels), 0), np.float32),
            static_names=(),
        )
    except DataError as error:
        raise MismatchError(f"{path}: {error}") from error


def _require_clinical_units(path: Path, found: EHRDataset, train: EHRDataset) -> None:
    """Refuses a channel that lies mostly outside the training range, e.g. because it is scaled."""
    low, high = train.values.min(axis=(0, 2)), train.values.max(axis=(0, 2))
    outside = (found.values < low[:, None]) | (found.values > high[:, None])
    shares = outside.mean(axis=(0, 2))
    worst = int(shares.argmax())
    if shares[worst] > MAX_SHARE_OUTSIDE:
        values = found.values[:, worst]
        raise MismatchError(
            f"{path}: {100 * shares[worst]:.0f} % of {train.feature_names[worst]} lie outside the "
            f"training range {low[worst]:g}..{high[worst]:g} (they span {values.min():g}.."
            f"{values.max():g}); expected clinical units and the channels in the order "
            f"{', '.join(train.feature_names)}"
        )
