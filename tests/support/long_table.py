"""A long table of three stays with its labels, and what a reader makes of it."""

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from data_preprocess.sources.user_table.reader import read_table
from tests.support import sections


def read(**changes):
    given = {k: str(v) if isinstance(v, Path) else v for k, v in changes.items()}
    return sections.read(
        read_table, "table", **({"window_hours": 1.0, "step_minutes": 15.0} | given)
    ).pool


LONG = pd.DataFrame(
    [
        ("b", 0, "hr", 80.0),
        ("b", 14.9, "hr", 90.0),  # the same step: mean 85
        ("b", 15, "rr", 20.0),
        ("b", 60, "hr", 70.0),  # outside
        ("a", 59.9, "rr", 12.0),
        ("a", -1, "rr", 99.0),  # outside
        ("c", 5, "rr", 10.0),  # no label: not read
    ],
    columns=["id", "time", "variable", "value"],
)
LABELS = pd.DataFrame({"id": ["a", "b"], "label": ["died", "alive"], "person": [7, 7]})
EXPECTED = np.full((2, 2, 4), np.nan)
EXPECTED[1, 0, 0], EXPECTED[1, 1, 1], EXPECTED[0, 1, 3] = 85, 20, 12


def stored(tmp_path, frame, name):
    path = tmp_path / name
    if path.suffix == ".parquet":
        with duckdb.connect() as connection:
            connection.register("frame", frame)
            connection.execute(f"COPY frame TO '{path}' (FORMAT parquet)")
    else:
        frame.to_csv(path, index=False)
    return path
