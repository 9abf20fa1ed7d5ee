"""PhysioNet 2012: every value against plain loops on the real records, and every bad input."""

import io
import math
import tarfile
from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError, DataError, MissingInputError
from data_preprocess.physionet2012 import read_outcomes, read_physionet2012

NAMES = ["heart_rate", "systolic_pressure", "diastolic_pressure", "mean_pressure", "temperature"]
NAMES += ["gcs", "urine", "respiratory_rate", "spo2", "pH", "Weight"]
# An independent statement of the rules, for the naive recomputation.
MEASURED_BY = [
    (["HR"], 10, 300),
    (["SysABP", "NISysABP"], 20, 300),
    (["DiasABP", "NIDiasABP"], 10, 200),
    (["MAP", "NIMAP"], 15, 250),
    (["Temp"], 25, 45),
    (["GCS"], 3, 15),
    (["Urine"], 0, 5000),
    (["RespRate"], 2, 80),
    (["SaO2"], 40, 100),
    (["pH"], 6.5, 8),
    (["Weight"], 20, 350),
]
EMPTY = {
    "a": {140501, 140936, 141264},
    "b": {142731, 142998, 143656, 145611, 147514, 150309, 150649},
}
DEATHS = {"a": 554, "b": 568}


def read(folder, **changes):
    arguments = {"train_set": "a", "test_set": None, "channels": NAMES, "task": "mortality"}
    arguments |= {"los_days": 3.0, "window_hours": 24.0, "step_minutes": 60.0}
    return read_physionet2012(folder=str(folder), **(arguments | changes))


def repair(parameter, value):
    if parameter == "Temp" and 70 <= value <= 120:
        return (value - 32) * 5 / 9
    if parameter == "pH" and 65 <= value <= 80:
        return value / 10
    if parameter == "pH" and 650 <= value <= 800:
        return value / 100
    if parameter == "SaO2" and 0.4 <= value <= 1:
        return value * 100
    return value


def naive(text, hours, step_minutes):
    """One record on the grid, by plain loops over its lines."""
    steps = int(hours * 60 / step_minutes)
    grid = [[math.nan] * steps for _ in MEASURED_BY]
    rows = [line.split(",") for line in text.splitlines()[1:]]
    for channel, (parameters, low, high) in enumerate(MEASURED_BY):
        for step in range(steps):
            for parameter in parameters:
                found = []
                for time, name, value in rows:
                    minute = int(time[:2]) * 60 + int(time[3:])
                    if name == parameter and step * step_minutes <= minute < (
                        (step + 1) * step_minutes
                    ):
                        repaired = repair(parameter, float(value))
                        if low <= repaired <= high:
                            found.append(repaired)
                if found:
                    total = sum(found)
                    grid[channel][step] = total if parameter == "Urine" else total / len(found)
                    break
    return grid


@pytest.fixture(scope="module")
def both_sets(open_data):
    return read(open_data / "physionet2012", test_set="b")


def raw_texts(path, chosen):
    with tarfile.open(path) as archive:
        for member in archive:
            stem = Path(member.name).stem
            if stem.isdigit() and int(stem) in chosen:
                handle = archive.extractfile(member)
                assert handle is not None
                yield int(stem), handle.read().decode()


def test_every_value_equals_the_plain_loops(both_sets, open_data):
    for name, cohort in zip("ab", both_sets, strict=True):
        picks = np.random.default_rng(3).choice(len(cohort), 12, replace=False)
        rows = {int(cohort.subject_ids[row]): row for row in picks}
        archive = open_data / "physionet2012" / f"set-{name}.tar.gz"
        for record, text in raw_texts(archive, rows):
            expected = np.array(naive(text, 24, 60), np.float32)
            np.testing.assert_allclose(cohort.values[rows[record]], expected, rtol=1e-6)


def test_another_window_and_step_equal_the_plain_loops(open_data):
    folder = open_data / "physionet2012"
    cohort, _ = read(folder, window_hours=48.0, step_minutes=90.0)
    assert cohort.values.shape[2] == 32
    rows = {int(cohort.subject_ids[row]): row for row in range(0, len(cohort), 400)}
    for record, text in raw_texts(folder / "set-a.tar.gz", rows):
        expected = np.array(naive(text, 48, 90), np.float32)
        np.testing.assert_allclose(cohort.values[rows[record]], expected, rtol=1e-6)


def test_counts_are_those_of_the_data_card(both_sets, open_data):
    for name, cohort in zip("ab", both_sets, strict=True):
        outcomes = read_outcomes(open_data / "physionet2012" / f"Outcomes-{name}.txt")
        assert len(outcomes) == 4000 and outcomes["In-hospital_death"].sum() == DEATHS[name]
        assert not EMPTY[name] & set(cohort.subject_ids.tolist())
        flow = {step.rule: step for step in cohort.flow}
        assert flow[f"records of set {name}"].left == 4000
        empty = flow["no time series in the record (descriptors only)"]
        assert empty.removed == len(EMPTY[name])
        assert cohort.flow[-1].left == len(cohort)
        assert sum(step.removed for step in cohort.flow) == 4000 - len(cohort)
        died = outcomes["In-hospital_death"].loc[cohort.subject_ids]
        np.testing.assert_array_equal(cohort.labels, died)
        assert not np.isnan(cohort.values).all(axis=(1, 2)).any()


def test_static_facts_are_plausible_and_unknown_is_nan(both_sets):
    pool, _ = both_sets
    assert [name.split("[")[0] for name in pool.static_names] == [
        "age",
        "sex",
        "height",
        "weight",
        "icu_type",
    ]
    assert np.isnan(pool.static).mean(axis=0)[2] == pytest.approx(0.47, abs=0.02)
    assert np.nanmin(pool.static) >= 0 and np.nanmax(pool.static[:, 0]) == 90
    assert set(np.unique(pool.static[:, 4])) == {1, 2, 3, 4}


HEAD = "Time,Parameter,Value\n00:00,RecordID,{0}\n00:00,Age,70\n00:00,Gender,-1\n00:00,Height,-1\n"
HEAD += "00:00,ICUType,3\n00:00,Weight,-1\n"
RECORDS = {
    1: "00:10,HR,80\n00:50,HR,90\n01:00,HR,100\n00:10,Temp,98.6\n23:59,HR,70\n24:00,HR,10\n",
    2: "00:10,NISysABP,100\n00:20,SysABP,120\n01:10,NISysABP,90\n02:00,SysABP,0\n"
    "02:05,NISysABP,99\n",
    3: "",
    4: "30:00,HR,77\n",
    5: "00:00,Urine,100\n00:59,Urine,50\n01:00,HR,400\n01:00,HR,60\n",
}
OUTCOMES = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"
OUTCOMES += "1,6,1,5,-1,0\n2,6,1,2,-1,1\n3,6,1,5,-1,0\n4,6,1,5,-1,0\n5,6,1,-1,-1,1\n"


def member(name, text, **changes):
    info = tarfile.TarInfo(name)
    raw = text if isinstance(text, bytes) else text.encode()
    info.size = len(raw)
    for key, value in changes.items():
        setattr(info, key, value)
    return info, raw


def write_tar(path, members):
    with tarfile.open(path, "w:gz") as archive:
        for info, raw in members:
            archive.addfile(info, io.BytesIO(raw) if info.isreg() else None)


def plain_members(records=RECORDS):
    return [member(f"set-a/{key}.txt", HEAD.format(key) + body) for key, body in records.items()]


@pytest.fixture
def folder(tmp_path):
    write_tar(tmp_path / "set-a.tar.gz", plain_members())
    (tmp_path / "Outcomes-a.txt").write_text(OUTCOMES)
    return tmp_path


def test_grid_rules_on_hand_made_records(folder):
    pool, test = read(folder)
    assert test is None and pool.subject_ids.tolist() == [1, 2, 5]
    heart, systolic, urine, temperature = (
        pool.values[:, NAMES.index(name)]
        for name in ("heart_rate", "systolic_pressure", "urine", "temperature")
    )
    assert heart[0, 0] == 85 and heart[0, 1] == 100 and heart[0, 23] == 70
    assert temperature[0, 0] == pytest.approx(37.0)
    assert systolic[1, :3].tolist() == [120, 90, 99]  # 0 mmHg is missing, so non-invasive counts
    assert urine[2, 0] == 150 and heart[2, 1] == 60
    assert [(step.removed, step.left) for step in pool.flow] == [(0, 5), (1, 4), (1, 3)]
    assert any("Fahrenheit" in note and "1 of 1" in note for note in pool.notes)
    assert any(note.startswith("HR: outside 10..300") for note in pool.notes)
    np.testing.assert_array_equal(pool.static[0], [70, np.nan, np.nan, np.nan, 3])


def test_a_folder_reads_as_the_archive_does(folder):
    from_tar, _ = read(folder)
    with tarfile.open(folder / "set-a.tar.gz") as archive:
        (folder / "set-a").mkdir()
        for info in archive:
            handle = archive.extractfile(info)
            assert handle is not None
            text = handle.read().decode().replace("\n", "\r\n")  # as a checkout may have it
            (folder / info.name).write_text(text, newline="")
    (folder / "set-a.tar.gz").unlink()
    from_folder, _ = read(folder)
    np.testing.assert_array_equal(from_tar.values, from_folder.values)
    np.testing.assert_array_equal(from_tar.static, from_folder.static)


def test_length_of_stay_task_removes_and_counts_the_unknown(folder):
    pool, _ = read(folder, task="icustay")
    assert pool.subject_ids.tolist() == [1, 2] and pool.labels.tolist() == [1, 0]
    assert pool.label_names == ("stay<=3d", "stay>3d")
    assert (pool.flow[-1].rule, pool.flow[-1].removed) == ("length of stay unknown", 1)


def with_records(folder, records):
    write_tar(folder / "set-a.tar.gz", plain_members(records))


def truncated(folder):
    path = folder / "set-a.tar.gz"
    path.write_bytes(path.read_bytes()[:-40])
    return r"set-a\.tar\.gz: damaged or truncated"


def no_archive(folder):
    (folder / "set-a.tar.gz").write_text("<html>404</html>")
    return r"set-a\.tar\.gz: damaged or truncated"


def cut_between_members(folder):
    with_records(folder, {key: RECORDS[key] for key in (1, 2, 3)})
    return r"set-a\.tar\.gz: 2 outcomes without a record .*first \[4, 5\]"


def without_outcome(folder):
    lines = OUTCOMES.splitlines(keepends=True)
    (folder / "Outcomes-a.txt").write_text("".join(lines[:-1]))
    return r"set-a\.tar\.gz: 1 records without an outcome, first \[5\]"


def outcome_column(folder):
    (folder / "Outcomes-a.txt").write_text(OUTCOMES.replace("In-hospital_death", "Died"))
    return r"Outcomes-a\.txt: no column In-hospital_death; found RecordID"


def outcome_text(folder):
    (folder / "Outcomes-a.txt").write_text(OUTCOMES.replace("1,6,1,5,-1,0", "1,6,1,x,-1,0"))
    return r"Outcomes-a\.txt: expected whole numbers"


def outcome_empty(folder):
    (folder / "Outcomes-a.txt").write_text("")
    return r"Outcomes-a\.txt: expected whole numbers"


def outcome_range(folder):
    (folder / "Outcomes-a.txt").write_text(OUTCOMES.replace("1,6,1,5,-1,0", "1,6,1,5,-1,2"))
    return r"Outcomes-a\.txt: a RecordID repeats, or In-hospital_death"


def bad_time(folder):
    with_records(folder, RECORDS | {2: "00:10,HR,80\n1h,HR,80\n"})
    return r"set-a\.tar\.gz: 2\.txt line 9: '1h,HR,80' is not a row"


def bad_minute(folder):
    with_records(folder, RECORDS | {2: "00:61,HR,80\n"})
    return r"2\.txt line 8: '00:61,HR,80'"


def bad_value(folder):
    with_records(folder, RECORDS | {4: "00:10,HR,high\n"})
    return r"4\.txt line 8: '00:10,HR,high'"


def empty_value(folder):
    with_records(folder, RECORDS | {4: "00:10,HR,\n"})
    return r"4\.txt line 8: '00:10,HR,'"


def infinite_value(folder):
    with_records(folder, RECORDS | {4: "00:10,HR,inf\n"})
    return r"4\.txt line 8: '00:10,HR,inf'"


def extra_cell(folder):
    with_records(folder, RECORDS | {4: "00:10,HR,80,7\n"})
    return r"4\.txt line 8: '00:10,HR,80,7'"


def missing_cell(folder):
    with_records(folder, RECORDS | {4: "00:10,HR\n"})
    return r"4\.txt line 8: '00:10,HR'"


def missing_column(folder):
    write_tar(folder / "set-a.tar.gz", [member("set-a/1.txt", "Time,Value\n00:00,3\n")])
    return r"set-a\.tar\.gz: 1\.txt: first line is 'Time,Value', expected 'Time,Parameter,Value'"


def binary_record(folder):
    write_tar(folder / "set-a.tar.gz", [member("set-a/1.txt", b"\xff\xfe\x00")])
    return r"1\.txt: not a text file"


def traversal(folder):
    write_tar(folder / "set-a.tar.gz", [member("../1.txt", HEAD.format(1))])
    return r"refuses member '\.\./1\.txt'"


def absolute(folder):
    write_tar(folder / "set-a.tar.gz", [member("/tmp/1.txt", HEAD.format(1))])
    return r"refuses member '/tmp/1\.txt'"


def symlink(folder):
    link = member("set-a/1.txt", "", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    write_tar(folder / "set-a.tar.gz", [link])
    return r"refuses member 'set-a/1\.txt': not a plain file"


def odd_member(folder):
    write_tar(folder / "set-a.tar.gz", [*plain_members(), member("set-a/run.sh", "echo")])
    return r"unexpected member 'set-a/run\.sh'"


def oversized(folder):
    write_tar(folder / "set-a.tar.gz", [member("set-a/1.txt", " " * 1_000_001)])
    return r"'set-a/1\.txt' has 1,000,001 bytes"


def twice(folder):
    write_tar(folder / "set-a.tar.gz", [*plain_members(), *plain_members()])
    return r"record 1\.txt is there twice"


def nothing(folder):
    write_tar(folder / "set-a.tar.gz", [])
    return r"set-a\.tar\.gz: holds no record"


@pytest.mark.parametrize(
    "spoil",
    [
        truncated,
        no_archive,
        cut_between_members,
        without_outcome,
        outcome_column,
        outcome_text,
        outcome_empty,
        outcome_range,
        bad_time,
        bad_minute,
        bad_value,
        empty_value,
        infinite_value,
        extra_cell,
        missing_cell,
        missing_column,
        binary_record,
        traversal,
        absolute,
        symlink,
        odd_member,
        oversized,
        twice,
        nothing,
    ],
    ids=lambda spoil: spoil.__name__,
)
def test_bad_input_is_refused_by_file_name(folder, spoil):
    before = {path.name for path in folder.parent.iterdir()}
    message = spoil(folder)
    with pytest.raises(DataError, match=message):
        read(folder)
    assert {path.name for path in folder.parent.iterdir()} == before  # nothing was unpacked


def test_missing_files_say_where_to_get_them(folder):
    (folder / "Outcomes-a.txt").rename(folder / "x")
    with pytest.raises(MissingInputError, match=r"Outcomes-a\.txt does not exist.*physionet\.org"):
        read(folder)
    (folder / "x").rename(folder / "Outcomes-a.txt")
    (folder / "set-a.tar.gz").unlink()
    with pytest.raises(MissingInputError, match=r"neither .*set-a\.tar\.gz nor .*physionet\.org"):
        read(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"window_hours": 72.0}, "records end after 48 h"),
        ({"step_minutes": 7.0}, "step_minutes=7 does not divide the window of 24 h"),
        ({"channels": ["heartrate"]}, "unknown channel 'heartrate'"),
        ({"channels": []}, "each variable once"),
        ({"channels": ["gcs", "gcs"]}, "each variable once"),
        ({"channels": ["heart_rate", "HR"]}, "each variable once"),
        ({"test_set": "a"}, "train_set and test_set are both 'a'"),
    ],
)
def test_bad_settings_are_refused_before_reading(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path / "nowhere", **changes)
