"""Sets in the forms of other tools: values, the tools' own validators, and what may go wrong."""

import dataclasses
import json
import logging
import re
import shlex
import subprocess
import sys

import duckdb
import numpy as np
import pytest
import yaml

from configs import load_config
from configs.runtime.errors import DataError, UserError
from data_preprocess.export import writers as export
from data_preprocess.export.__main__ import main
from data_preprocess.export.croissant import hub_head
from data_preprocess.export.meds import START, write_meds
from data_preprocess.export.yaib import write_yaib
from data_preprocess.storage.dataset_files import save_dataset

FEATURES = ("heart_rate[bpm]", "fio2[fraction]")  # YAIB's fio2 is in per cent
STATIC = ("age[years]", "sex[1=male]", "icu_type[1=a,2=b]")


@pytest.fixture
def dataset(make_dataset, monkeypatch):
    monkeypatch.setattr("data_preprocess.export.parquet_tables.SERIES_PER_CHUNK", 5)
    static = np.array([[60.5, 1, 2], [np.nan, 0, np.nan], [70, np.nan, 1]] * 4, np.float32)
    return make_dataset(
        subject_ids=np.full(12, -1),
        feature_names=FEATURES,
        static=static,
        static_names=STATIC,
    )


def rows(path):
    with duckdb.connect() as connection:
        return connection.execute(f"FROM '{path}'").fetchall()


def test_a_space_before_the_unit_stays_in_a_meds_folder(tmp_path, dataset):
    write_meds(
        tmp_path,
        dataclasses.replace(dataset, feature_names=("HR [bpm]", "bp[mmHg]")),
        step_minutes=60.0,
    )
    channels = yaml.safe_load((tmp_path / "channels.yaml").read_text())["channels"]
    assert {name: entry["unit"] for name, entry in channels.items()} == {
        "HR [bpm]": None,
        "bp": "mmHg",
    }


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"feature_names": ("HR", "hr")}, "dyn.parquet: the columns HR, hr"),
        ({"feature_names": ("Time", "hr")}, "dyn.parquet: the columns time, Time"),
        ({"feature_names": ("hr", "heart_rate[bpm]")}, "dyn.parquet: the columns hr, hr"),
        ({"static_names": ("Stay_ID", "sex", "a")}, "sta.parquet: the columns stay_id, Stay_ID"),
        ({"static_names": ("age[years]", "age", "a")}, "sta.parquet: the columns age, age"),
    ],
)
def test_names_that_are_one_in_yaib_are_refused(tmp_path, dataset, changes, said):
    with pytest.raises(DataError, match=f"{said} would have one name"):
        write_yaib(tmp_path, dataclasses.replace(dataset, **changes), step_minutes=60.0)


def test_the_yaib_trio_holds_every_value(tmp_path, dataset):
    write_yaib(tmp_path, dataset, step_minutes=30.0)
    with duckdb.connect() as connection:
        described = connection.execute(f"DESCRIBE FROM '{tmp_path}/dyn.parquet'").fetchall()
    columns = [row[0] for row in described]
    assert columns == ["stay_id", "time", "hr", "fio2[fraction]"]
    found = rows(tmp_path / "dyn.parquet")
    assert len(found) == 12 * 4
    for stay, hours, *cells in found:
        step = int(hours * 2)
        for channel, cell in enumerate(cells):
            seen = dataset.observed[stay, channel, step]
            assert (cell is None) != seen  # NULL: polars does not take NaN for missing
            assert not seen or np.float32(cell) == dataset.values[stay, channel, step]
    assert rows(tmp_path / "outc.parquet") == [*enumerate(dataset.labels.tolist())]
    first, second, third, *_ = rows(tmp_path / "sta.parquet")
    assert first == (0, 60.5, "Male", 2.0) and second[2] == "Female" and third[2] is None
    assert second[1] is None


def test_meds_events_are_sorted_and_all_before_the_prediction_time(tmp_path, dataset):
    write_meds(tmp_path, dataset, step_minutes=30.0)
    events = rows(tmp_path / "data" / "0.parquet")
    timed = [event for event in events if event[1] is not None]
    assert len(timed) == dataset.observed.sum()
    assert len(events) - len(timed) == (~np.isnan(dataset.static)).sum()
    order = [(subject, time is not None, time or 0) for subject, time, *_ in events]
    assert order == sorted(order)
    codes = {"heart_rate//bpm": 0, "fio2//fraction": 1}
    for subject, time, code, value in timed:
        step = int((np.datetime64(time, "us") - START) / np.timedelta64(30, "m"))
        assert np.float32(value) == dataset.values[subject, codes[code], step]
    labels = rows(tmp_path / "labels.parquet")
    assert [value for _, _, value in labels] == [bool(label) for label in dataset.labels]
    latest = max(time for _, time, *_ in timed)
    assert all(latest < moment for _, moment, _ in labels)
    assert {code for code, *_ in rows(tmp_path / "metadata" / "codes.parquet")} == {
        code for _, _, code, _ in events
    }


def test_series_without_a_value_may_come_first(tmp_path, dataset):
    """The first chunk of rows is then empty, and its columns have no type of their own."""
    observed = dataset.observed.copy()
    observed[:5] = False
    static = np.where(np.arange(12)[:, None] < 5, np.nan, dataset.static)
    sparse = dataclasses.replace(dataset, observed=observed, static=static.astype(np.float32))
    write_meds(tmp_path, sparse, step_minutes=60.0)
    assert len(rows(tmp_path / "data" / "0.parquet")) == observed.sum() + (~np.isnan(static)).sum()


def test_the_meds_package_accepts_the_folder(tmp_path, dataset):
    meds = pytest.importorskip("meds", reason="pip install meds")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_meds(tmp_path, dataset, step_minutes=60.0)
    for schema, file in (
        (meds.DataSchema, "data/0.parquet"),
        (meds.LabelSchema, "labels.parquet"),
        (meds.SubjectSplitSchema, meds.subject_splits_filepath),
        (meds.CodeMetadataSchema, meds.code_metadata_filepath),
    ):
        schema.validate(parquet.read_table(tmp_path / file))
    facts = json.loads((tmp_path / meds.dataset_metadata_filepath).read_text())
    meds.DatasetMetadataSchema.validate(facts)


@pytest.mark.parametrize("form", sorted(export.WRITERS))
def test_every_export_has_a_croissant_file_that_fits(tmp_path, dataset, form):
    save_dataset(tmp_path / "set.npz", dataset)
    out = tmp_path / "out"
    assert main([str(tmp_path / "set.npz"), form, str(out)]) == 0
    described = json.loads((out / "croissant.json").read_text())
    listed = {file["contentUrl"]: file["sha256"] for file in described["distribution"]}
    there = {
        path.relative_to(out).as_posix()
        for path in out.rglob("*")
        if path.suffix and path.is_file()
    }
    assert {*listed} == there - {"croissant.json"}
    assert described["description"].startswith("Synthetic")


@pytest.mark.filterwarnings("default")  # the package's own
def test_the_croissant_package_reads_every_row(tmp_path, dataset):
    mlcroissant = pytest.importorskip("mlcroissant", reason="pip install mlcroissant")
    save_dataset(tmp_path / "set.npz", dataset)
    export.export(tmp_path / "set.npz", "csv", tmp_path / "out", step_minutes=60.0)
    described = mlcroissant.Dataset(tmp_path / "out" / "croissant.json")
    assert not described.metadata.ctx.issues.errors
    assert not described.metadata.ctx.issues.warnings
    values = [row["series/value"] for row in described.records("series")]
    expected = dataset.values.transpose(0, 2, 1)[dataset.observed.transpose(0, 2, 1)]
    np.testing.assert_allclose(values, expected, rtol=1e-6)
    labels = [row["series_labels/label"].decode() for row in described.records("series_labels")]
    assert labels == [dataset.label_names[label] for label in dataset.labels]


def test_the_head_of_a_card_is_yaml(dataset):
    text = hub_head(dataset, name="guided")
    assert text.startswith("---\n") and text.endswith("---\n")
    head = yaml.safe_load(text.strip("-\n"))
    assert head["size_categories"] == ["n<1K"] and head["license"] == "other"


def test_an_export_touches_nothing_that_is_there(tmp_path, dataset, caplog):
    save_dataset(tmp_path / "set.npz", dataset)
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists and is left alone"):
        export.export(tmp_path / "set.npz", "meds", tmp_path / "out", step_minutes=60.0)
    assert main([str(tmp_path / "none.npz"), "yaib", str(tmp_path / "x")]) == 2
    assert "does not exist" in caplog.text and not (tmp_path / "x").exists()


def test_the_printed_keys_read_a_table_back_in_order(tmp_path, dataset, caplog):
    caplog.set_level(logging.INFO)
    source = tmp_path / "set.npz"
    save_dataset(source, dataset)
    assert main([str(source), "csv", str(tmp_path / "out")]) == 0
    told = next(line for line in caplog.text.splitlines() if "read back" in line)
    arguments = shlex.split(told.split("same order with ")[1])
    table = load_config(["configs/base/tiny.yaml", *arguments]).data.table
    assert tuple(table.classes or ()) == dataset.label_names
    assert tuple(table.channels or ()) == dataset.feature_names
    assert tuple(table.static or ()) == dataset.static_names


@pytest.mark.parametrize("minutes", ["0", "-5", "nan", "inf"])
def test_a_step_without_length_is_refused(tmp_path, dataset, caplog, minutes):
    """All events were written at one moment, or backwards."""
    source, out = tmp_path / "set.npz", tmp_path / "out"
    save_dataset(source, dataset)
    assert main([str(source), "meds", str(out), f"--step-minutes={minutes}"]) == 2
    assert "expected a number above 0" in caplog.text and not out.exists()


@pytest.mark.parametrize(
    ("form", "split", "message"),
    [
        ("meds", "held_out", None),
        ("meds", "test", "split=test: MEDS has train, tuning, held_out"),
        ("meds", "", "split=: MEDS has"),
        ("csv", "tuning", "split=tuning: the form csv has no splits, only meds has; leave it out"),
    ],
)
def test_the_split_of_meds_can_be_named(tmp_path, dataset, caplog, form, split, message):
    source, out = tmp_path / "set.npz", tmp_path / "out"
    save_dataset(source, dataset)
    assert main([str(source), form, str(out), f"--split={split}"]) == (2 if message else 0)
    assert (message or "") in caplog.text and out.exists() == (message is None)
    if not message:
        found = rows(out / "metadata" / "subject_splits.parquet")
        assert found == [(series, split) for series in range(12)]


def test_patients_with_several_series_are_told(tmp_path, dataset, caplog):
    """The forms give every series an id of its own."""
    source = tmp_path / "set.npz"
    for ids, told in ((np.arange(len(dataset)), False), (np.arange(len(dataset)) // 2, True)):
        save_dataset(source, dataclasses.replace(dataset, subject_ids=ids))
        caplog.clear()
        export.export(source, "csv", tmp_path / f"out{told}", step_minutes=60.0)
        assert ("do not split it again" in caplog.text) == told


@pytest.mark.parametrize(
    ("form", "kilobytes", "said"),
    [
        (
            "csv",
            0,
            "`ulimit -f`, does not take files this large; raise the limit or choose another",
        ),
        ("meds", 4, "0.parquet: IO Error.* or choose another folder"),
        ("yaib", 4, "dyn.parquet: IO Error.* or choose another folder"),
        ("meds", 0, "No usable temporary directory.*name a folder in TMPDIR"),
    ],
)
def test_a_file_that_may_not_be_so_large_is_one_message_and_leaves_nothing(
    tmp_path, dataset, form, kilobytes, said
):
    source, out = tmp_path / "set.npz", tmp_path / "out"
    save_dataset(source, dataset)
    export = f'"{sys.executable}" -m data_preprocess.export {source} {form} {out}'
    command = ["bash", "-c", f"ulimit -f {kilobytes}; {export}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "")
    assert re.fullmatch(f"error: .*{said}.*\n", done.stdout)
    assert [path.name for path in tmp_path.iterdir()] == ["set.npz"]
