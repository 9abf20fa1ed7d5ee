"""read_physionet2012: PhysioNet/CinC Challenge 2012 -> cohorts on a regular grid.

Set a is the pool, set b the test set by default. Within a step, values are averaged and urine is
summed; invasive pressure is preferred to non-invasive, step by step.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from configs.runtime.errors import ConfigError, DataError, MissingInputError
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.physionet2012.files import ADDRESS, FILES, find_set, read_events
from data_preprocess.sources.physionet2012.resample import (
    STATIC,
    RecordGrid,
    grid_values,
    static_covariates,
)
from data_preprocess.sources.physionet2012.variables import (
    DESCRIPTORS,
    PARAMETERS,
    Channel,
    channels_named,
)
from data_preprocess.sources.registry import Settings, SourceData, reader

RECORD_HOURS = 48.0


@reader("physionet2012")
def read_physionet2012(section: Any, settings: Settings) -> SourceData:
    """The stays of `train_set`, to be split, and those of `test_set` if one is named.

    Task "mortality" is in-hospital death, "icustay" a hospital stay longer than `los_days`: the
    data have no length of the ICU stay. The window begins at admission to the ICU.

    Args:
        section: folder: holds `set-<x>.tar.gz` (or `set-<x>/`) and `Outcomes-<x>.txt`; train_set,
            test_set; channels: names from variables.CHANNELS, or PhysioNet's own.

    Raises:
        ConfigError: window, step, set or channel names.
        MissingInputError: a file is not there.
        DataError: a file is damaged or incomplete; names it.
    """
    if section.train_set == section.test_set:
        raise ConfigError(
            f"data.physionet2012: train_set and test_set are both {section.train_set!r}"
        )
    if settings.window_hours > RECORD_HOURS:
        raise ConfigError(
            f"data.window_hours={settings.window_hours:g}: the records end after {RECORD_HOURS:g} h"
        )
    chosen, folder = channels_named(section.channels), Path(section.folder)
    names = [name for name in (section.train_set, section.test_set) if name is not None]
    cohorts = [_read_set(folder, name, chosen, settings) for name in names]
    files = [file for name in names for file in (find_set(folder, name), _outcomes(folder, name))]
    return SourceData(*cohorts, files=tuple(files))


def _outcomes(folder: Path, set_name: str) -> Path:
    return folder / f"Outcomes-{set_name}.txt"


def _read_set(
    folder: Path, set_name: str, channels: tuple[Channel, ...], settings: Settings
) -> Cohort:
    num_steps, step_minutes = settings.num_steps, settings.step_minutes
    outcomes = read_outcomes(_outcomes(folder, set_name))
    events, dropped = read_events(folder, set_name, len(outcomes))
    _require_same_records(events, outcomes, find_set(folder, set_name))
    records = outcomes.index.to_numpy()
    grid = RecordGrid(records, num_steps, step_minutes)
    in_window = events.query(f"minute < {num_steps * step_minutes}")
    values, notes = grid_values(in_window, grid, channels)
    labels, label_names = _labels(outcomes, settings.task, settings.los_days)
    unknown = sorted(set(events["parameter"].cat.categories) - set(PARAMETERS) - set(DESCRIPTORS))
    cohort = Cohort(
        values=values.astype(np.float32),
        labels=np.maximum(labels, 0),
        subject_ids=records,
        feature_names=tuple(channel.name for channel in channels),
        label_names=label_names,
        static=static_covariates(events, grid),
        static_names=tuple(name for name, _, _ in STATIC.values()),
        flow=(FlowStep(f"records of set {set_name}", 0, len(records)),),
        notes=(
            *notes,
            *dropped,
            *([f"rows of unknown parameters ignored: {', '.join(unknown)}"] if unknown else []),
        ),
    )
    empty = ~np.isin(records, _with_series(events))
    blank = ~empty & np.isnan(values).all(axis=(1, 2))
    hours = num_steps * step_minutes / 60
    return cohort.remove(
        {
            "no time series in the record (descriptors only)": empty,
            f"no usable value of the chosen channels in the first {hours:g} h": blank,
            "length of stay unknown": labels < 0,
        },
    )


def read_outcomes(path: Path) -> pd.DataFrame:
    """Length_of_stay (days, -1 unknown) and In-hospital_death per RecordID, ascending.

    Raises:
        MissingInputError: no such file.
        DataError: a column is missing, an id repeats, or a value is not a whole number.
    """
    if not path.is_file():
        raise MissingInputError(
            f"{path} does not exist. `python -m data_preprocess.download physionet2012` fetches "
            f"{FILES} from {ADDRESS} ; or set data.physionet2012.folder to where they are"
        )
    wanted = ["RecordID", "Length_of_stay", "In-hospital_death"]
    try:
        table = pd.read_csv(path)
        missing = [name for name in wanted if name not in table.columns]
        if missing:
            raise DataError(
                f"{path}: no column {', '.join(missing)}; found {', '.join(table.columns)}"
            )
        outcomes = table[wanted].astype("int64").set_index("RecordID").sort_index()
    except DataError:
        raise
    except ValueError as error:  # pandas: not a table, an empty cell, or text
        raise DataError(
            f"{path}: expected whole numbers in {', '.join(wanted)} ({error})"
        ) from error
    if outcomes.index.has_duplicates or not outcomes["In-hospital_death"].isin([0, 1]).all():
        raise DataError(f"{path}: a RecordID repeats, or In-hospital_death is not 0 or 1")
    return outcomes


def _require_same_records(events: pd.DataFrame, outcomes: pd.DataFrame, source: Path) -> None:
    there = set(events["record"].unique().tolist())
    known = set(outcomes.index.tolist())
    for left, right, what in (
        (there, known, "records without an outcome"),
        (known, there, "outcomes without a record (is the archive complete?)"),
    ):
        lacking = sorted(left - right)
        if lacking:
            raise DataError(f"{source}: {len(lacking)} {what}, first {lacking[:5]}")


def _with_series(events: pd.DataFrame) -> np.ndarray:
    """Records that have at least one row besides the descriptors; weight is one of them."""
    described = events["parameter"].isin([*DESCRIPTORS, "Weight"])
    return events.loc[~described, "record"].unique()


def _labels(
    outcomes: pd.DataFrame, task: str, los_days: float
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Label per record, -1 where unknown, and the class names."""
    if task == "mortality":
        return outcomes["In-hospital_death"].to_numpy(), ("survived", "died")
    days = outcomes["Length_of_stay"].to_numpy()
    names = (f"stay<={los_days:g}d", f"stay>{los_days:g}d")
    return np.where(days < 0, -1, days > los_days).astype(np.int64), names
