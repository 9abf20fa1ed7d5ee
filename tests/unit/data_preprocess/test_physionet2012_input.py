"""PhysioNet 2012: the grid rules on hand-made records, and every bad input by file name."""

import tarfile

import numpy as np
import pytest

from configs.runtime.errors import ConfigError, DataError, MissingInputError
from tests.support.physionet2012_stand_ins import (
    HEAD,
    NAMES,
    OUTCOMES,
    RECORDS,
    member,
    plain_members,
    read,
    write_set_a,
    write_tar,
)


@pytest.fixture
def folder(tmp_path):
    write_set_a(tmp_path)
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


def test_a_variable_goes_by_our_name_or_by_physionets(folder):
    ours, _ = read(folder, channels=["heart_rate", "white_cells"])
    theirs, _ = read(folder, channels=["HR", "WBC"])
    assert ours.feature_names == ("heart_rate[bpm]", "white_cells[10^9/L]")
    assert theirs.feature_names == ("HR[bpm]", "WBC[10^9/L]")
    np.testing.assert_array_equal(ours.values, theirs.values)


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
    (folder / "Outcomes-a.txt").write_text(OUTCOMES.replace("1,6,1,5", "1,6,1,3"))
    assert read(folder, task="icustay")[0].labels.tolist() == [0, 0]


def test_slips_of_unit_are_put_right_and_counted(folder):
    acid = "00:10,pH,735\n01:10,pH,73.5\n02:10,pH,7.35\n"
    with_records(folder, RECORDS | {1: f"{acid}00:10,SaO2,0.97\n01:10,SaO2,97\n02:10,SaO2,97\n"})
    pool, _ = read(folder, channels=["pH", "SaO2"])
    np.testing.assert_allclose(pool.values[0, :, :3], [[7.35] * 3, [97] * 3], rtol=1e-6)
    slips = [note for note in pool.notes if note.endswith("1 of 3 values")]
    assert [note.split(":")[0] for note in slips] == ["pH", "pH", "SaO2"]


def test_descriptors_are_codes_and_measures_of_the_admission(folder):
    later = "00:00,Gender,0.5\n05:00,Weight,80\n"
    with_records(folder, RECORDS | {1: RECORDS[1] + later})
    pool, _ = read(folder)
    np.testing.assert_array_equal(pool.static[0], [70, np.nan, np.nan, np.nan, 3])


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


def number_beyond_integers(folder):
    write_tar(folder / "set-a.tar.gz", [member(f"set-a/{10**20}.txt", HEAD.format(1))])
    return r"unexpected member 'set-a/10+\.txt'"


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
        number_beyond_integers,
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
