"""read_set: a synthetic set of any origin, in the form of the real splits.

Besides this project's own .npz: one with x and y, the `(data, label)` pickle of the published
TarDiff code, a .npy pair, and the long table id,time,variable,value (.csv, .csv.gz, .parquet) with
`<stem>_labels.csv` beside it, as the export `csv` writes it. Values are clinical units, as
everywhere on disk.
"""

import logging
import re
from pathlib import Path

import numpy as np

from configs.runtime.errors import DataError, MismatchError, MissingInputError, UserError
from data_preprocess.dataset import EHRDataset
from data_preprocess.doubts import codes_for_missing
from data_preprocess.impute import impute
from data_preprocess.sources.registry import Settings
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.reader import read_table
from data_preprocess.storage.array_files import ARRAY_FORMS, is_plain_npz, labels_of, read_arrays
from data_preprocess.storage.dataset_files import load_dataset, load_extra

TABLE_SUFFIXES = (".csv", ".csv.gz", ".parquet")
ARRAY_SUFFIXES = (".pkl", ".pickle", ".npy")
# A set of which more lies outside the range of the training data was hardly meant in its units.
MAX_SHARE_OUTSIDE = 0.5
MEMORY_LIMIT = "2GB"
# Summed distance of two channels to their own in train from which a swap is looked for.
MIN_APART = 1.0

logger = logging.getLogger(__name__)


def read_set(path: Path, train: EHRDataset, *, step_minutes: float) -> EHRDataset:
    """The set in `path`, with the channel and class names of `train`.

    Arrays without names are taken to have the channels and classes of `train` in their order.
    Gaps are filled forward, backward, then with the median of `train`, and counted; what is absent
    altogether - a channel, a series - is never completed.

    Args:
        step_minutes: minutes between grid points, to sort the rows of a table onto the grid.

    Raises:
        MissingInputError: no such file.
        DataError: the file does not have the layout that its suffix promises.
        MismatchError: it holds other channels, classes or lengths than `train`, other units, a
            channel or a series without any value, or channels in another order.
    """
    if not path.is_file():
        raise MissingInputError(f"{path.absolute()} does not exist (synthetic= names it)")
    if path.name.endswith(TABLE_SUFFIXES):
        found = _from_table(path, train, step_minutes)
    elif path.suffix in ARRAY_SUFFIXES or (path.suffix == ".npz" and is_plain_npz(path)):
        found = _from_arrays(path, train)
    elif path.suffix == ".npz":
        found = load_dataset(path)
        same = (found.length, found.feature_names) == (train.length, train.feature_names)
        if "data_fingerprint" in load_extra(path) or not same:
            return found  # made here, or refused by the caller
    else:
        raise DataError(
            f"{path}: unknown kind of set; {ARRAY_FORMS}, or a long table id,time,variable,value "
            f"({', '.join(TABLE_SUFFIXES)}) with its labels beside it"
        )
    _require_clinical_units(path, found, train)
    _require_own_channels(path, found, train)
    return found


def set_name(path: Path) -> str:
    """What a set is called: its file name without suffixes."""
    suffix = next((s for s in TABLE_SUFFIXES if path.name.endswith(s)), path.suffix)
    return path.name.removesuffix(suffix)


def _from_arrays(path: Path, train: EHRDataset) -> EHRDataset:
    arrays = read_arrays(path, key="synthetic", classes=train.label_names)
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
    labels = labels_of(path)
    form_of_sets = (
        "a set as a table has columns id, time, variable, value, times in minutes, decimal "
        f"points, the variables {', '.join(train.feature_names)}, and {labels.name} beside it "
        "with id, label. Simpler: numpy.savez(FILE, x=..., y=...), x (series, channel, time), y "
        "0..K-1"
    )
    if not labels.is_file():
        raise MissingInputError(f"{path}: {labels} does not exist; {form_of_sets}")
    settings = Settings(
        window_hours=train.length * step_minutes / 60,
        step_minutes=step_minutes,
        memory_limit=MEMORY_LIMIT,
        threads=1,
    )
    form = TableForm(series=str(path), labels=str(labels), channels=train.feature_names)
    try:
        cohort = read_table(form, settings).pool
    except UserError as error:
        raise type(error)(f"{error}\nWhatever data.table says, {form_of_sets}") from error
    for step in cohort.flow:
        if step.removed:
            logger.warning("%s: %s: %d series left out", path, step.rule, step.removed)
    for note in cohort.notes:
        logger.warning("%s: %s", path, note)
    lost = sum(step.removed for step in cohort.flow)
    if lost > len(cohort):
        raise MismatchError(
            f"{path}: {lost:,} of {lost + len(cohort):,} labelled series have no value in the "
            f"window of {settings.window_hours:g} h; expected a series for every label"
        )
    return _dataset(
        path, cohort.values, _labels(path, cohort.labels, cohort.label_names, train), train
    )


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
    _require_values(path, values, train)
    for _, sentence in codes_for_missing(values, train.feature_names):
        logger.warning(
            "%s: %s It is taken as a value; write NaN for what is missing", path, sentence
        )
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


def _require_values(path: Path, values: np.ndarray, train: EHRDataset) -> None:
    """Refuses a set with a channel, a series or most steps empty; says how much else is."""
    there = ~np.isnan(values)
    largest = np.finfo(np.float32).max
    if (np.abs(values[there]) > largest).any():
        raise MismatchError(
            f"{path}: values up to {np.abs(values[there]).max():.3g}; expected clinical units, "
            "which single precision can hold"
        )
    empty = [train.feature_names[k] for k in np.flatnonzero(~there.any(axis=(0, 2)))]
    if empty:
        raise MismatchError(f"{path}: no value of {', '.join(empty)}; every channel is needed")
    blank = int((~there.any(axis=(1, 2))).sum())
    if blank:
        raise MismatchError(
            f"{path}: {blank:,} of {len(values):,} series have no value at all (NaN: did the "
            "generator diverge?); leave them out or generate them again"
        )
    steps = int((~there.any(axis=(0, 1))).sum())
    if steps > values.shape[2] // 2:
        raise MismatchError(
            f"{path}: {steps} of {values.shape[2]} steps are empty in every series; is the time in "
            "minutes from the window's start?"
        )
    if steps:
        logger.warning(
            "%s: %d of %d steps are empty in every series and are filled from their neighbours",
            path,
            steps,
            values.shape[2],
        )
    lacking = int((~there.any(axis=2)).sum())
    if lacking:
        logger.warning(
            "%s: %d times a series has no value of a channel; the train median stands in",
            path,
            lacking,
        )
    gaps = float(1 - there.mean())
    if gaps:
        logger.info("%s: %.1f %% of its entries had no value and were filled", path, 100 * gaps)


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


def _require_own_channels(path: Path, found: EHRDataset, train: EHRDataset) -> None:
    """Refuses two channels whose distributions are each other's: they were swapped.

    The distance of a channel of the set to one of train is the mean difference of their quantiles,
    in standard deviations of the latter.
    """
    theirs, ours = _profiles(found), _profiles(train)
    spread = np.maximum(train.values.std(axis=(0, 2), dtype=np.float64), 1e-12)
    distance = np.abs(theirs[:, None] - ours[None]).mean(axis=2) / spread
    own = np.diag(distance)
    straight, crossed = own[:, None] + own[None], distance + distance.T
    swapped = (straight > MIN_APART) & (crossed < straight / 4)
    if swapped.any():
        first, second = np.argwhere(swapped)[0]
        names = train.feature_names
        raise MismatchError(
            f"{path}: {names[first]} and {names[second]} look swapped: each has the values that "
            f"the other has in train (means {theirs[first].mean():.4g} and "
            f"{theirs[second].mean():.4g}, in train {ours[first].mean():.4g} and "
            f"{ours[second].mean():.4g}); expected the channels in the order {', '.join(names)}"
        )


def _profiles(dataset: EHRDataset) -> np.ndarray:
    """Quantiles of every channel, (channel, quantile)."""
    by_channel = dataset.values.transpose(1, 0, 2).reshape(dataset.num_channels, -1)
    return np.quantile(by_channel.astype(np.float64), np.linspace(0.05, 0.95, 19), axis=1).T
