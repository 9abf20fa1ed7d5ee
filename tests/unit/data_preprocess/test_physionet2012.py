"""PhysioNet 2012: every value of real records against plain loops, and the counts of the card."""

import math
import tarfile
from pathlib import Path

import numpy as np
import pytest

from configs.runtime.errors import ConfigError
from data_preprocess.sources.physionet.challenge2012 import read_outcomes
from tests.support.physionet2012_stand_ins import read

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


def test_units_and_methods_are_what_the_values_say(open_data):
    """The page of the Challenge gives magnesium in mmol/L, of which healthy blood has 0.7 to 1; and
    its SaO2 comes with the blood gases: it is no pulse oximeter's."""
    channels = ["magnesium", "arterial_saturation", "pao2"]
    pool, _ = read(open_data / "physionet2012", channels=channels)
    assert pool.feature_names == ("magnesium[mg/dL]", "arterial_saturation[%]", "pao2[mmHg]")
    assert 1.8 < np.nanmedian(pool.values[:, 0]) < 2.2
    saturation, oxygen = ~np.isnan(pool.values[:, 1:]).swapaxes(0, 1)
    assert oxygen[saturation].mean() > 0.85
    with pytest.raises(ConfigError, match="unknown channel 'spo2'"):
        read(open_data / "physionet2012", channels=["spo2"])
