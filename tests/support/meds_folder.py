"""A small MEDS data set, and how the tests read one."""

import datetime

import duckdb
import pandas as pd
import yaml

from configs.schema.data_sources import MedsConfig
from data_preprocess.sources.meds.reader import read_meds
from data_preprocess.sources.registry import Settings

DAY = datetime.datetime(2020, 1, 2)


def read(folder, *, hours=4.0, **section):
    settings = Settings(window_hours=hours, memory_limit="500MB", threads=1)
    section = {"folder": str(folder)} | {
        key: value if isinstance(value, (bool, list)) else str(value)
        for key, value in section.items()
    }
    return read_meds(MedsConfig(**section), settings)


def store(path, table, kinds="*"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.register("frame", table)
        connection.execute(f"COPY (SELECT {kinds} FROM frame) TO '{path}' (FORMAT parquet)")


# subject, hours before the prediction, value; the window is 4 h.
EVENTS = [(1, 4, 10.0), (1, 3.5, 12), (1, 0.001, 15), (1, 0, 99), (1, -1, 99), (2, 2, 20)]
EVENTS += [(2, 5, 99), (3, 1, 30), (9, 1, 99)]
LABELS = {1: True, 2: False, 3: True, 4: False}


def small_folder(path):
    """EVENTS in two shards, LABELS, and a mapping of one channel."""
    rows = [(s, DAY - datetime.timedelta(hours=h), "hr", v) for s, h, v in EVENTS]
    events = pd.DataFrame(rows, columns=["subject_id", "time", "code", "numeric_value"])
    store(path / "data" / "train" / "0.parquet", events[events["subject_id"] < 3])
    store(path / "data" / "train" / "1.parquet", events[events["subject_id"] >= 3])
    labels = pd.DataFrame({"subject_id": [*LABELS], "boolean_value": [*LABELS.values()]})
    store(path / "labels.parquet", labels.assign(prediction_time=DAY))
    mapping = {"channels": {"heart_rate": {"unit": "bpm", "codes": ["hr"], "range": [0, 50]}}}
    (path / "channels.yaml").write_text(yaml.safe_dump(mapping))
    return path
