"""Kind A: a row that DuckDB does not hand over is noticed, in every text table of every reader."""

import datetime
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.runtime.errors import DataError
from configs.schema.data_sources import MedsConfig, YaibConfig
from data_preprocess.export.meds import write_meds
from data_preprocess.export.yaib import write_yaib
from data_preprocess.sources.hospital.eicu import read_eicu
from data_preprocess.sources.hospital.mimic import read_mimic3
from data_preprocess.sources.meds.reader import read_meds
from data_preprocess.sources.registry import Settings
from data_preprocess.sources.yaib.reader import read_yaib
from data_preprocess.storage import table_file
from data_preprocess.storage.duckdb_engine import open_engine
from data_preprocess.storage.table_file import open_table, require_all_rows
from tests.support import sections
from tests.support.simulated_release.__main__ import simulate_raw
from tests.support.small_tables import labels, long, read_files, store

MIMIC3 = ("ICUSTAYS", "PATIENTS", "ADMISSIONS", "CHARTEVENTS")
SETTINGS = Settings(window_hours=4.0, memory_limit="500MB", threads=1)


def swallow(monkeypatch, name: str, rows: int = 1) -> None:
    """From now on DuckDB leaves the first rows of the text table `name` out."""
    plain = table_file._csv

    def short(path, *, lower):
        table = plain(path, lower=lower)
        if path.name != name:
            return table
        return replace(table, scan=f"(SELECT * FROM {table.scan} OFFSET {rows})")

    monkeypatch.setattr(table_file, "_csv", short)


@pytest.mark.parametrize("lost", [0, 1, 7])
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_both_counts_are_in_the_message(tmp_path, monkeypatch, name, lost):
    path = tmp_path / name
    pd.DataFrame({"a": range(9), "b": ['x\n"y"'] * 9}).to_csv(path, index=False)
    swallow(monkeypatch, name, lost)
    table = open_table(path, key="k")
    with open_engine(memory_limit="500MB", threads=1) as engine:
        if not lost:
            require_all_rows(engine, table)
            return
        message = f"{name}: 9 rows are in the file but {9 - lost} were read"
        with pytest.raises(DataError, match=message):
            require_all_rows(engine, table)


@pytest.mark.parametrize("name", ["x.csv", "y.csv"])
def test_own_tables(tmp_path, monkeypatch, name):
    x, y = store(tmp_path / "x.csv", long()), store(tmp_path / "y.csv", labels())
    swallow(monkeypatch, name)
    with pytest.raises(DataError, match=f"{name}: .* rows are in the file"):
        read_files(x, y)


@pytest.fixture(scope="module")
def releases(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("releases")
    for layout in ("mimic3", "eicu"):
        simulate_raw(folder / layout, layout=layout, num_stays=20, seed=0)
    return folder


@pytest.mark.parametrize(
    ("layout", "name"),
    [*(("mimic3", name) for name in MIMIC3), ("eicu", "patient"), ("eicu", "vitalPeriodic")],
)
def test_hospital_tables(releases, monkeypatch, layout, name):
    reader = {"mimic3": read_mimic3, "eicu": read_eicu}[layout]
    swallow(monkeypatch, f"{name}.csv.gz")
    with pytest.raises(DataError, match=f"{name}.csv.gz: .* rows are in the file"):
        sections.read(
            reader, layout, folder=str(releases / layout), channels=["heart_rate"], task="mortality"
        )


def test_labels_of_meds(tmp_path, make_dataset, monkeypatch):
    write_meds(tmp_path, make_dataset(6), step_minutes=60.0, split="train")
    table = pd.DataFrame(
        {
            "subject_id": np.arange(6),
            "prediction_time": datetime.datetime(2020, 1, 2),
            "boolean_value": np.arange(6) % 2 == 1,
        }
    )
    path = store(tmp_path / "labels.csv", table)
    swallow(monkeypatch, "labels.csv")
    with pytest.raises(DataError, match=r"labels.csv: 6 rows are in the file but 5 were read"):
        read_meds(MedsConfig(folder=str(tmp_path), labels=str(path)), SETTINGS)


def test_persons_of_yaib(tmp_path, make_dataset, monkeypatch):
    write_yaib(tmp_path, make_dataset(6), step_minutes=60.0)
    table = pd.DataFrame({"stay_id": np.arange(6), "subject": np.arange(6)})
    path = store(tmp_path / "persons.csv", table)
    swallow(monkeypatch, "persons.csv")
    with pytest.raises(DataError, match=r"persons.csv: 6 rows are in the file but 5 were read"):
        read_yaib(YaibConfig(folder=str(tmp_path), subjects=str(path)), SETTINGS)
