"""read_physionet2019: PhysioNet/CinC Challenge 2019 -> early warning of sepsis, hourly.

The question is asked at hour k, the end of the window: of the stays that carry no sepsis label
until then, which will later? (The Challenge sets the label 6 h before the clinical onset.)
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from configs.runtime.errors import ConfigError, DataError
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.physionet.records import (
    Challenge,
    find_set,
    named_sets,
    parse,
    read_bodies,
    refused,
)
from data_preprocess.sources.physionet.variables import (
    CHANNELS_2019,
    PARAMETERS_2019,
    Channel,
    channels_named,
    plausible_only,
)
from data_preprocess.sources.registry import Settings, SourceData, reader
from data_preprocess.storage.cell_text import NUMBER

HEADER = (
    "HR|O2Sat|Temp|SBP|MAP|DBP|Resp|EtCO2|BaseExcess|HCO3|FiO2|pH|PaCO2|SaO2|AST|BUN|Alkalinephos|"
    "Calcium|Chloride|Creatinine|Bilirubin_direct|Glucose|Lactate|Magnesium|Phosphate|Potassium|"
    "Bilirubin_total|TroponinI|Hct|Hgb|PTT|WBC|Fibrinogen|Platelets|Age|Gender|Unit1|Unit2|"
    "HospAdmTime|ICULOS|SepsisLabel"
)
COLUMNS = HEADER.split("|")
LABEL_NAMES = ("no sepsis", "sepsis")
STATIC_NAMES = (
    "age[years]",
    "sex[1=male]",
    "icu_unit[1=medical,2=surgical]",
    "hours_before_icu[h]",
)
_CELL = f"({NUMBER}|NaN)"
_FACTS = ("Age", "Gender", "Unit1", "Unit2", "HospAdmTime")


CHALLENGE = Challenge(
    source="physionet2019",
    address="https://physionet.org/content/challenge-2019/1.0.0/",
    files="training_setA/ or training_setB/",
    set_name="training_setSET",
    file="p<number>.psv",
    columns=tuple(COLUMNS),
    separator="|",
    row_form=re.compile(rf"({_CELL}\|){{{len(COLUMNS) - 1}}}{_CELL}"),
    row=f"{len(COLUMNS)} numbers or NaN",
)


@reader("physionet2019")
def read_physionet2019(section: Any, settings: Settings) -> SourceData:
    """The stays of `train_set`, to be split, and those of `test_set` if one is named.

    The window is whole hours from the record's first row, the step 60 minutes as in the records.

    Args:
        section: folder: holds `training_set<X>.tar.gz` or `training_set<X>/`; train_set, test_set:
            "A" or "B", a hospital each; channels: names from variables.py, or the Challenge's own.

    Raises:
        ConfigError: window, step, set or channel names.
        MissingInputError: a set is not there.
        DataError: a set is damaged; names the file.
    """
    if settings.step_minutes != 60 or settings.window_hours != round(settings.window_hours):
        raise ConfigError(
            f"data.step_minutes={settings.step_minutes:g}, data.window_hours="
            f"{settings.window_hours:g}: the records of PhysioNet 2019 are hourly; expected 60 and "
            "whole hours"
        )
    names = named_sets(section, CHALLENGE)
    chosen = channels_named(section.channels, CHANNELS_2019, "physionet2019")
    folder = Path(section.folder)
    cohorts = [_read_set(folder, name, chosen, settings.num_steps) for name in names]
    return SourceData(*cohorts, files=tuple(find_set(folder, name, CHALLENGE) for name in names))


def _read_set(folder: Path, set_name: str, channels: tuple[Channel, ...], hours: int) -> Cohort:
    source = find_set(folder, set_name, CHALLENGE)
    rows = _read_rows(source, [*(c.parameters[0] for c in channels), *_FACTS])
    records, starts, lengths = np.unique(rows["record"], return_index=True, return_counts=True)
    inside = rows.loc[rows["hour"] < hours]
    values, notes = np.full((len(records), len(channels), hours), np.nan, np.float32), []
    row = np.searchsorted(records, inside["record"])
    for k, (column,) in enumerate(channel.parameters for channel in channels):
        found, refusals = plausible_only(inside[column].to_numpy(), column, PARAMETERS_2019[column])
        values[row, k, inside["hour"]] = found
        notes += refusals
    septic = rows["SepsisLabel"].astype(bool)
    early, late = (
        np.isin(records, rows.loc[septic & when, "record"])
        for when in (rows["hour"] < hours, rows["hour"] >= hours)
    )
    cohort = Cohort(
        values=values,
        labels=late.astype(np.int64),
        subject_ids=records,
        feature_names=tuple(channel.name for channel in channels),
        label_names=LABEL_NAMES,
        static=_static(rows.iloc[starts]),
        static_names=STATIC_NAMES,
        flow=(FlowStep(f"records of {source.name}", 0, len(records)),),
        notes=tuple(notes),
    )
    blank = np.asarray(np.isnan(values).all(axis=(1, 2)))
    return cohort.remove(
        {
            f"shorter than {hours} h": lengths < hours,
            f"labelled as sepsis within the first {hours} h": early,
            f"no usable value of the chosen channels in the first {hours} h": blank,
        }
    )


def _static(first: pd.DataFrame) -> Float[np.ndarray, "n static"]:
    """The facts of the first row of every record, NaN where unknown or impossible."""
    age, before = first["Age"], -first["HospAdmTime"]
    unit = np.select([first["Unit1"] == 1, first["Unit2"] == 1], [1.0, 2.0], np.nan)
    columns = [
        age.where(age.between(14, 120)),
        first["Gender"].where(first["Gender"].isin([0, 1])),
        unit,
        before.where(before >= 0),
    ]
    return np.stack([np.asarray(column) for column in columns], axis=1).astype(np.float32)


def _read_rows(source: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The hourly rows of all records by record number, then hour.

    Args:
        columns: those to read beside the labels; NaN where nothing was measured.

    Returns:
        `record` (number), `hour` (from 0, counted from the record's first row), `columns`,
        `SepsisLabel` (0 or 1).

    Raises:
        DataError: damaged or wrong files, a row that cannot be parsed, hours that do not follow
            each other, or another label than 0 and 1; names the file.
    """
    bodies = read_bodies(source, CHALLENGE)
    try:
        rows = parse(bodies, CHALLENGE, dict.fromkeys([*columns, "ICULOS", "SepsisLabel"], float))
        if np.isinf(rows.to_numpy()).any():
            raise ValueError("an infinite value")
    except ValueError as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise refused(source, bodies, CHALLENGE, error) from error
    records = rows.groupby("record")
    hour = records.cumcount()
    counted = rows["ICULOS"] == records["ICULOS"].transform("first") + hour
    for sound, what in (
        (counted, "ICULOS does not count the hours one by one"),
        (rows["SepsisLabel"].isin([0, 1]), "SepsisLabel is not 0 or 1"),
    ):
        if not sound.all():
            row = int(sound.argmin())
            (name,) = (n for n in bodies if CHALLENGE.number(n) == rows["record"][row])
            raise DataError(f"{source}: {name} line {hour[row] + 2}: {what}")
    return rows.drop(columns="ICULOS").assign(hour=hour)
