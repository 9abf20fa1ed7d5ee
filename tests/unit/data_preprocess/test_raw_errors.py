"""Broken raw tables: the error names the file and the fault, and nothing is left behind."""

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import duckdb
import numpy as np
import pandas as pd
import pytest

from configs.runtime.errors import ConfigError, DataError, MissingInputError, UserError
from data_preprocess.sources.hospital import resample as extract
from data_preprocess.sources.hospital.eicu import read_eicu
from data_preprocess.sources.hospital.mimic import MIMIC3, read_mimic3
from data_preprocess.storage.duckdb_engine import open_engine
from tests.support import sections
from tests.support.simulated_release.__main__ import simulate_raw

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    simulate_raw(folder, layout="mimic3", num_stays=60, seed=5)
    return {path.name: path.read_bytes() for path in folder.glob("*.csv.gz")}


@pytest.fixture
def raw(whole, tmp_path):
    """A folder of sound tables that a test may break."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, content in whole.items():
        (folder / name).write_bytes(content)
    return folder


def read(folder, **changes):
    usual = {"folder": folder and str(folder), "channels": ["heart_rate"]}
    return sections.read(read_mimic3, "mimic3", **(usual | changes)).pool


def edit(path, change):
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    path.write_bytes(gzip.compress("\n".join(change(lines)).encode() + b"\n"))


def with_cell(column, text, count=1):
    def change(lines):
        at = [name.strip('"') for name in lines[0].split(",")].index(column)
        rows = [line.split(",") for line in lines]
        items = [row for row in rows[1:] if len(row) > 5 and row[4] in ("211", "220045")]
        middle = items[len(items) // 2 :]
        for chosen in middle[:count] if column in ("CHARTTIME", "VALUENUM") else rows[1:2]:
            chosen[at] = text
        return [",".join(row) for row in rows]

    return change


CHART = "CHARTEVENTS.csv.gz"


def cut(path, keep):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * keep)])


@pytest.mark.parametrize("keep", [0.3, 0.9, 0.9999])
def test_a_truncated_gzip_is_recognised(raw, keep):
    cut(raw / CHART, keep)
    with pytest.raises(DataError, match=f"{CHART}.*SHA256SUMS"):
        read(raw)


def test_a_truncated_small_table_is_recognised(raw):
    cut(raw / "ICUSTAYS.csv.gz", 0.7)
    with pytest.raises(DataError, match="ICUSTAYS"):
        read(raw)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"no gzip at all", "not readable as gzip"),
        (gzip.compress(b"", mtime=0), "empty"),
    ],
)
def test_no_gzip_and_empty_files_are_recognised(raw, content, message):
    (raw / CHART).write_bytes(content)
    with pytest.raises(DataError, match=f"{CHART}.*{message}"):
        read(raw)


def test_a_missing_column_and_a_wrong_table_are_recognised(raw):
    (raw / CHART).write_bytes((raw / "ADMISSIONS.csv.gz").read_bytes())
    with pytest.raises(DataError, match=f"{CHART}: no column icustay_id.*is this really"):
        read(raw)


@pytest.mark.parametrize(
    ("column", "text", "rule"),
    [("CHARTTIME", "yesterday", extract.NO_TIME), ("VALUENUM", "eighty", extract.UNREADABLE)],
)
def test_one_unreadable_cell_is_counted_and_many_are_refused(raw, column, text, rule):
    before = read(raw)
    edit(raw / CHART, with_cell(column, text))
    after = read(raw)
    assert f"heart_rate: {rule}: 1" in set(after.notes) - set(before.notes)
    assert len(after) == len(before)
    edit(raw / CHART, with_cell(column, text, count=100))
    with pytest.raises(DataError, match=f"{CHART}: .* rows .*'{text}'.*YYYY-MM-DD"):
        read(raw)


def test_unreadable_admissions_are_named(raw):
    edit(raw / "ICUSTAYS.csv.gz", with_cell("INTIME", "31/12/2150"))
    with pytest.raises(DataError, match="ICUSTAYS.*'31/12/2150'"):
        read(raw)


@pytest.mark.parametrize(
    ("name", "column"), [("PATIENTS", "DOB"), ("ICUSTAYS", "OUTTIME"), ("ADMISSIONS", "DEATHTIME")]
)
def test_dates_in_another_form_are_no_unknown_dates(raw, name, column):
    """They were: every age was 90, and no death lay in the window."""
    path = raw / f"{name}.csv.gz"
    pd.read_csv(path).assign(**{column: "31.12.2150"}).to_csv(path, index=False)
    with pytest.raises(DataError, match=f"{name}.*{column.lower()}: '31.12.2150'.*YYYY-MM-DD"):
        read(raw)


def test_a_patient_without_a_date_of_birth_is_not_90(raw):
    path = raw / "PATIENTS.csv.gz"
    people = pd.read_csv(path)
    people.assign(DOB=people.DOB.where(people.index > 0)).to_csv(path, index=False)
    cohort = read(raw, preset="paper", channels=list(MIMIC3.published.channels))
    assert np.isnan(cohort.static[:, 0]).any()


@pytest.mark.parametrize("column", ["unitdischargeoffset", "age"])
def test_numbers_of_eicu_that_cannot_be_read_are_not_the_largest(tmp_path, column):
    """NaN is above every bound: the stay was an adult's, and longer than any number of days."""
    simulate_raw(tmp_path, layout="eicu", num_stays=150, seed=5)
    path = tmp_path / "patient.csv.gz"
    people = pd.read_csv(path, dtype=str)

    def extracted(bad):
        text = people[column].where(people.index >= bad, people[column] + " ca.")
        people.assign(**{column: text}).to_csv(path, index=False)
        more = {"folder": str(tmp_path), "channels": ["heart_rate"], "step_minutes": 60.0}
        return sections.read(read_eicu, "eicu", **more).pool

    assert f"people.{column}: cells that cannot be read, taken as unknown: 1" in extracted(1).notes
    assert len(extracted(1)) == len(extracted(0)) - 1
    with pytest.raises(DataError, match=rf"patient.csv.gz: .*{column}: '[0-9]+ ca\.'"):
        extracted(100)


def test_rows_without_a_stay_are_counted_and_a_chart_of_other_stays_is_refused(raw):
    """The error spoke of times and numbers that cannot be read, though all were sound."""
    path = raw / CHART
    chart = pd.read_csv(path, dtype=str)
    orphans = chart.sample(frac=0.2, random_state=0).assign(ICUSTAY_ID=None)
    pd.concat([chart, orphans]).to_csv(path, index=False)
    assert any(extract.NO_STAY in note for note in read(raw).notes)
    chart.assign(ICUSTAY_ID="S" + chart.ICUSTAY_ID).to_csv(path, index=False)
    with pytest.raises(DataError, match=f"{CHART}: no row names a stay .*here: S200.*cohort: 200"):
        read(raw)


def test_a_second_chart_of_other_stays_is_refused(raw):
    """Rows of the first chart were taken for a sign that the second has the same stays."""
    chart = pd.read_csv(raw / CHART, dtype=str).query("ITEMID == '211'")
    chart = chart.assign(ITEMID="40055", VALUE="100", ISERROR="0")
    chart.to_csv(raw / "OUTPUTEVENTS.csv.gz", index=False)
    assert read(raw, channels=["heart_rate", "urine"]).values.shape[1] == 2
    chart.assign(ICUSTAY_ID="9" + chart.ICUSTAY_ID).to_csv(raw / "OUTPUTEVENTS.csv.gz", index=False)
    with pytest.raises(DataError, match="OUTPUTEVENTS.csv.gz: no row names a stay .*here: 9200"):
        read(raw, channels=["heart_rate", "urine"])


def test_eicu_offsets_out_of_range_are_counted_and_other_stays_are_named(tmp_path):
    simulate_raw(tmp_path, layout="eicu", num_stays=60, seed=5)
    path = tmp_path / "vitalPeriodic.csv.gz"
    chart = pd.read_csv(path, dtype=str)
    section = {"folder": str(tmp_path), "channels": ["heart_rate"], "step_minutes": 60.0}
    wrong = chart.observationoffset.mask(chart.heartrate.notna() & (chart.index % 1000 == 0), "9e9")
    chart.assign(observationoffset=wrong).to_csv(path, index=False)
    cohort = sections.read(read_eicu, "eicu", **section).pool
    assert any(extract.NO_TIME in note for note in cohort.notes)
    other = "9" + chart.patientunitstayid
    chart.assign(patientunitstayid=other).to_csv(path, index=False)
    with pytest.raises(DataError, match="vitalPeriodic.*no row names a stay .*here: 9200.*cohort"):
        sections.read(read_eicu, "eicu", **section)


@pytest.mark.parametrize("place", ["..", "deep", CHART])
def test_a_folder_beside_the_release_is_told_where_its_tables_are(raw, place):
    (raw / "deep").mkdir()
    says = "is a file" if place == CHART else rf"but .*{CHART} is there: give the folder"
    with pytest.raises(MissingInputError, match=says):
        read(raw / place)


def test_a_row_with_too_few_cells_is_named(raw):
    edit(raw / CHART, lambda lines: [*lines[:40], "1,2,3", *lines[40:]])
    with pytest.raises(DataError, match=f"{CHART}: not readable as a table"):
        read(raw)


def test_duplicated_stay_ids_are_refused(raw):
    edit(raw / "ICUSTAYS.csv.gz", lambda lines: [*lines, lines[3]])
    with pytest.raises(DataError, match="icustay_id .* stands in 2 rows"):
        read(raw)


def test_tables_of_different_releases_are_refused(raw):
    edit(raw / "PATIENTS.csv.gz", lambda lines: lines[:-5])
    with pytest.raises(DataError, match="PATIENTS.*ICU stays name a subject_id"):
        read(raw)


def test_an_empty_cohort_is_an_error_with_the_flow(raw):
    with pytest.raises(DataError, match="nobody is left.*in the unit for less than 9000 h"):
        read(raw, window_hours=9000.0)


def test_missing_folder_table_and_setting(raw, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.mimic3\.folder is not set"):
        read(None)
    with pytest.raises(MissingInputError, match="nowhere does not exist"):
        read(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="does not divide"):
        read(raw, step_minutes=7.0)
    (raw / CHART).unlink()
    with pytest.raises(MissingInputError, match="chartevents"):
        read(raw)


@pytest.mark.parametrize("said", ["Could not write file x", "write: No space left on device"])
def test_a_full_scratch_folder_is_no_fault_of_the_table(tmp_path, monkeypatch, said):
    def full(*_, **__):
        raise duckdb.IOException(f"IO Error: {said}")

    with pytest.raises(UserError, match="no space for scratch files.*TMPDIR") as error:
        with open_engine(memory_limit="1GB", threads=1, source=tmp_path / "x.csv") as engine:
            monkeypatch.setattr(engine, "_connection", SimpleNamespace(execute=full))
            engine.run("SELECT 1", source=tmp_path / "x.csv")
    assert "x.csv" not in str(error.value)
    monkeypatch.setattr("duckdb.connect", full)
    with pytest.raises(UserError, match="no space for scratch files"):
        with open_engine(memory_limit="1GB", threads=1):
            pass


def test_an_impossible_memory_limit_is_named():
    with pytest.raises(UserError, match="data.memory_limit='plenty'"):
        with open_engine(memory_limit="plenty", threads=1):
            pass


def build(raw, out, *extra):
    command = [sys.executable, "-m", "data_preprocess.build", "configs/base/mimic_mortality.yaml"]
    command += [f"data.mimic3.folder={raw}", f"data.dir={out}", "data.mimic3.channels=[heart_rate]"]
    return [*command, "data.space.ordered=[]", "data.space.together=[]", *extra]


def test_a_broken_table_exits_non_zero_and_leaves_no_output(raw, tmp_path):
    cut(raw / CHART, 0.9)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        build(raw, tmp_path / "out"),
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(scratch)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert CHART in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing_and_runs_again(tmp_path, ending):
    raw, scratch = tmp_path / "raw", tmp_path / "scratch"
    scratch.mkdir()
    simulate_raw(raw, layout="mimic3", num_stays=200, seed=0, num_rows=250_000)
    environment = os.environ | {"TMPDIR": str(scratch)}
    command = build(raw, tmp_path / "out", "data.threads=1")
    running = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Tests run in the background would hand an ignored SIGINT down to their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while running.poll() is None and not list(scratch.iterdir()):
        time.sleep(0.01)  # the scratch database marks the start of the extraction
    running.send_signal(ending)
    output = running.communicate(timeout=60)[0].decode()
    assert running.returncode == 130, output
    assert "run the same command again" in output
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "scratch"}  # no .partial either
    assert not list(scratch.iterdir())
    again = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "out" / "card.md").is_file()
