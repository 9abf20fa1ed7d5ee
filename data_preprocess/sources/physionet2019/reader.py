"""read_physionet2019: PhysioNet/CinC Challenge 2019 -> early warning of sepsis, hourly.

The question is asked at hour k, the end of the window: of the stays that carry no sepsis label
until then, which will later? (The Challenge sets the label 6 h before the clinical onset.)
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from configs.runtime.errors import ConfigError
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.physionet2019.files import find_set, read_rows
from data_preprocess.sources.physionet2019.variables import Variable, variables_named
from data_preprocess.sources.registry import Settings, SourceData, reader

LABEL_NAMES = ("no sepsis", "sepsis")
STATIC_NAMES = (
    "age[years]",
    "sex[1=male]",
    "icu_unit[1=medical,2=surgical]",
    "hours_before_icu[h]",
)
_FACTS = ("Age", "Gender", "Unit1", "Unit2", "HospAdmTime")


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
    if section.train_set == section.test_set:
        raise ConfigError(
            f"data.physionet2019: train_set and test_set are both {section.train_set!r}"
        )
    if settings.step_minutes != 60 or settings.window_hours != round(settings.window_hours):
        raise ConfigError(
            f"data.step_minutes={settings.step_minutes:g}, data.window_hours="
            f"{settings.window_hours:g}: the records of PhysioNet 2019 are hourly; expected 60 and "
            "whole hours"
        )
    chosen, folder = variables_named(section.channels), Path(section.folder)
    names = [name for name in (section.train_set, section.test_set) if name is not None]
    cohorts = [_read_set(folder, name, chosen, settings.num_steps) for name in names]
    return SourceData(*cohorts, files=tuple(find_set(folder, name) for name in names))


def _read_set(folder: Path, set_name: str, variables: tuple[Variable, ...], hours: int) -> Cohort:
    source = find_set(folder, set_name)
    rows = read_rows(source, [*(variable.column for variable in variables), *_FACTS])
    records, starts, lengths = np.unique(rows["record"], return_index=True, return_counts=True)
    inside = rows.loc[rows["hour"] < hours]
    clean, notes = _clean(inside, variables)
    values = np.full((len(records), len(variables), hours), np.nan, np.float32)
    values[np.searchsorted(records, inside["record"]), :, inside["hour"]] = clean
    septic = rows["SepsisLabel"].astype(bool)
    early, late = (
        np.isin(records, rows.loc[septic & when, "record"])
        for when in (rows["hour"] < hours, rows["hour"] >= hours)
    )
    cohort = Cohort(
        values=values,
        labels=late.astype(np.int64),
        subject_ids=records,
        feature_names=tuple(variable.feature_name for variable in variables),
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


def _clean(
    rows: pd.DataFrame, variables: tuple[Variable, ...]
) -> tuple[Float[np.ndarray, "row channel"], list[str]]:
    """The plausible values in their unit, NaN elsewhere, and what was refused."""
    columns, notes = [], []
    for variable in variables:
        value = rows[variable.column].to_numpy(copy=True)
        measured = ~np.isnan(value)
        refused = measured & ~((value >= variable.low) & (value <= variable.high))
        value[refused] = np.nan
        if refused.any():
            notes.append(
                f"{variable.column}: outside {variable.low:g}..{variable.high:g} {variable.unit}, "
                f"set to missing: {int(refused.sum()):,} of {int(measured.sum()):,} values"
            )
        columns.append(value)
    return np.stack(columns, axis=1), notes


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
