"""A small cohort with known values, as tables: patient p, hour h: hr = 60 + p + h / 100.

A series is therefore its own number, and a shift of one hour shows in the second decimal.
"""

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from data_preprocess.cohort import Cohort
from data_preprocess.sources.user_table.reader import read_table
from tests.support import sections

COUNT, HOURS = 6, 6
HR = 60 + np.arange(COUNT)[:, None] + np.arange(HOURS)[None] / 100
FIRST = pd.Timestamp("2021-03-14 02:00")


def long(**columns: Any) -> pd.DataFrame:
    """id, time (minutes), variable, value; `columns` replace or add."""
    p, h = (grid.ravel() for grid in np.meshgrid(range(COUNT), range(HOURS), indexing="ij"))
    hr = pd.DataFrame({"id": p, "time": 60 * h, "variable": "hr", "value": HR.ravel()})
    sbp = hr.assign(variable="sbp", value=100 + p - h / 100)
    table = pd.concat([hr, sbp], ignore_index=True).sort_values(["id", "time"], ignore_index=True)
    return table.assign(**columns)


def labels(**columns: Any) -> pd.DataFrame:
    """id, label, patient (two series each)."""
    ids = np.arange(COUNT)
    return pd.DataFrame({"id": ids, "label": ids % 2, "patient": ids // 2}).assign(**columns)


def store(path: Path, table: pd.DataFrame) -> Path:
    """Writes `table` as CSV or, by the suffix, Parquet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        staged = path.parent.parent / "staged.parquet"
        with duckdb.connect() as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.register("frame", table)
            connection.execute(f"COPY frame TO '{staged}' (FORMAT parquet)")
        staged.rename(path)
    else:
        table.to_csv(path, index=False)
    return path


def read(folder: Path, series: pd.DataFrame, outcome: pd.DataFrame, **changes: Any) -> Cohort:
    """The cohort of both tables, written to `folder` under plain names."""
    x, y = store(folder / "plain" / "x.csv", series), store(folder / "plain" / "y.csv", outcome)
    return read_files(x, y, **changes)


def read_files(series: Path, outcome: Path, **changes: Any) -> Cohort:
    """The cohort of two files."""
    usual = {"window_hours": float(HOURS), "step_minutes": 60.0}
    found = sections.read(
        read_table, "table", series=str(series), labels=str(outcome), **(usual | changes)
    )
    return found.pool


def require_truth(cohort: Cohort) -> None:
    """The series are those of this file, nothing missing and nothing moved."""
    np.testing.assert_allclose(cohort.values[:, 0], HR, rtol=1e-6)
    assert cohort.feature_names == ("hr", "sbp") and len(cohort) == COUNT
