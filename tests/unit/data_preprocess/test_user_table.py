"""Bring your own table: long, wide and MEDS, CSV and parquet, and back from the export."""

import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest

from configs.runtime.errors import ConfigError, DataError, MissingInputError
from data_preprocess.export.long_csv import write_long_csv
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.storage.duckdb_engine import open_engine
from data_preprocess.storage.table_file import load, open_table
from tests.support.long_table import EXPECTED, LABELS, LONG, read, stored
from tests.support.user_tables import propose

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(("channels", "kept"), [(["hr"], {"id", "time", "hr"}), (None, {*"ab"})])
def test_only_columns_that_the_experiment_names_are_copied(tmp_path, channels, kept):
    wide = pd.DataFrame({name: [1, 2] for name in ("id", "time", "hr", "a", "b")})
    table = open_table(stored(tmp_path, wide, "x.csv"), key="x")
    form = TableForm(series="x.csv", layout="wide", channels=channels)
    with open_engine(memory_limit="1GB", threads=1) as engine:
        scan = load(engine, table, "copied", form.used).scan
        found = {str(row[0]) for row in engine.rows(f"DESCRIBE {scan}")}
    assert found == kept | {"id", "time", "hr"}


def test_sodium_is_no_missing_value(tmp_path):
    long = LONG.replace({"variable": {"hr": "Na", "rr": "none"}})
    labels = stored(tmp_path, LABELS, "y.csv")
    cohort = read(series=stored(tmp_path, long, "x.csv"), labels=labels)
    assert cohort.feature_names == ("Na", "none")
    np.testing.assert_array_equal(cohort.values, EXPECTED.astype(np.float32))
    # A column that is called as the query calls it does not take its place.
    named = long.assign(name="Ann").rename(columns={"value": "v"})
    found = read(series=stored(tmp_path, named, "z.csv"), labels=labels, value="v")
    assert found.feature_names == ("Na", "none")


def test_intervals_are_lengths_of_time(tmp_path):
    path = tmp_path / "x.parquet"
    with duckdb.connect() as connection:
        connection.register("frame", LONG[LONG.time >= 0])  # Parquet has no negative ones
        connection.execute(
            "COPY (SELECT * REPLACE (to_seconds(time * 60) AS time) FROM frame) "
            f"TO '{path}' (FORMAT parquet)"
        )
    cohort = read(series=path, labels=stored(tmp_path, LABELS, "y.csv"))
    np.testing.assert_array_equal(cohort.values, EXPECTED.astype(np.float32))


def test_cells_have_one_decimal_sign(tmp_path):
    """A point beside decimal commas is refused; numbers of a Parquet file have their own."""
    labels = stored(tmp_path, LABELS, "y.csv")
    commas = LONG.assign(value=LONG.value.map(lambda v: str(v).replace(".", ",")))
    commas["time"] = commas.time.map(lambda v: str(v).replace(".", ","))
    path = stored(tmp_path, commas, "x.csv")
    cohort = read(series=path, labels=labels, decimal=",")
    np.testing.assert_array_equal(cohort.values, EXPECTED.astype(np.float32))
    commas.loc[1, "value"] = "90.5"
    with pytest.raises(DataError, match="cannot be read as numbers.*'90.5'"):
        read(series=stored(tmp_path, commas, "z.csv"), labels=labels, decimal=",")
    typed = read(series=stored(tmp_path, LONG, "x.parquet"), labels=labels, decimal=",")
    np.testing.assert_array_equal(typed.values, EXPECTED.astype(np.float32))
    wide = LONG.pivot(index=["id", "time"], columns="variable", values="value").reset_index()
    wide["rr"] = wide.rr.map(lambda v: str(v).replace(".", ","))  # a column of texts beside numbers
    wide["hr"] += 0.5
    path = stored(tmp_path, wide, "w.parquet")
    columns = read(series=path, labels=labels, decimal=",", layout="wide", channels=["hr", "rr"])
    moved = EXPECTED + [[[0.5], [0.0]]]
    np.testing.assert_array_equal(columns.values, moved.astype(np.float32))


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_long_tables_land_on_the_grid(tmp_path, suffix):
    cohort = read(
        series=stored(tmp_path, LONG, f"x{suffix}"),
        labels=stored(tmp_path, LABELS, f"y{suffix}"),
        subject="person",
    )
    np.testing.assert_array_equal(cohort.values, EXPECTED.astype(np.float32))
    assert cohort.feature_names == ("hr", "rr")
    assert cohort.label_names == ("alive", "died")
    assert cohort.labels.tolist() == [1, 0]
    assert len(set(cohort.subject_ids)) == 1
    assert cohort.notes == (
        "values outside the window, not used: 2",
        "ids of the series without a label, not read: 1",
    )


def test_repeats_that_differ_are_counted(tmp_path, caplog):
    again = pd.concat([LONG, LONG.iloc[[1]].assign(value=92.0), LONG.iloc[[2, 2]]])
    labels = stored(tmp_path, LABELS, "y.csv")
    notes = read(series=stored(tmp_path, again, "x.csv"), labels=labels).notes
    assert "repeats of one channel at one time that differ, averaged: 1" in notes
    assert "no column of patients is named: every series counts as its own patient" in notes
    told = "at 17 % of its times a channel has several values that differ; they are averaged"
    assert told in caplog.text  # one of six
    caplog.clear()
    seldom = pd.concat([again, *(LONG.iloc[[0]].assign(time=k / 20) for k in range(1, 21))])
    notes = read(series=stored(tmp_path, seldom, "z.csv"), labels=labels).notes
    assert "repeats of one channel at one time that differ, averaged: 1" in notes
    assert "values that differ" not in caplog.text


def test_channels_are_taken_in_the_given_order(tmp_path):
    paths = {"series": stored(tmp_path, LONG, "x.csv"), "labels": stored(tmp_path, LABELS, "y.csv")}
    cohort = read(**paths, channels=["rr", "hr"])
    np.testing.assert_array_equal(cohort.values, EXPECTED[:, ::-1].astype(np.float32))
    only = read(**paths, channels=["hr"], step_minutes=10.0)
    assert len(only) == 1 and [step.removed for step in only.flow] == [0, 1, 0]


def test_wide_tables_and_labels_in_the_series(tmp_path):
    wide = LONG.pivot_table(index=["id", "time"], columns="variable", values="value").reset_index()
    wide["label"] = wide["id"].map({"a": 1, "b": 0, "c": 2})
    cohort = read(series=stored(tmp_path, wide, "x.csv"), layout="wide")
    np.testing.assert_array_equal(cohort.values[:2], EXPECTED.astype(np.float32))
    assert cohort.label_names == ("0", "1", "2")
    assert cohort.labels.tolist() == [1, 0, 2]


def test_time_stamps_count_from_the_first_value(tmp_path):
    stamped = LONG[LONG.time >= 0].copy()
    stamped["time"] = pd.Timestamp("2150-03-01 23:50") + pd.to_timedelta(stamped.time, unit="min")
    cohort = read(
        series=stored(tmp_path, stamped, "x.csv"), labels=stored(tmp_path, LABELS, "y.csv")
    )
    assert cohort.values[0, 1, 0] == 12  # a's only value now opens its window
    np.testing.assert_array_equal(cohort.values[1], EXPECTED[1].astype(np.float32))


def test_meds_events(tmp_path):
    meds = LONG.rename(
        columns={"id": "subject_id", "variable": "code", "value": "numeric_value"}
    ).assign(subject_id=LONG.id.map({"a": 1, "b": 2, "c": 3}))
    meds["time"] = pd.Timestamp("2150-03-01") + pd.to_timedelta(meds.time, unit="min")
    static = pd.DataFrame({"subject_id": [1], "time": [pd.NaT], "code": ["BIRTH"]})
    labels = pd.DataFrame({"subject_id": [1, 2], "boolean_value": [True, False]})
    cohort = read(
        series=stored(tmp_path, pd.concat([meds, static]), "x.parquet"),
        labels=stored(tmp_path, labels, "y.parquet"),
        layout="meds",
        label="boolean_value",
        window_hours=2.0,
    )
    assert cohort.feature_names == ("hr", "rr")
    assert cohort.label_names == ("false", "true")
    assert cohort.labels.tolist() == [1, 0]
    assert cohort.values[1, 0, 0] == 85


def test_an_exported_set_comes_back_bit_for_bit(tmp_path, make_dataset):
    dataset = make_dataset(12)
    write_long_csv(tmp_path / "set.csv.gz", dataset, step_minutes=60.0)
    cohort = read(
        series=tmp_path / "set.csv.gz",
        labels=tmp_path / "set_labels.csv",
        channels=list(dataset.feature_names),
        window_hours=4.0,
        step_minutes=60.0,
    )
    order = np.argsort([str(row) for row in range(12)])  # ids are read as text
    measured = np.where(dataset.observed, dataset.values, np.nan)[order]
    np.testing.assert_array_equal(cohort.values, measured)
    names = [cohort.label_names[label] for label in cohort.labels]
    assert names == [dataset.label_names[label] for label in dataset.labels[order]]


def test_what_is_wrong_with_a_table_is_named(tmp_path):
    x, y = stored(tmp_path, LONG, "x.csv"), stored(tmp_path, LABELS, "y.csv")
    with pytest.raises(ConfigError, match=r"data\.table\.series is not set"):
        read()
    with pytest.raises(MissingInputError, match="nowhere"):
        read(series=tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="unknown kind of table"):
        read(series=stored(tmp_path, LONG, "x.txt"))
    with pytest.raises(DataError, match="no column pulse; it has id, time, variable, value"):
        read(series=x, labels=y, value="pulse")
    twice = pd.concat([LABELS, LABELS.assign(label="died")])
    with pytest.raises(DataError, match=r"the id b has 2 rows that differ in label \(1 such"):
        read(series=x, labels=stored(tmp_path, twice, "z.csv"))
    ages = pd.concat([LABELS.assign(age=40), LABELS.assign(age=[40, None])])
    with pytest.raises(DataError, match=r"the id b has 2 rows that differ in age \(1 such ids"):
        read(series=x, labels=stored(tmp_path, ages, "z.csv"), static=["age"])
    words = LONG.astype({"value": object})
    words.loc[1, "value"] = "eighty"
    with pytest.raises(DataError, match=r"w\.csv: cells .* hr 1, first 'eighty' \(id b\)"):
        read(series=stored(tmp_path, words, "w.csv"), labels=y)
    with pytest.raises(DataError, match="no value of bp; the table has hr, rr"):
        read(series=x, labels=y, channels=["bp"])


@pytest.mark.parametrize("file", ["x.csv", "y.csv"])
@pytest.mark.parametrize("place", ["header", "cell"])
def test_the_file_that_is_not_utf8_is_named_with_what_to_do(tmp_path, file, place):
    frames = {"x.csv": LONG, "y.csv": LABELS}
    column = frames[file].columns[-1]
    if place == "header":
        frames[file] = frames[file].rename(columns={column: "Größe"})
    else:
        frames[file] = frames[file].assign(**{column: "groß"})
    for name, frame in frames.items():
        frame.to_csv(tmp_path / name, index=False, encoding="latin-1")
    paths = {"series": tmp_path / "x.csv", "labels": tmp_path / "y.csv"}
    told = rf"/{file}: .*; save it as UTF-8, in Excel as 'CSV UTF-8'"
    with pytest.raises(DataError, match=told):
        read(**paths, subject="person" if (file, place) == ("y.csv", "cell") else None)
    with pytest.raises(DataError, match=told):
        propose(tmp_path, *paths.values())


def test_the_command_builds_splits(tmp_path):
    rng = np.random.default_rng(0)
    ids = np.repeat(np.arange(60), 4)
    table = pd.DataFrame({"id": ids, "time": np.tile([0, 60, 120, 180], 60), "variable": "hr"})
    table["value"] = rng.normal(80, 9, len(table)).round(1)
    config = tmp_path / "mine.yaml"
    config.write_text("experiment: mine\ndata: {window_hours: 4, step_minutes: 60}\n")
    labels = pd.DataFrame({"id": np.arange(60), "label": np.arange(60) % 2})
    command = [sys.executable, "-m", "data_preprocess.build", str(config), "data=table"]
    command += [f"data.dir={tmp_path / 'out'}", f"data.table.labels={tmp_path / 'y.csv'}"]
    command += [f"data.table.series={stored(tmp_path, table, 'x.csv')}"]
    stored(tmp_path, labels, "y.csv")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"train.npz", "card.md"}


STAMPED = LONG.assign(time=pd.Timestamp("2020-01-01") + pd.to_timedelta(LONG.time, unit="min"))


@pytest.mark.parametrize("zoned", ["series", "labels"])
@pytest.mark.parametrize("key", ["start", "end"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_stamps_with_and_without_a_zone_are_not_compared(tmp_path, zoned, key, kind):
    """Two hours of a zone would put values after the question into the window."""
    labels = LABELS.assign(asked=pd.Timestamp("2020-01-01 01:00"))
    frames = {"series": (STAMPED, "time"), "labels": (labels, "asked")}
    given = {}
    for name, (frame, column) in frames.items():
        if name == zoned:
            frame = frame.assign(**{column: frame[column].dt.tz_localize("Europe/Berlin")})
        given[name] = stored(tmp_path, frame, f"{name}.{kind}")
    with pytest.raises(DataError, match="have a zone.*so their distance is unknown"):
        read(**given, **{key: "asked"})


def test_a_label_on_one_row_of_a_series_is_that_of_the_series(tmp_path):
    first = LONG.groupby("id").cumcount() == 0
    labels = LONG.id.map({"a": "died", "b": "alive", "c": None})
    cohort = read(
        series=stored(tmp_path, LONG.assign(label=labels.where(first)), "x.csv"),
        drop_unreadable=True,
    )
    np.testing.assert_array_equal(cohort.values, EXPECTED.astype(np.float32))
    assert [step.removed for step in cohort.flow if step.rule == "without id or label"] == [1]


def test_a_number_with_an_open_end_is_a_number(tmp_path):
    series = stored(tmp_path, LONG, "x.csv")
    labels = LABELS.assign(age=["> 89", "45"])
    cohort = read(series=series, labels=stored(tmp_path, labels, "y.csv"), static=["age"])
    assert cohort.static_names == ("age",) and cohort.static[:, 0].tolist() == [89, 45]


def test_many_columns_need_no_more_memory_than_few(tmp_path):
    """What a cell means was once computed by an expression of its own for every column: 200 columns
    of eight rows went beyond 1 GB."""
    values = np.arange(8 * 200).reshape(8, 200)
    table = pd.DataFrame(values, columns=[f"lab{k:03}" for k in range(200)])
    table = table.assign(id=["a"] * 4 + ["b"] * 4, time=[0, 15, 30, 45] * 2)
    paths = {
        "series": stored(tmp_path, table, "x.csv"),
        "labels": stored(tmp_path, LABELS, "y.csv"),
    }
    cohort = read(**paths, layout="wide", memory_limit="200MB")
    np.testing.assert_array_equal(cohort.values, values.reshape(2, 4, 200).transpose(0, 2, 1))


def test_classes_of_numbers_are_an_order_or_names(tmp_path):
    """Names go to the numbers from the lowest on, whatever was read first."""
    numbers = LABELS.assign(label=[int(word == LABELS.label.max()) for word in LABELS.label])
    paths = {
        "series": stored(tmp_path, LONG, "x.csv"),
        "labels": stored(tmp_path, numbers, "y.csv"),
    }
    plain = read(**paths)
    assert plain.label_names == ("0", "1")
    named = read(**paths, classes=["alive", "dead"])
    assert named.label_names == ("alive", "dead")
    np.testing.assert_array_equal(named.labels, plain.labels)
    turned = read(**paths, classes=["1", "0"])
    assert turned.label_names == ("1", "0")
    np.testing.assert_array_equal(turned.labels, 1 - plain.labels)
    for wrong in (["alive"], ["a", "b", "c"], ["1", "dead"], ["dead", "Dead"]):
        with pytest.raises(DataError, match="the labels are 0, 1.*name every class once"):
            read(**paths, classes=wrong)
