"""MIMIC-IV: the simulator's MetaVision stays under the documented names of the release."""

import gzip

import numpy as np
import pandas as pd
import pytest

from data_preprocess.sources.hospital.mimic import read_mimic4
from tests.support import sections
from tests.support.simulated_release.__main__ import simulate_raw
from tests.support.simulated_release.charting import CHANNELS


@pytest.fixture(scope="module")
def release(tmp_path_factory):
    """Made-up hosp/ and icu/ tables, and the truth of the MetaVision stays in them."""
    source, folder = (tmp_path_factory.mktemp(name) for name in ("mimic3", "mimic4"))
    simulate_raw(source, layout="mimic3", num_stays=120, seed=8)
    tables = {
        name: pd.read_csv(source / f"{name}.csv.gz").rename(columns=str.lower)
        for name in ("ICUSTAYS", "PATIENTS", "ADMISSIONS", "CHARTEVENTS")
    }
    stays = tables["ICUSTAYS"][tables["ICUSTAYS"].dbsource == "metavision"]
    patients = tables["PATIENTS"].merge(stays.drop_duplicates("subject_id"), on="subject_id")
    years = patients.intime.str[:4].astype(int)
    age = (pd.to_datetime(patients.intime).dt.year - patients.dob.str[:4].astype(int)).clip(0, 91)
    # The anchor year differs from the admission's, as it does in the release.
    patients = patients.assign(anchor_age=age - 2, anchor_year=years - 2)
    chart = tables["CHARTEVENTS"][tables["CHARTEVENTS"].icustay_id.isin(stays.icustay_id)]
    chart = chart[chart.error != 1]  # no error column in MIMIC-IV, so no marked rows either
    for sub, name, frame, columns in (
        ("icu", "icustays", stays, "subject_id hadm_id stay_id intime outtime los"),
        ("icu", "chartevents", chart, "subject_id hadm_id stay_id charttime itemid value valuenum"),
        ("hosp", "patients", patients, "subject_id gender anchor_age anchor_year"),
        ("hosp", "admissions", tables["ADMISSIONS"], "subject_id hadm_id hospital_expire_flag"),
    ):
        (folder / sub).mkdir(exist_ok=True)
        renamed = frame.rename(columns={"icustay_id": "stay_id"}).copy()
        if "stay_id" in renamed:
            renamed["stay_id"] = renamed["stay_id"].astype("Int64")
        with gzip.open(folder / sub / f"{name}.csv.gz", "wt") as handle:
            renamed[columns.split()].to_csv(handle, index=False)
    return folder, stays, np.load(source / "truth.npz")


def test_the_values_and_labels_of_the_metavision_stays_come_back(release):
    folder, stays, truth = release
    cohort = sections.read(read_mimic4, "mimic4", folder=str(folder), channels=list(CHANNELS)).pool
    mine = np.isin(truth["stay_ids"], stays.icustay_id)
    assert 20 < mine.sum() == len(cohort)
    np.testing.assert_allclose(cohort.values, truth["values"][mine], atol=0.03)
    assert np.array_equal(cohort.labels, truth["died"][mine].astype(int))
    people = pd.read_csv(folder / "hosp" / "patients.csv.gz")
    ages = stays.merge(people, on="subject_id").set_index("icustay_id").anchor_age + 2
    assert np.array_equal(cohort.static[:, 0], ages[truth["stay_ids"][mine]])


def test_version_1_keeps_patients_and_admissions_in_core(release, tmp_path):
    folder, *_ = release
    (tmp_path / "icu").symlink_to(folder / "icu")
    (tmp_path / "core").symlink_to(folder / "hosp")
    (tmp_path / "hosp").mkdir()  # laboratory values and prescriptions, which are not read
    settings = {"channels": ["heart_rate"]}
    old = sections.read(read_mimic4, "mimic4", folder=str(tmp_path), **settings).pool
    new = sections.read(read_mimic4, "mimic4", folder=str(folder), **settings).pool
    assert np.array_equal(old.values, new.values, equal_nan=True)
    assert np.array_equal(old.labels, new.labels)
