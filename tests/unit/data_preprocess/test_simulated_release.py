"""Extraction against the simulator's truth: every value, and every injected fault counted."""

import json

import numpy as np
import pandas as pd
import pytest

from data_preprocess.sources.hospital import resample as extract
from data_preprocess.sources.hospital.eicu import read_eicu
from data_preprocess.sources.hospital.mimic import MIMIC3, read_mimic3
from data_preprocess.sources.hospital.variables import choose_variables
from tests.support import sections
from tests.support.simulated_release.__main__ import simulate_raw
from tests.support.simulated_release.charting import CHANNELS

# Fahrenheit is charted to 0.1 degrees: half a unit of that in Celsius, and float32 on top.
ROUNDING = np.where(np.array(CHANNELS) == "temperature", 0.05 / 1.8 + 1e-5, 1e-4)
OUTSIDE = "rows outside the window, not used"
RULES = {
    "copy": extract.REPEATED,
    "error": extract.MARKED,
    "wild": extract.OUT_OF_RANGE,
    "wordless": extract.NO_NUMBER,
    "orphan": extract.NO_STAY,
    "second_item": extract.JOINED,
    "swap": extract.SWAPPED,
    "fraction": "saturation as a fraction",
    "fahrenheit_under_celsius_item": "Fahrenheit value under a Celsius item",
    "celsius_under_fahrenheit_item": "Celsius value under a Fahrenheit item",
}


def read(layout, folder, *, task="mortality", **changes):
    reader, step = {"mimic3": (read_mimic3, 60.0), "eicu": (read_eicu, 5.0)}[layout]
    usual = {"folder": str(folder), "channels": list(CHANNELS), "task": task, "step_minutes": step}
    return sections.read(reader, layout, **(usual | changes)).pool


@pytest.fixture(scope="module", params=["mimic3", "eicu"])
def simulated(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    simulate_raw(folder, layout=request.param, num_stays=300, seed=3)
    record = json.loads((folder / "faults.json").read_text())
    cohort = read(request.param, folder)
    return request.param, folder, cohort, np.load(folder / "truth.npz"), record


def test_recovered_values_equal_the_truth(simulated):
    _, _, cohort, truth, _ = simulated
    assert cohort.values.shape == truth["values"].shape
    assert np.array_equal(np.isnan(cohort.values), np.isnan(truth["values"]))
    difference = np.nanmax(np.abs(cohort.values - truth["values"]), axis=(0, 2))
    assert (difference <= ROUNDING).all(), dict(zip(CHANNELS, difference, strict=True))


def outside(layout, folder, ids):
    """The rows of the stays `ids` outside the first 24 h, by plain pandas."""
    if layout == "eicu":
        chart = pd.read_csv(folder / "vitalPeriodic.csv.gz")
        hours = chart[chart.patientunitstayid.isin(ids)].observationoffset / 60
        return f"vitalPeriodic.csv.gz: {OUTSIDE}: {((hours < 0) | (hours >= 24)).sum():,}"
    chart, icu = (
        pd.read_csv(folder / f"{name}.csv.gz", low_memory=False).rename(columns=str.lower)
        for name in ("CHARTEVENTS", "ICUSTAYS")
    )
    read = choose_variables(list(CHANNELS), MIMIC3.systems)
    items = [source.key for variable in read for source in variable.sources]
    chart = chart[chart.icustay_id.isin(ids) & chart.itemid.isin(items)].merge(
        icu[["icustay_id", "intime"]]
    )
    hours = (pd.to_datetime(chart.charttime) - pd.to_datetime(chart.intime)) / pd.Timedelta("1h")
    return f"CHARTEVENTS.csv.gz: {OUTSIDE}: {((hours < 0) | (hours >= 24)).sum():,}"


def test_every_injected_fault_is_counted_and_nothing_else(simulated):
    layout, folder, cohort, truth, record = simulated
    expected = {outside(layout, folder, truth["stay_ids"])}
    for key, rows in record["faults"].items():
        fault, channel = key.split("/")
        if rows:
            expected.add(f"{channel}: {RULES[fault]}: {rows:,}")
    assert set(cohort.notes) == expected
    assert len(expected) > 8


def test_labels_and_flow_follow_the_simulated_stays(simulated):
    layout, folder, died, truth, record = simulated
    long_stay = read(layout, folder, task="icustay")
    assert np.array_equal(died.labels, truth["died"].astype(int))
    assert np.array_equal(long_stay.labels, truth["long_stay"].astype(int))
    removed = [step.removed for step in died.flow]
    assert removed[1:4] == list(record["removed"].values())
    assert removed[4:] == [0, 0, 0, 0, 0]  # none died early, none contradicts itself
    assert all(a.left - b.removed == b.left for a, b in zip(died.flow, died.flow[1:], strict=False))
    assert 0.02 < died.labels.mean() < 0.6


def test_equal_seeds_give_equal_bytes_and_rows_grow_on_request(tmp_path):
    simulate_raw(tmp_path / "a", layout="mimic3", num_stays=30, seed=1, num_rows=20_000)
    simulate_raw(tmp_path / "b", layout="mimic3", num_stays=30, seed=1, num_rows=20_000)
    tables = [np.load(tmp_path / name / "truth.npz")["values"] for name in "ab"]
    assert np.array_equal(*tables, equal_nan=True)
    records = [json.loads((tmp_path / name / "faults.json").read_text()) for name in "ab"]
    assert records[0] == records[1]
    assert records[0]["rows"] >= 20_000


def test_the_paper_presets_apply_their_own_cohort_rules(simulated):
    layout, folder, *_ = simulated
    cohort = read(layout, folder, preset="paper")
    assert len(cohort) < cohort.flow[0].left == 300
    if layout == "mimic3":
        assert cohort.flow[1].rule == "no MetaVision vital charted"
        assert any("published 26,150" in note for note in cohort.notes)
        assert any(note.startswith(f"charts: {OUTSIDE}: ") for note in cohort.notes)
    else:
        assert cohort.flow[2].rule == "not monitored from the first hour to 24 h"
        assert any(note.startswith(f"vitalPeriodic.csv.gz: {OUTSIDE}: ") for note in cohort.notes)
