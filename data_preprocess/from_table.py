"""read_table: your own table -> a cohort. The inverse of data_preprocess/storage/csv_export.py.

    python -m data_preprocess.from_table my.yaml data.table.series=x.csv data.table.labels=y.csv

builds the splits of the experiment from a long table (id, time, variable, value), a wide one (id,
time, one column per variable) or MEDS events (subject_id, time, code, numeric_value), as .csv,
.csv.gz or .parquet. DuckDB reads it out of core, so the table may be larger than memory.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from configs.cli import run_stage
from configs.runtime.errors import ConfigError, DataError
from configs.schema.experiment import ExperimentConfig
from data_preprocess import build
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.hospital.duckdb_engine import open_engine, readable
from data_preprocess.sources.hospital.inclusion_criteria import is_measured
from data_preprocess.sources.user_table import Names, arrange, grid_values, open_view, read_outcomes

_MEDS = {"id": "subject_id", "time": "time", "variable": "code", "value": "numeric_value"}


def read_table(
    *,
    series: str | None,
    labels: str | None,
    layout: str,
    id: str,
    time: str,
    variable: str,
    value: str,
    label: str,
    subject: str | None,
    channels: list[str] | None,
    memory_limit: str,
    threads: int,
    window_hours: float,
    step_minutes: float,
) -> tuple[Cohort, None]:
    """The series of a table on the grid (mean per step, NaN where nothing was measured).

    Args:
        series: the table; labels: a second one with a row per id, or None if `label` is a column
            of `series`.
        layout: "long", "wide" or "meds" (MEDS's own column names are used).
        id, time, variable, value, label, subject: column names; time in minutes from the window's
            start, or a time stamp (ISO), then counted from the first value of the series.
        channels: variables in channel order; None: all, by name.

    Raises:
        ConfigError: no table is named, or the step does not divide the window.
        MissingInputError: a file is not there.
        DataError: a column is missing, a cell is unreadable, an id has no label or two.
    """
    if series is None:
        raise ConfigError("data.table.series is not set: name a .csv, .csv.gz or .parquet table")
    names = Names(id, time, variable, value, label, subject)
    if layout == "meds":
        names = dataclasses.replace(names, **_MEDS)
    num_steps = _num_steps(window_hours, step_minutes)
    with open_engine(memory_limit=memory_limit, threads=threads) as engine, readable(series):
        columns = open_view(engine, "series", Path(series))
        outcome_file = Path(labels or series)
        open_view(engine, "outcome", outcome_file)
        found, subjects, label_names = read_outcomes(engine, names, outcome_file)
        variables = arrange(engine, names, layout, columns, Path(series), channels)
        values, outside = grid_values(engine, len(found), variables, num_steps, step_minutes)
    start = FlowStep(f"series with a label in {outcome_file.name}", 0, len(found))
    kept = is_measured(values)
    _require_any(kept, series, variables, window_hours)
    cohort = Cohort(
        values=values[kept],
        labels=found[kept],
        subject_ids=subjects[kept],
        feature_names=tuple(variables),
        label_names=label_names,
        static=np.zeros((int(kept.sum()), 0), np.float32),
        static_names=(),
        flow=(start, FlowStep("no value in the window", int((~kept).sum()), int(kept.sum()))),
        notes=(f"values outside the window, not used: {outside:,}",),
    )
    return cohort, None


def _require_any(
    kept: np.ndarray, series: str, variables: Sequence[str], window_hours: float
) -> None:
    if not kept.any():
        raise DataError(
            f"{series}: no value of {', '.join(variables)} lies in the window of {window_hours:g} h"
        )


def _num_steps(window_hours: float, step_minutes: float) -> int:
    steps = window_hours * 60 / step_minutes
    if abs(steps - round(steps)) > 1e-6:
        raise ConfigError(
            f"data.step_minutes={step_minutes:g} does not divide the window of {window_hours:g} h"
        )
    return round(steps)


def main(config: ExperimentConfig) -> None:
    """Builds the splits from the table that `data.table` describes."""
    build.main(dataclasses.replace(config, data=dataclasses.replace(config.data, source="table")))


if __name__ == "__main__":
    run_stage(main)
