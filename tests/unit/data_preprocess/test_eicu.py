"""eICU on the tables of the real demo: patients, labels and cuff pressures against plain pandas."""

import numpy as np
import pandas as pd
import pytest

from configs.runtime.errors import DataError, MissingInputError
from data_preprocess.sources.hospital.eicu import read_eicu
from tests.support import sections

CUFF = ["cuff_systolic", "cuff_diastolic", "cuff_mean"]


def extracted(folder, *, task="mortality", channels=CUFF, preset="clinical"):
    return sections.read(
        read_eicu, "eicu", folder=str(folder), preset=preset, channels=channels, task=task
    ).pool


@pytest.fixture(scope="module")
def demo(open_data):
    return open_data / "eicu_demo"


@pytest.fixture(scope="module")
def kept(demo):
    """The clinical cohort by plain pandas, before the rule that asks for a value."""
    patient = pd.read_csv(demo / "patient.csv.gz")
    patient["years"] = pd.to_numeric(patient.age.replace("> 89", "90"))
    order = ["hospitaldischargeyear", "patienthealthsystemstayid", "unitvisitnumber"]
    first = patient.sort_values(order).drop_duplicates("uniquepid")
    # Of 46 patients the first stay in the table is the second one of its hospital stay.
    first = first[first.unitvisitnumber == 1].patientunitstayid
    chosen = (patient.years >= 18) & patient.patientunitstayid.isin(first)
    chosen &= patient.unitdischargeoffset >= 1440
    return patient[chosen].sort_values("patientunitstayid")


def cuff_values(demo, stays):
    chart = pd.read_csv(demo / "vitalAperiodic.csv.gz")
    chart = chart[chart.patientunitstayid.isin(stays) & chart.observationoffset.between(0, 1439)]
    ranges = {"noninvasivesystolic": 400, "noninvasivediastolic": 300, "noninvasivemean": 300}
    long = chart.melt(["patientunitstayid", "observationoffset"], list(ranges)).dropna()
    long = long[(long.value >= 1) & (long.value <= long.variable.map(ranges))]
    keys = ["patientunitstayid", "observationoffset"]
    wide = long.pivot_table(index=keys, columns="variable", values="value", aggfunc="mean")
    wrong = wide.noninvasivesystolic < wide.noninvasivediastolic
    pair = ["noninvasivesystolic", "noninvasivediastolic"]
    wide.loc[wrong, pair] = wide.loc[wrong, pair[::-1]].to_numpy()
    wide = wide.reset_index()
    wide["step"] = wide.observationoffset // 60
    means = wide.groupby(["patientunitstayid", "step"])[list(ranges)].mean()
    values = np.full((len(stays), 3, 24), np.nan)
    position = {stay: row for row, stay in enumerate(stays)}
    for (stay, step), row in means.iterrows():
        values[position[stay], :, int(step)] = row.to_numpy()
    return values


def test_cuff_pressures_and_labels_equal_plain_pandas(demo, kept):
    known = kept[kept.hospitaldischargestatus.isin(["Alive", "Expired"])]
    # Whoever died in the unit cannot have left the hospital alive.
    both = (known.unitdischargestatus == "Expired") & (known.hospitaldischargestatus == "Alive")
    assert both.sum() == 3
    known = known[~both]
    values = cuff_values(demo, list(known.patientunitstayid))
    measured = ~np.isnan(values).all(axis=(1, 2))
    cohort = extracted(demo)
    assert len(cohort) == measured.sum() == 1132
    np.testing.assert_allclose(cohort.values, values[measured], rtol=1e-6)
    died = (known.hospitaldischargestatus == "Expired").to_numpy()[measured]
    assert np.array_equal(cohort.labels, died.astype(int))
    assert np.array_equal(cohort.static[:, 0], known.years[measured].astype(np.float32))
    # One stay per patient is left, so the ids are all different and every patient has one.
    assert len(np.unique(cohort.subject_ids)) == len(cohort)


def test_long_stays_need_no_outcome(demo, kept):
    cohort = extracted(demo, task="icustay")
    left = [step.left for step in cohort.flow]
    assert left == [2520, 2512, 1788, 1198, 1198, 1198, 1195, 1195, 1148]
    assert len(kept) == 1198
    assert cohort.labels.sum() <= (kept.unitdischargeoffset > 3 * 1440).sum()


def test_the_missing_vitalperiodic_is_named_before_any_work(demo):
    with pytest.raises(MissingInputError, match=r"vitalperiodic\.csv\.gz"):
        extracted(demo, channels=["heart_rate"])
    with pytest.raises(DataError, match="paper preset of eICU needs a channel of vitalPeriodic"):
        extracted(demo, preset="paper")
