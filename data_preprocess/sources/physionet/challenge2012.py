"""read_physionet2012: PhysioNet/CinC Challenge 2012 -> cohorts on a regular grid.

Set a is the pool, set b the test set by default. Within a step, values are averaged and urine is
summed; invasive pressure is preferred to non-invasive, step by step.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from configs.runtime.errors import ConfigError, DataError
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.physionet.records import (
    Challenge,
    bad_rows,
    find_set,
    named_sets,
    parse,
    read_bodies,
    refused,
)
from data_preprocess.sources.physionet.variables import (
    CHANNELS_2012,
    DESCRIPTORS,
    PARAMETERS_2012,
    SUMMED,
    Channel,
    channels_named,
    plausible_only,
)
from data_preprocess.sources.registry import Settings, SourceData, reader
from data_preprocess.storage.cell_text import NUMBER

RECORD_HOURS = 48.0
MOST_UNREADABLE = 0.01  # share of rows; sets with more are refused
# A slip of unit: values of a parameter from the first to the second number become the third times
# the value plus the fourth.
RESCALES = (
    ("Temp", 70.0, 120.0, 5 / 9, -160 / 9, "Fahrenheit turned into Celsius"),
    ("pH", 65.0, 80.0, 0.1, 0.0, "decimal point restored (73.5 -> 7.35)"),
    ("pH", 650.0, 800.0, 0.01, 0.0, "decimal point restored (735 -> 7.35)"),
    ("SaO2", 0.4, 1.0, 100.0, 0.0, "fraction turned into per cent"),
)
# What no adult has is unknown: -1 marks it, and some heights are in another unit.
STATIC = {
    "Age": ("age[years]", 15, 120),
    "Gender": ("sex[1=male]", 0, 1),
    "Height": ("height[cm]", 120, 230),
    "Weight": ("weight[kg]", 20, 350),
    "ICUType": ("icu_type[1=coronary,2=cardiac surgery,3=medical,4=surgical]", 1, 4),
}
_CODES = ("Gender", "ICUType")  # whole numbers
_TIME = re.compile(r"(\d{1,2}):([0-5]\d)")
_ROW = re.compile(rf"{_TIME.pattern},[^,]+,{NUMBER}")


CHALLENGE = Challenge(
    source="physionet2012",
    address="https://physionet.org/content/challenge-2012/1.0.0/",
    files="set-a.tar.gz, set-b.tar.gz, Outcomes-a.txt and Outcomes-b.txt",
    set_name="set-SET",
    file="<number>.txt",
    columns=("Time", "Parameter", "Value"),
    separator=",",
    row_form=_ROW,
    row="Time,Parameter,Value with Time as HH:MM and a finite Value",
)


@reader("physionet2012")
def read_physionet2012(section: Any, settings: Settings) -> SourceData:
    """The stays of `train_set`, to be split, and those of `test_set` if one is named.

    Task "mortality" is in-hospital death, "icustay" more than `los_days` from admission to the ICU
    to the end of the hospital stay: the data have no length of the ICU stay. The window begins at
    admission to the ICU.

    Args:
        section: the keys of `data.physionet2012`, as configs/schema/data_sources.py explains them;
            channels are names from variables.py, or PhysioNet's own.

    Raises:
        ConfigError: window, step, set or channel names.
        MissingInputError: a file is not there.
        DataError: a file is damaged or incomplete; names it.
    """
    if settings.window_hours > RECORD_HOURS:
        raise ConfigError(
            f"data.window_hours={settings.window_hours:g}: the records end after {RECORD_HOURS:g} h"
        )
    names = named_sets(section, CHALLENGE)
    chosen = channels_named(section.channels, CHANNELS_2012, "physionet2012")
    folder = Path(section.folder)
    cohorts = [_read_set(folder, name, chosen, settings) for name in names]
    files = [(find_set(folder, name, CHALLENGE), _outcomes(folder, name)) for name in names]
    return SourceData(*cohorts, files=sum(files, ()))


def _outcomes(folder: Path, set_name: str) -> Path:
    return folder / f"Outcomes-{set_name}.txt"


def _read_set(
    folder: Path, set_name: str, channels: tuple[Channel, ...], settings: Settings
) -> Cohort:
    hours = settings.num_steps * settings.step_minutes / 60
    outcomes = read_outcomes(_outcomes(folder, set_name))
    source = find_set(folder, set_name, CHALLENGE)
    events, dropped = _read_events(source, len(outcomes))
    _require_same_records(events, outcomes, source)
    records = outcomes.index.to_numpy()
    values, notes = _grid_values(events, records, channels, settings)
    labels, label_names = _labels(outcomes, settings.task, settings.los_days)
    unknown = sorted(
        set(events["parameter"].cat.categories) - set(PARAMETERS_2012) - set(DESCRIPTORS)
    )
    if unknown:
        dropped.append(f"rows of unknown parameters ignored: {', '.join(unknown)}")
    cohort = Cohort(
        values=values.astype(np.float32),
        labels=np.maximum(labels, 0),
        subject_ids=records,
        feature_names=tuple(channel.name for channel in channels),
        label_names=label_names,
        static=_static(events, records),
        static_names=tuple(name for name, _, _ in STATIC.values()),
        flow=(FlowStep(f"records of set {set_name}", 0, len(records)),),
        notes=(*notes, *dropped),
    )
    described = events["parameter"].isin([*DESCRIPTORS, "Weight"])  # weight is a series too
    empty = ~np.isin(records, events.loc[~described, "record"].unique())
    blank = ~empty & np.isnan(values).all(axis=(1, 2))
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
        raise CHALLENGE.missing(f"{path} does not exist")
    wanted = ["RecordID", "Length_of_stay", "In-hospital_death"]
    try:
        table = pd.read_csv(path)
        if missing := [name for name in wanted if name not in table.columns]:
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
    there, known = set(events["record"].unique().tolist()), set(outcomes.index.tolist())
    for lacking, what in (
        (sorted(there - known), "records without an outcome"),
        (sorted(known - there), "outcomes without a record (is the archive complete?)"),
    ):
        if lacking:
            raise DataError(f"{source}: {len(lacking)} {what}, first {lacking[:5]}")


def _labels(
    outcomes: pd.DataFrame, task: str, los_days: float
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Label per record, -1 where unknown, and the class names."""
    if task == "mortality":
        return outcomes["In-hospital_death"].to_numpy(), ("survived", "died")
    days = outcomes["Length_of_stay"].to_numpy()
    names = (f"stay<={los_days:g}d", f"stay>{los_days:g}d")
    return np.where(days < 0, -1, days > los_days).astype(np.int64), names


def _read_events(source: Path, expected: int) -> tuple[pd.DataFrame, list[str]]:
    """All rows of a set: record (int), minute since admission (int), parameter, value (float).

    Rows that are no such row (the public sets hold some without a parameter's name) are left out;
    the second return value counts them.

    Args:
        expected: records to expect, for the progress bar.

    Raises:
        DataError: as `read_bodies`, or more than 1 % of the rows cannot be parsed.
    """
    bodies = {n: body for n, body in read_bodies(source, CHALLENGE, expected).items() if body}
    try:
        return _table(bodies), []
    except ValueError as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        bad = len(list(bad_rows(bodies, CHALLENGE)))
        total = sum(body.count("\n") + 1 for body in bodies.values())
        if not 0 < bad <= MOST_UNREADABLE * total:
            what = refused(source, bodies, CHALLENGE, error)
            raise DataError(f"{what}; {bad:,} of {total:,} rows are none") from error
    sound = {n: "\n".join(filter(_ROW.fullmatch, body.split("\n"))) for n, body in bodies.items()}
    note = f"{source.name}: rows that are no Time,Parameter,Value, left out: {bad:,} of {total:,}"
    return _table({name: body for name, body in sound.items() if body}), [note]


def _table(bodies: dict[str, str]) -> pd.DataFrame:
    kinds = {"Time": "category", "Parameter": "category", "Value": float}
    events = parse(bodies, CHALLENGE, kinds).rename(columns=str.lower)
    times = events["time"].cat
    matches = [_TIME.fullmatch(text) for text in times.categories]
    unnamed = "" in events["parameter"].cat.categories or events.isna().to_numpy().any()
    if None in matches or unnamed or not np.isfinite(events["value"]).all():
        raise ValueError("a cell without a time, a name or a number")
    minutes = np.array([60 * int(m[1]) + int(m[2]) for m in matches if m is not None])
    return events.assign(minute=minutes[times.codes.to_numpy()]).drop(columns="time")


def _grid_values(
    events: pd.DataFrame, records: np.ndarray, channels: tuple[Channel, ...], settings: Settings
) -> tuple[Float[np.ndarray, "n channel time"], list[str]]:
    """Values per record, channel and step (NaN where none), and what was repaired or refused."""
    shape = (len(records), settings.num_steps)
    inside = events.query(f"minute < {settings.num_steps * settings.step_minutes}")
    steps = (inside["minute"].to_numpy() // settings.step_minutes).astype(np.int64)
    cells = np.searchsorted(records, inside["record"].to_numpy()) * settings.num_steps + steps
    by_parameter = dict(iter(inside.assign(cell=cells).groupby("parameter", observed=True)))
    notes: list[str] = []
    columns = []
    for channel in channels:
        column = np.full(shape, np.nan)
        for parameter in channel.parameters:
            if parameter in by_parameter:
                value, found = _repaired(by_parameter[parameter]["value"].to_numpy(), parameter)
                value, refusals = plausible_only(value, parameter, PARAMETERS_2012[parameter])
                notes += found + refusals
                kept = ~np.isnan(value)
                where = by_parameter[parameter]["cell"].to_numpy()[kept]
                fresh = _aggregate(where, value[kept], column.size, parameter in SUMMED)
                column = np.where(np.isnan(column), fresh.reshape(shape), column)
        columns.append(column)
    return np.stack(columns, axis=1), notes


def _repaired(value: np.ndarray, parameter: str) -> tuple[np.ndarray, list[str]]:
    """The values with slips of unit put right, and counted notes."""
    value, notes = value.copy(), []
    for repairs, low, high, scale, offset, what in RESCALES:
        hit = (value >= low) & (value <= high)
        if repairs == parameter and hit.any():
            value[hit] = scale * value[hit] + offset
            notes.append(f"{parameter}: {what}: {int(hit.sum()):,} of {len(value):,} values")
    return value, notes


def _aggregate(cells: np.ndarray, values: np.ndarray, size: int, summed: bool) -> np.ndarray:
    """Mean (or sum) per cell, NaN where a cell has no value."""
    counts = np.bincount(cells, minlength=size)
    totals = np.bincount(cells, weights=values, minlength=size)
    amounts = totals if summed else totals / np.maximum(counts, 1)
    return np.where(counts > 0, amounts, np.nan)


def _static(events: pd.DataFrame, records: np.ndarray) -> Float[np.ndarray, "n static"]:
    """The descriptors at admission, NaN where unknown or impossible.

    Where a -1 stands beside a value, the value counts.
    """
    columns = []
    for parameter, (_, low, high) in STATIC.items():
        rows = events.query(f"parameter == {parameter!r} and minute == 0")
        rows = rows.query(f"{low} <= value <= {high}")
        if parameter in _CODES:
            rows = rows.query("value % 1 == 0")
        columns.append(rows.groupby("record")["value"].first().reindex(records).to_numpy())
    return np.stack(columns, axis=1).astype(np.float32)
