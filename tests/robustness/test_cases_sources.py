"""Kinds B, E and G: codes, pairing by number, contradictions in releases."""

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from configs.runtime.errors import DataError
from configs.schema.data_sources import TableConfig
from data_preprocess.sources.arrays import read_files
from data_preprocess.sources.hospital import resample
from data_preprocess.sources.hospital.eicu import read_eicu
from data_preprocess.sources.hospital.mimic import read_mimic3
from data_preprocess.sources.medformer import read_medformer
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.storage.dataset_files import save_dataset
from tests.support import sections
from tests.support.medformer_folder import medformer
from tests.support.physionet2012_stand_ins import HEAD, OUTCOMES, RECORDS
from tests.support.physionet2012_stand_ins import read as read_2012

few = settings(max_examples=10, deadline=None)


def write_gzip(path: Path, table: pd.DataFrame) -> None:
    path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))


def mimic(folder: Path, **changes: pd.DataFrame) -> Path:
    """Three adults with one heart rate an hour for 24 h, as MIMIC-III tables."""
    stay = np.arange(1, 4)
    first = pd.Timestamp("2150-03-01 10:00")
    chart = pd.DataFrame(
        [
            (s, s, 220045, first + pd.Timedelta(hours=h), 70 + s, "0")
            for s in stay
            for h in range(24)
        ],
        columns=["subject_id", "icustay_id", "itemid", "charttime", "valuenum", "error"],
    )
    tables = {
        "ICUSTAYS": pd.DataFrame(
            {"icustay_id": stay, "subject_id": stay, "hadm_id": stay, "intime": first}
        ).assign(outtime=first + pd.Timedelta(hours=40)),
        "PATIENTS": pd.DataFrame({"subject_id": stay, "gender": ["M", "F", "F"]}).assign(
            dob="2100-01-01 00:00:00"
        ),
        "ADMISSIONS": pd.DataFrame(
            {"hadm_id": stay, "hospital_expire_flag": [0, 1, 0], "deathtime": ["", "", ""]}
        ),
        "CHARTEVENTS": chart,
    }
    folder.mkdir(exist_ok=True)
    for name, table in (tables | changes).items():
        write_gzip(folder / f"{name}.csv.gz", table)
    return folder


def read_mimic(folder: Path, **changes):
    usual = {"folder": str(folder), "channels": ["heart_rate"]}
    return sections.read(read_mimic3, "mimic3", **(usual | changes)).pool


def table(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_csv(folder / f"{name}.csv.gz", dtype=str, keep_default_na=False)


def change(folder: Path, name: str, column: str, rows, value: str) -> Path:
    found = table(folder, name)
    found.loc[rows, column] = value
    write_gzip(folder / f"{name}.csv.gz", found)
    return folder


def test_the_small_release_is_sound(tmp_path):
    cohort = read_mimic(mimic(tmp_path))
    assert len(cohort) == 3 and not np.isnan(cohort.values).any()
    assert cohort.labels.tolist() == [0, 1, 0] and cohort.static[:, 1].tolist() == [1, 0, 0]


@few
@given(
    mark=st.sampled_from(["1", "1.0", "true", "True", "Y", "yes", " 1 ", "Error"]),
    unmarked=st.sampled_from(["0", "0.0", "", "NA", "false", "No", "null"]),
)
def test_error_marks_in_every_spelling(tmp_path_factory, mark, unmarked):
    folder = mimic(tmp_path_factory.mktemp("m"))
    change(folder, "CHARTEVENTS", "error", slice(None), unmarked)
    change(folder, "CHARTEVENTS", "error", 5, mark)
    cohort = read_mimic(folder)
    assert np.isnan(cohort.values).sum() == 1
    assert cohort.notes == (f"heart_rate: {resample.MARKED}: 1",)


def test_an_unknown_error_mark_is_counted_as_such(tmp_path):
    cohort = read_mimic(change(mimic(tmp_path), "CHARTEVENTS", "error", 5, "perhaps"))
    assert cohort.notes == (f"heart_rate: {resample.BAD_MARK}: 1",)


@few
@given(
    male=st.sampled_from(["M", "m", "Male", "MALE", " M "]),
    female=st.sampled_from(["F", "f", "Female"]),
    other=st.sampled_from(["", "NA", "Unknown", "X"]),
)
def test_sexes_in_every_spelling(tmp_path_factory, male, female, other):
    folder = mimic(tmp_path_factory.mktemp("m"))
    for row, code in enumerate((male, female, other)):
        change(folder, "PATIENTS", "gender", row, code)
    cohort = read_mimic(folder)
    np.testing.assert_array_equal(cohort.static[:, 1], [1, 0, np.nan])
    counted = [note for note in cohort.notes if note.startswith("sex: unknown code")]
    assert bool(counted) == (other in ("Unknown", "X"))


@few
@given(way=st.sampled_from(["{}.0", "0{}", " {} ", "{}"]))
def test_ids_of_two_tables_match_however_they_are_written(tmp_path_factory, way):
    folder = mimic(tmp_path_factory.mktemp("m"))
    for name, column in (("PATIENTS", "subject_id"), ("ADMISSIONS", "hadm_id")):
        found = table(folder, name)
        write_gzip(
            folder / f"{name}.csv.gz", found.assign(**{column: found[column].map(way.format)})
        )
    chart = table(folder, "CHARTEVENTS")
    write_gzip(folder / "CHARTEVENTS.csv.gz", chart.assign(itemid="220045.0"))
    assert not np.isnan(read_mimic(folder).values).any()


@pytest.mark.parametrize("name", ["a[b]", "error=0", "what?", "x*"])
def test_a_release_lies_in_a_folder_of_any_name(tmp_path, name):
    mimic(tmp_path / "ab"), mimic(tmp_path / "what1")
    assert not np.isnan(read_mimic(mimic(tmp_path / name)).values).any()


@few
@example(minute=24 * 60 - 1)
@example(minute=24 * 60)
@given(minute=st.integers(-600, 40 * 60))
def test_who_died_inside_the_window_was_not_in_the_unit_for_it(tmp_path_factory, minute):
    dead = str(pd.Timestamp("2150-03-01 10:00") + pd.Timedelta(minutes=minute))
    folder = change(mimic(tmp_path_factory.mktemp("m")), "ADMISSIONS", "deathtime", 1, dead)
    left = 3 if minute >= 24 * 60 else 2
    cohort = read_mimic(folder)
    assert len(cohort) == left
    rule = "died before admission to the unit" if minute < 0 else "died within the first 24 h"
    assert (rule, 3 - left) in [(s.rule, s.removed) for s in cohort.flow]
    paper = read_mimic(folder, preset="paper")
    assert len(paper) == 3
    assert any(f"kept although {rule}" in note for note in paper.notes) == (left == 2)


def test_dead_but_noted_as_alive_is_left_out(tmp_path):
    folder = change(mimic(tmp_path), "ADMISSIONS", "deathtime", 0, "2150-03-03 00:00:00")
    cohort = read_mimic(folder)
    assert cohort.labels.tolist() == [1, 0]
    assert ("dead, but noted as discharged alive", 1) in [(s.rule, s.removed) for s in cohort.flow]


@pytest.mark.parametrize("preset", ["clinical", "paper"])
def test_a_row_dated_a_year_off_does_not_move_the_window(tmp_path, preset):
    folder = change(mimic(tmp_path), "CHARTEVENTS", "charttime", 20, "2149-03-02 06:00:00")
    cohort = read_mimic(folder, preset=preset)
    assert np.isnan(cohort.values).sum() == 1 and np.isnan(cohort.values[0, 0, 20])
    assert any(resample.FAR_AWAY in note for note in cohort.notes) == (preset == "paper")


def eicu(folder: Path, **columns) -> Path:
    ids = np.arange(1, 5)
    patient = pd.DataFrame(
        {
            "patientunitstayid": ids,
            "patienthealthsystemstayid": ids,
            "uniquepid": ["a", "b", "c", "d"],
            "gender": ["Male", "Female", "Male", "Female"],
            "age": ["50", "> 89", "60", "70"],
            "hospitaldischargeyear": 2014,
            "hospitaldischargestatus": ["Alive", "Expired", "Alive", "Alive"],
            "unitdischargestatus": ["Alive", "Alive", "Alive", "Alive"],
            "unitvisitnumber": 1,
            "unitdischargeoffset": 2000,
            "hospitaldischargeoffset": 4000,
        }
    ).assign(**columns)
    vitals = pd.DataFrame(
        [(i, 60 * h, 100 + i) for i in ids for h in range(24)],
        columns=["patientunitstayid", "observationoffset", "noninvasivesystolic"],
    )
    folder.mkdir(exist_ok=True)
    write_gzip(folder / "patient.csv.gz", patient)
    write_gzip(folder / "vitalAperiodic.csv.gz", vitals)
    return folder


def read_small_eicu(folder: Path):
    return sections.read(
        read_eicu, "eicu", folder=str(folder), channels=["cuff_systolic"], step_minutes=60.0
    ).pool


def test_dead_in_the_unit_is_not_discharged_alive(tmp_path):
    status = ["Expired", "Expired", "Alive", "Alive"]
    cohort = read_small_eicu(eicu(tmp_path, unitdischargestatus=status))
    assert cohort.labels.tolist() == [1, 0, 0]
    assert ("dead, but noted as discharged alive", 1) in [(s.rule, s.removed) for s in cohort.flow]


def test_the_papers_stays_are_monitored_from_the_first_hour_to_the_end_of_the_day(tmp_path):
    """And those of one patient stay together."""
    folder = eicu(tmp_path, uniquepid=["a", "a", "c", "d"])
    hours = {1: range(1, 25), 2: range(25), 3: range(2, 25), 4: range(24)}
    rows = [(stay, 60 * hour, 80.0) for stay, charted in hours.items() for hour in charted]
    columns = ["patientunitstayid", "observationoffset", "heartrate"]
    write_gzip(folder / "vitalPeriodic.csv.gz", pd.DataFrame(rows, columns=columns))
    asked = {"folder": str(folder), "channels": ["heart_rate"], "preset": "paper"}
    cohort = sections.read(read_eicu, "eicu", **asked).pool
    assert cohort.subject_ids.tolist() == [1, 1]


def test_unknown_patients_are_patients_of_their_own(tmp_path):
    cohort = read_small_eicu(eicu(tmp_path, uniquepid=["", "", "c", "NA"]))
    assert len(cohort) == 4 and len(set(cohort.subject_ids)) == 4


@few
@given(
    old=st.sampled_from(["> 89", ">89", ">= 90", "90+"]),
    dead=st.sampled_from(["Expired", "EXPIRED", " expired "]),
    alive=st.sampled_from(["Alive", "alive", "ALIVE "]),
)
def test_eicu_codes_in_every_spelling(tmp_path_factory, old, dead, alive):
    folder = eicu(
        tmp_path_factory.mktemp("e"),
        age=["50", old, "60", "70"],
        hospitaldischargestatus=[alive, dead, alive, "unknown to us"],
    )
    cohort = read_small_eicu(folder)
    assert cohort.labels.tolist() == [0, 1, 0] and cohort.static[1, 0] == 90
    assert any("outcome: unknown code 'unknown to us'" in note for note in cohort.notes) is False
    assert ("outcome unknown", 1) in [(s.rule, s.removed) for s in cohort.flow]


def physionet2012(folder: Path, extra: str) -> Path:
    (folder / "set-a").mkdir(parents=True)
    for number, body in RECORDS.items():
        text = HEAD.format(number) + body + (extra if number == 2 else "")
        (folder / "set-a" / f"{number}.txt").write_text(text + "10:00,HR,70\n" * 100)
    (folder / "Outcomes-a.txt").write_text(OUTCOMES)
    return folder


@pytest.mark.parametrize("row", ["10:45,,1.9", "10:45,HR,", "soon,HR,80", "10:45,HR,80,1", "10:45"])
def test_a_bad_row_in_a_public_set_is_counted_and_many_are_refused(tmp_path, row):
    cohort, _ = read_2012(physionet2012(tmp_path / "one", f"{row}\n"))
    sound, _ = read_2012(physionet2012(tmp_path / "none", ""))
    np.testing.assert_array_equal(cohort.values, sound.values)
    assert any("no Time,Parameter,Value, left out: 1 of" in note for note in cohort.notes)
    with pytest.raises(DataError, match=r"2\.txt line \d+.*9 of \d+ rows are none"):
        read_2012(physionet2012(tmp_path / "many", f"{row}\n" * 9))


@pytest.mark.parametrize("order", [("-1", "80"), ("80", "-1")])
def test_a_weight_counts_beside_a_minus_one(tmp_path, order):
    rows = "".join(f"00:00,Weight,{weight}\n" for weight in order)
    cohort, _ = read_2012(physionet2012(tmp_path / "w", rows))
    weight = [name.split("[")[0] for name in cohort.static_names].index("weight")
    assert cohort.static[list(cohort.subject_ids).index(2), weight] == 80


@few
@given(st.permutations(range(1, 9)))
def test_files_and_label_rows_are_paired_by_number(tmp_path_factory, order):
    root = medformer(tmp_path_factory.mktemp("f"), range(1, 9), [(who % 2, who) for who in order])
    pool = sections.read(read_medformer, "medformer", folder=str(root)).pool
    np.testing.assert_array_equal(pool.values[:, 0, 0], pool.subject_ids)
    np.testing.assert_array_equal(pool.labels, pool.subject_ids % 2)


def test_files_numbered_otherwise_need_rows_in_order(tmp_path):
    rows = [(0, 11), (1, 14), (0, 17)]
    root = medformer(tmp_path / "a", (1, 2, 3), rows)
    pool = sections.read(read_medformer, "medformer", folder=str(root)).pool
    assert dict(zip(pool.values[:, 0, 0], pool.subject_ids, strict=True)) == {1: 11, 2: 14, 3: 17}
    root = medformer(tmp_path / "b", (1, 2, 3), rows[::-1])
    with pytest.raises(DataError, match="files are numbered 1, 2, 3, the subjects .* 11, 14, 17"):
        sections.read(read_medformer, "medformer", folder=str(root))


def test_unknown_patients_of_a_data_set_file_stay_apart(tmp_path, make_dataset):
    dataset = make_dataset(6)
    save_dataset(tmp_path / "x.npz", replace(dataset, subject_ids=np.array([5, 5, -1, -1, 7, 7])))
    pool = sections.read(read_files, "files", train=str(tmp_path / "x.npz")).pool
    assert len(set(pool.subject_ids)) == 4 and pool.subject_ids[0] == pool.subject_ids[1] == 5


def test_the_form_of_a_table_has_the_keys_of_its_section():
    assert vars(TableForm(series=None)).keys() == {*vars(TableConfig()), "source"}
    for name, default in vars(TableConfig()).items():
        form = getattr(TableForm(series=None), name)
        assert (list(form) if isinstance(form, tuple) else form) == default, name
