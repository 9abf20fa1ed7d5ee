"""MEDS beside ACES: it queries a set that we wrote, and we read labels that it made.

ACES pins an older omegaconf, so it needs an environment of its own (`pip install es-aces`); the
tests run where its `aces-cli` is on the PATH.
"""

import shutil
import subprocess

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

from configs.schema.data_sources import MedsConfig
from data_preprocess.export.meds import START, write_meds
from data_preprocess.sources.meds.reader import read_meds
from data_preprocess.sources.registry import Settings

ACES = shutil.which("aces-cli")
pytestmark = pytest.mark.skipif(
    ACES is None, reason="no aces-cli on the PATH (pip install es-aces)"
)
HEART_RATE = "LAB//220045//bpm"
FAST = 85.0
DEATH_AFTER_A_DAY = {
    "predicates": {
        "admission": {"code": {"regex": "^ICU_ADMISSION.*"}},
        "death": {"code": "MEDS_DEATH"},
    },
    "trigger": "admission",
    "windows": {
        "input": {
            "start": "trigger",
            "end": "start + 24h",
            "start_inclusive": True,
            "end_inclusive": False,
            "index_timestamp": "end",
        },
        "target": {
            "start": "input.end",
            "end": "start + 30d",
            "start_inclusive": True,
            "end_inclusive": True,
            "label": "death",
        },
    },
}
EVERY_FAST_BEAT = {
    "predicates": {"fast": {"code": "heart_rate//bpm", "value_min": FAST}},
    "trigger": "fast",
    "windows": {
        "input": {
            "start": None,
            "end": "trigger",
            "start_inclusive": True,
            "end_inclusive": True,
            "index_timestamp": "end",
        }
    },
}


def extract(folder, shard, task):
    """The labels that ACES makes of one shard; they lie in <folder>/task.parquet."""
    (folder / "task.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    command = [str(ACES), "cohort_name=task", f"cohort_dir={folder}", "data.standard=meds"]
    command += [f"data.path={shard}", f"config_path={folder / 'task.yaml'}"]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)
    with duckdb.connect() as connection:
        return connection.execute(f"FROM '{folder / 'task.parquet'}'").df()


def test_aces_finds_every_event_of_an_exported_set(tmp_path, make_dataset):
    dataset = make_dataset(30, seed=3)
    write_meds(tmp_path / "set", dataset, step_minutes=60.0)
    found = extract(tmp_path, tmp_path / "set" / "data" / "0.parquet", EVERY_FAST_BEAT)
    series, steps = np.nonzero(dataset.observed[:, 0] & (dataset.values[:, 0] > FAST))
    middles = pd.Timestamp(START) + pd.to_timedelta(steps * 60 + 30, unit="m")
    expected = sorted(zip(series.tolist(), middles, strict=True))
    pairs = zip(found["subject_id"].tolist(), found["prediction_time"], strict=True)
    assert len(expected) > 10 and sorted(pairs) == expected


def test_labels_that_aces_made_of_a_real_shard_are_read(open_data, tmp_path):
    folder = open_data / "meds_demo"
    found = extract(tmp_path, folder / "data" / "tuning" / "0.parquet", DEATH_AFTER_A_DAY)
    mapping = {"channels": {"heart_rate": {"unit": "bpm", "codes": [HEART_RATE]}}}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(mapping))
    section = MedsConfig(
        folder=str(folder),
        labels=str(tmp_path / "task.parquet"),
        mapping=str(tmp_path / "map.yaml"),
    )
    cohort = read_meds(section, Settings(window_hours=24.0, memory_limit="500MB", threads=1)).pool
    with duckdb.connect() as connection:
        events = connection.execute(f"FROM '{folder}/data/tuning/0.parquet'").df()
    deaths = events[events["code"] == "MEDS_DEATH"].set_index("subject_id")["time"]
    died = [
        subject in deaths and moment <= deaths[subject] <= moment + pd.Timedelta(30, "D")
        for subject, moment in zip(found["subject_id"], found["prediction_time"], strict=True)
    ]
    assert found["boolean_value"].tolist() == died
    assert len(cohort) == len(found) == 15 and cohort.labels.sum() == sum(died) == 3
