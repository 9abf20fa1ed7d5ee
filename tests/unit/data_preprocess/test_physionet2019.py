"""PhysioNet 2019: every value of real records against plain loops, counts, and bad input."""

import csv
import io
import math
import re
import tarfile

import numpy as np
import pytest

from configs import load_config
from configs.runtime.errors import ConfigError, DataError, MissingInputError
from configs.schema.data_sources import PhysioNet2019Config
from data_preprocess.build import ensure_built
from data_preprocess.sources.physionet.challenge2019 import HEADER, read_physionet2019
from data_preprocess.sources.registry import Settings, read_source
from tests.support.physionet2012_stand_ins import member, write_tar
from tests.support.physionet2012_stand_ins import read as read_2012

CHANNELS = ["heart_rate", "Temp", "mean_pressure", "Calcium", "lactate"]
# An independent statement of the rules: column and plausible range.
RULES = [("HR", 10, 300), ("Temp", 25, 45), ("MAP", 15, 250), ("Calcium", 4, 20)]
RULES += [("Lactate", 0.1, 35)]
# Measured in 2012 too, and of like patients, which AST and troponin are not.
OTHERS = ["systolic_pressure", "diastolic_pressure", "respiratory_rate", "alkaline_phosphatase"]
OTHERS += [
    "arterial_saturation",
    "bicarbonate",
    "bilirubin",
    "bun",
    "creatinine",
    "fio2",
    "glucose",
]
OTHERS += ["haematocrit", "magnesium", "paco2", "ph", "platelets", "potassium", "white_cells"]


def read(folder, **changes):
    settings = {"window_hours": 12.0, "step_minutes": 60.0}
    settings |= {name: changes.pop(name) for name in [*settings] if name in changes}
    section = {"folder": str(folder), "channels": CHANNELS} | changes
    source = read_physionet2019(PhysioNet2019Config(**section), Settings(**settings))
    return source.pool, source.test


@pytest.fixture(scope="module")
def real(open_data):
    folder = open_data / "physionet2019"
    with tarfile.open(next(folder.glob("training_setB*.tar.gz"))) as archive:
        texts = {}
        for info in archive.getmembers():
            handle = archive.extractfile(info)
            if handle is not None:
                texts[int(info.name[-10:-4])] = handle.read().decode()
    return read(folder, channels=[*CHANNELS, *OTHERS])[0], texts


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="|"))


def test_every_value_and_label_equals_the_plain_loops(real):
    cohort, texts = real
    for row in range(0, len(cohort), 97):
        rows = rows_of(texts[int(cohort.subject_ids[row])])
        expected = np.full((len(RULES), 12), np.nan)
        for channel, (column, low, high) in enumerate(RULES):
            for hour in range(12):
                value = float(rows[hour][column])
                if low <= value <= high:
                    expected[channel, hour] = value
        np.testing.assert_allclose(cohort.values[row, : len(RULES)], expected, rtol=1e-6)
        assert cohort.labels[row] == any(r["SepsisLabel"] == "1" for r in rows)
        assert not any(r["SepsisLabel"] == "1" for r in rows[:12])
        facts = [float(rows[0][name]) for name in ("Age", "Gender", "Unit2")]
        unit = math.nan if math.isnan(facts[2]) else 1 + facts[2]
        before = -float(rows[0]["HospAdmTime"])
        np.testing.assert_allclose(cohort.static[row], [*facts[:2], unit, before], rtol=1e-6)


def test_what_both_challenges_measure_has_one_name_and_one_unit(real, open_data):
    """Their patients are alike; another unit or another quantity is a factor of two or more."""
    others = read_2012(open_data / "physionet2012", channels=OTHERS)[0]
    of_2019, of_2012 = (
        np.nanmedian(values, axis=(0, 2))
        for values in (real[0].values[:, len(CHANNELS) :], others.values)
    )
    ratio = dict(zip(OTHERS, of_2012 / of_2019, strict=True))
    assert {name: at for name, at in ratio.items() if not 0.75 < at < 1.33} == {}


def test_nobody_is_lost_without_a_row_in_the_flow(real):
    cohort, texts = real
    labels = {key: re.findall(r"\|([01])$", text, re.MULTILINE) for key, text in texts.items()}
    short = sum(len(found) < 12 for found in labels.values())
    early = sum(len(found) >= 12 and "1" in found[:12] for found in labels.values())
    flow = {step.rule: step for step in cohort.flow}
    assert flow["shorter than 12 h"].removed == short
    assert flow["labelled as sepsis within the first 12 h"].removed == early
    assert cohort.flow[0].left == len(texts)
    assert cohort.flow[0].left - sum(step.removed for step in cohort.flow) == len(cohort)


@pytest.mark.parametrize("hours,stays,septic", [(12, 19291, 743), (24, 14735, 614)])
def test_counts_of_the_full_set(open_data, hours, stays, septic):
    folder = open_data / "physionet2019"
    if not any((folder / name).exists() for name in ("training_setB.tar.gz", "training_setB")):
        pytest.skip(f"the full training set B is not in {folder}")
    cohort, _ = read(folder, window_hours=float(hours))
    asked = next(s for s in cohort.flow if s.rule.startswith("labelled as sepsis"))
    assert (asked.left, int(cohort.labels.sum())) == (stays, septic)


def line(hour, heart="80", label="0", first_hour=1):
    cells = dict.fromkeys(HEADER.split("|"), "NaN")
    cells |= {"HR": heart, "Age": "60", "Gender": "1", "HospAdmTime": "-5.5"}
    cells |= {"ICULOS": str(first_hour + hour), "SepsisLabel": label}
    return "|".join(cells.values())


def text(hours, onset=None, **changes):
    labels = ["0" if onset is None or hour < onset else "1" for hour in range(hours)]
    lines = [line(hour, label=labels[hour], **changes) for hour in range(hours)]
    return "\n".join([HEADER, *lines]) + "\n"


RECORDS = {
    1: text(12),
    2: text(14, onset=12, first_hour=3),  # starts late: hours count from the first row
    3: text(13, onset=11),
    4: text(11),
    5: text(13, heart="NaN"),
    6: text(20, onset=19),
}


def write(folder, records=None):
    members = [
        member(f"training_setB/p{number:06d}.psv", body)
        for number, body in (RECORDS if records is None else records).items()
    ]
    write_tar(folder / "training_setB.tar.gz", members)


def test_cohort_rules_on_hand_made_records(tmp_path):
    write(tmp_path)
    pool, test = read(tmp_path)
    assert test is None
    assert pool.subject_ids.tolist() == [1, 2, 6] and pool.labels.tolist() == [0, 1, 1]
    assert [(step.removed, step.left) for step in pool.flow] == [(0, 6), (1, 5), (1, 4), (1, 3)]
    assert (pool.values[:, 0] == 80).all() and np.isnan(pool.values[:, 1:]).all()
    np.testing.assert_array_equal(pool.static, [[60, 1, np.nan, 5.5]] * 3)


def test_facts_that_cannot_be_are_unknown(tmp_path):
    usual = "60|1|NaN|NaN|-5.5"
    given = ("60|1|1|0|-5.5", "14|0|0|1|0", "130|2|NaN|NaN|3")
    write(tmp_path, {number: text(12).replace(usual, each) for number, each in enumerate(given)})
    nan = np.nan
    expected = [[60, 1, 1, 5.5], [14, 0, 2, 0], [nan, nan, nan, nan]]
    np.testing.assert_array_equal(read(tmp_path)[0].static, expected)


def test_a_folder_reads_as_the_archive_does_and_the_other_hospital_tests(tmp_path):
    write(tmp_path)
    from_tar, _ = read(tmp_path)
    (tmp_path / "training_setA").mkdir()
    for number, body in RECORDS.items():
        (tmp_path / "training_setA" / f"p{number:06d}.psv").write_text(body)
    pool, test = read(tmp_path, test_set="A")
    np.testing.assert_array_equal(pool.values, from_tar.values)
    np.testing.assert_array_equal(test.values, from_tar.values)


def test_the_configs_read_it(tmp_path):
    write(tmp_path)
    for name in ("physionet2019_sepsis", "physionet2019_sepsis_fast"):
        config = load_config([f"configs/base/{name}.yaml", f"data.physionet2019.folder={tmp_path}"])
        settings = Settings(window_hours=config.data.window_hours)
        source = read_source("physionet2019", config.data.physionet2019, settings)
        assert source.pool.values.shape == (3, 7, 12) and source.test is None
    with pytest.raises(ConfigError, match="physionet2019 has the task sepsis"):
        load_config(["configs/base/physionet2019_sepsis.yaml", "data.task=mortality"])
    with pytest.raises(ConfigError, match="no other source has it"):
        load_config(["configs/base/tiny.yaml", "data.task=sepsis"])


def test_a_later_stage_need_not_say_where_the_records_were(tmp_path):
    records = {
        number: text(14, onset=12 if number % 2 else None, heart=str(50 + number))
        for number in range(40)
    }
    write(tmp_path, records)
    arguments = [
        "configs/base/physionet2019_sepsis.yaml",
        f"data.dir={tmp_path / 'built'}",
        "data.physionet2019.channels=[heart_rate]",
        "data.space.ordered=[]",
        "data.space.together=[]",
    ]
    here = f"data.physionet2019.folder={tmp_path}"
    assert ensure_built(load_config([*arguments, here]).data)
    assert not ensure_built(load_config(arguments).data)
    with pytest.raises(MissingInputError, match="elsewhere does not exist .data.physionet2019.f"):
        ensure_built(load_config([*arguments, "data.physionet2019.folder=elsewhere"]).data)


@pytest.mark.parametrize(
    "body,message",
    [
        ("HR|Temp\n1|2\n", "first line is 'HR.Temp'"),
        (text(12) + "1|2\n", r"p000007\.psv line 14: '1.2' is not a row of 41 numbers"),
        (text(12) + line(12) + "|0\n", "line 14: .* is not a row"),
        (text(12, heart="inf"), "line 2: .* is not a row"),
        (text(12, heart="high"), "line 2: .* is not a row"),
        (text(12, heart=""), "line 2: .* is not a row"),
        (text(2) + line(1) + "\n", "line 4: ICULOS does not count the hours"),
        (text(2) + line(2, label="NaN") + "\n", "line 4: SepsisLabel is not 0 or 1"),
        (HEADER + "\n", "line 2: '' is not a row"),
        (b"\xff\xfe", "not a text file"),
    ],
)
def test_a_bad_record_is_one_error_that_names_it(tmp_path, body, message):
    write(tmp_path, RECORDS | {7: body})
    with pytest.raises(DataError, match=message) as caught:
        read(tmp_path)
    assert "training_setB.tar.gz" in str(caught.value)


def test_a_wrong_folder_and_wrong_settings(tmp_path):
    with pytest.raises(MissingInputError, match=r"training_setB.*physionet\.org"):
        read(tmp_path)
    write_tar(tmp_path / "training_setB_part.tar.gz", [member("a/p000001.txt", "x")])
    with pytest.raises(DataError, match=r"unexpected member.*p<number>\.psv"):
        read(tmp_path)
    write(tmp_path, {})
    with pytest.raises(DataError, match="holds no record"):
        read(tmp_path)
    write(tmp_path)
    for changes, message in (
        ({"channels": ["pulse"]}, "unknown channel 'pulse'; known: heart_rate"),
        ({"channels": ["HR", "heart_rate"]}, "each variable once"),
        ({"channels": []}, "one name or more"),
        ({"step_minutes": 30.0}, "hourly"),
        ({"window_hours": 1.5}, "hourly"),
        ({"test_set": "B"}, "both 'B'"),
    ):
        with pytest.raises(ConfigError, match=message):
            read(tmp_path, **changes)
