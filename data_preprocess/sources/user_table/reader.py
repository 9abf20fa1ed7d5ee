"""read_table: your own table -> a cohort. The inverse of data_preprocess/export/long_csv.py.

A long table (id, time, variable, value), a wide one (id, time, one column per variable) or MEDS
events (subject_id, time, code, numeric_value), as .csv, .csv.gz, .parquet or a folder of Parquet
files. DuckDB reads it out of core, so the table may be larger than memory.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from data_preprocess.cohort import Cohort, FlowStep, add_step, is_measured, require_float32
from data_preprocess.sources.registry import Settings, SourceData, reader
from data_preprocess.sources.user_table.form import PREDICTION_TIME, TableForm
from data_preprocess.sources.user_table.grid import on_grid
from data_preprocess.sources.user_table.outcomes import read_outcomes
from data_preprocess.sources.user_table.times import moments
from data_preprocess.sources.user_table.values import arrange, choose_channels, unit_column
from data_preprocess.storage.duckdb_engine import Engine, open_engine
from data_preprocess.storage.table_file import TableFile, load, open_table


@reader("table")
def read_table(section: Any, settings: Settings) -> SourceData:
    """The series of a table on the grid (mean per step, NaN where nothing was measured).

    Args:
        section: a TableForm, or the section `data.table`.

    Raises:
        ConfigError: no table is named, or the step does not divide the window.
        MissingInputError: a file is not there.
        DataError: a column is missing, a cell is unreadable, an id has no label or two, or the
            times are not what they were taken for.
    """
    form = TableForm.of(section)
    series = open_table(Path(str(form.series)), key="data.table.series")
    labels = (
        series if form.labels is None else open_table(Path(form.labels), key="data.table.labels")
    )
    if form.layout == "meds" and form.start is form.end is None:
        if PREDICTION_TIME in labels.columns:  # nothing later may be seen
            form = replace(form, end=PREDICTION_TIME)
    with open_engine(
        memory_limit=settings.memory_limit, threads=settings.threads, source=series.path
    ) as engine:
        one, used = labels is series, form.used and form.used | {unit_column(series)}
        series = load(engine, series, "series_file", used)
        labels = series if one else load(engine, labels, "labels_file", used)
        return read_series(engine, series, labels, form, settings)


def read_series(
    engine: Engine, series: TableFile, labels: TableFile, form: TableForm, settings: Settings
) -> SourceData:
    """The series of two tables, which may be views; errors as in `read_table`."""
    channels = choose_channels(engine, series, form)
    times = moments(engine, series, form.time, form)
    facts, removed, known = read_outcomes(engine, labels, series, form, times)
    count = len(facts["labels"])
    notes = arrange(engine, series, form, channels, times)
    has_row = engine.number("SELECT count(DISTINCT row) FROM measured")
    shape = (count, len(channels))
    values, counts = on_grid(engine, series, form, times, shape, settings)
    require_float32(values, channels, str(series.path))
    kept, file = is_measured(values), labels.path.name
    flow = [FlowStep(f"series with a label in {file}", 0, count)]
    if removed:
        flow = [FlowStep(f"rows of {file}", 0, count + removed)]
        add_step(flow, "without id or label", count)
    if has_row < count and form.source != "meds":  # which brings what is in the window only
        add_step(flow, "no value in the series table", has_row)
    add_step(flow, "no value in the window", int(kept.sum()))
    cohort = Cohort(
        values=values.astype(np.float32),
        feature_names=tuple(channels),
        flow=tuple(flow),
        notes=(*counts, *notes, *known),
        **facts,
    ).take(np.flatnonzero(kept))
    return SourceData(cohort, files=tuple(dict.fromkeys((series.path, labels.path))))
