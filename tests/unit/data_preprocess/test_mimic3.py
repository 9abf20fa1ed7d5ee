"""MIMIC-III extraction on the real demo, against a plain-pandas computation that shares no code."""

import gzip
import shutil
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from configs.runtime.errors import UserError
from data_preprocess.sources.hospital import inclusion_criteria as stays
from data_preprocess.sources.hospital.mimic import MIMIC3, read_mimic3
from tests.support import sections

CHANNELS = [
    "heart_rate",
    "systolic_pressure",
    "diastolic_pressure",
    "mean_pressure",
    "respiratory_rate",
    "temperature",
    "spo2",
    "urine",
]
# channel -> (item ids, lowest, highest); written out here on purpose, not read from the YAML.
PLAIN = {
    "heart_rate": ([211, 220045], 1, 300),
    "systolic_pressure": ([51, 442, 455, 6701, 220179, 220050, 225309], 1, 400),
    "diastolic_pressure": ([8368, 8440, 8441, 8555, 220180, 220051, 225310], 1, 300),
    "mean_pressure": ([52, 443, 456, 6702, 220052, 220181, 225312], 1, 300),
    "respiratory_rate": ([615, 618, 220210, 224690], 1, 70),
    "temperature": ([676, 678, 223762, 223761], 25, 46),
    "spo2": ([646, 220277], 10, 100),
}
PAIRS = [
    (51, 8368),
    (442, 8440),
    (455, 8441),
    (6701, 8555),
    (220179, 220180),
    (220050, 220051),
    (225309, 225310),
]
URINE = [40055, 43175, 40069, 40094, 40715, 40473, 40085, 40057, 40056, 40405, 40428, 40096, 40651]
URINE += [226559, 226560, 226561, 226584, 226563, 226564, 226565, 226567, 226557, 226558]


def extracted(folder, preset="clinical", task="mortality", channels=CHANNELS):
    return sections.read(
        read_mimic3, "mimic3", folder=str(folder), preset=preset, channels=channels, task=task
    ).pool


@pytest.fixture(scope="module")
def demo(open_data):
    return open_data / "mimic3_demo"


@pytest.fixture(scope="module")
def tables(demo):
    times = {"ICUSTAYS": ["intime", "outtime"], "PATIENTS": ["dob"], "CHARTEVENTS": ["charttime"]}
    times |= {"OUTPUTEVENTS": ["charttime"], "ADMISSIONS": ["deathtime"]}
    return {
        name: pd.read_csv(demo / f"{name}.csv.gz", parse_dates=columns, low_memory=False)
        for name, columns in times.items()
    }


def plain_cohort(tables):
    stays_ = tables["ICUSTAYS"].merge(tables["PATIENTS"][["subject_id", "dob", "gender"]])
    stays_ = stays_.merge(tables["ADMISSIONS"][["hadm_id", "hospital_expire_flag", "deathtime"]])
    # By calendar, since pandas cannot subtract dates 300 years apart.
    had = (stays_.intime.dt.month * 100 + stays_.intime.dt.day) >= (
        stays_.dob.dt.month * 100 + stays_.dob.dt.day
    )
    stays_["years"] = stays_.intime.dt.year - stays_.dob.dt.year - ~had
    stays_["hours"] = (stays_.outtime - stays_.intime).dt.total_seconds() / 3600
    first = stays_.sort_values(["intime", "icustay_id"]).groupby("subject_id").icustay_id.first()
    kept = stays_[(stays_.years >= 18) & stays_.icustay_id.isin(first) & (stays_.hours >= 24)]
    # OUTTIME can lie hours after DEATHTIME: these two were not in the unit for 24 h.
    dead_at = (kept.deathtime - kept.intime).dt.total_seconds() / 3600
    assert (dead_at < 24).sum() == 2
    kept = kept[~(dead_at < 24)]
    return stays_, kept.sort_values("icustay_id").reset_index(drop=True)


def plain_rows(tables, kept, start):
    """Clean rows per channel: stay, item, hours from `start`, value."""
    chart = tables["CHARTEVENTS"].rename(columns={"valuenum": "raw"})
    output = tables["OUTPUTEVENTS"].rename(columns={"value": "raw"})
    rows = []
    for name, (ids, low, high) in {**PLAIN, "urine": (URINE, 0, 5000)}.items():
        part = output if name == "urine" else chart[chart.error != 1]
        part = part[part.itemid.isin(ids) & part.icustay_id.isin(kept.icustay_id)].copy()
        value = part.raw.astype(float)
        if name == "temperature":
            value = value.where(value < 60, (value - 32) * 5 / 9)  # no Celsius reads 60
        if name == "spo2":
            value = value.where(value > 1, value * 100)
        part["value"] = value
        part = part[(part.value >= low) & (part.value <= high)]
        part["seconds"] = (part.charttime - part.icustay_id.map(start)).dt.total_seconds()
        rows.append(part[["icustay_id", "itemid", "seconds", "value"]].assign(channel=name))
    return pd.concat(rows)


def plain_joined(rows):
    """One value per stay, channel and time, with swapped pressures put right."""
    keys = ["icustay_id", "channel", "seconds", "itemid"]
    merged = rows.groupby(keys).value.mean().reset_index()
    lookup = merged.set_index(["icustay_id", "seconds", "itemid"]).value.to_dict()
    for high, low in PAIRS:
        for place in [key for key in lookup if key[2] == high]:
            partner = (*place[:2], low)
            if partner in lookup and lookup[place] < lookup[partner]:
                lookup[place], lookup[partner] = lookup[partner], lookup[place]
    merged["value"] = [
        lookup[key] for key in zip(merged.icustay_id, merged.seconds, merged.itemid, strict=True)
    ]
    times = merged.groupby(["icustay_id", "channel", "seconds"]).value
    joined = times.agg(["mean", "sum"]).reset_index()
    joined["value"] = joined["mean"].where(joined.channel != "urine", joined["sum"])
    return joined


def test_the_clinical_preset_equals_plain_pandas_value_for_value(demo, tables):
    every, kept = plain_cohort(tables)
    rows = plain_rows(tables, kept, every.set_index("icustay_id").intime)
    rows = rows[(rows.seconds >= 0) & (rows.seconds < 86400)]
    joined = plain_joined(rows)
    joined["step"] = (joined.seconds // 3600).astype(int)
    steps = joined.groupby(["icustay_id", "channel", "step"]).value.agg(["mean", "sum"])
    expected = np.full((len(kept), len(CHANNELS), 24), np.nan)
    position = {stay: row for row, stay in enumerate(kept.icustay_id)}
    for (stay, channel, step), cell in steps.iterrows():
        value = cell["sum"] if channel == "urine" else cell["mean"]
        expected[position[stay], CHANNELS.index(channel), step] = value
    measured = ~np.isnan(expected).all(axis=(1, 2))
    cohort = extracted(demo)
    assert len(cohort) == measured.sum() == 78
    np.testing.assert_allclose(cohort.values, expected[measured], rtol=1e-6)
    assert np.array_equal(cohort.labels, kept.hospital_expire_flag[measured])
    assert np.array_equal(cohort.subject_ids, kept.subject_id[measured])
    assert (kept.years > 200).any()  # as the release hides ages above 89
    years = np.minimum(kept.years[measured], 89.5)
    np.testing.assert_allclose(cohort.static[:, 0], years + 0.5, atol=0.51)
    assert np.array_equal(cohort.static[:, 1], (kept.gender[measured] == "M").astype(float))
    longer = extracted(demo, task="icustay")
    assert np.array_equal(longer.labels, (kept.hours[measured] > 72).astype(int))


def test_the_paper_preset_equals_plain_pandas(demo, tables):
    chart = tables["CHARTEVENTS"]
    ids = [item for items, _, _ in PLAIN.values() for item in items if item > 200_000]
    first = chart[chart.itemid.isin(ids)].groupby("icustay_id").charttime.min()
    kept = tables["ICUSTAYS"][tables["ICUSTAYS"].icustay_id.isin(first.index)]
    kept = kept.sort_values("icustay_id").reset_index(drop=True)
    rows = plain_rows(tables, kept, first)
    rows = rows[(rows.itemid > 200_000) & (rows.seconds < 86400) & (rows.channel != "urine")]
    joined = plain_joined(rows)
    joined["step"] = ((joined.seconds + 1800) // 3600).astype(int)
    joined["far"] = (joined.seconds - 3600 * joined.step).abs()
    nearest = joined[joined.step < 24].sort_values(["far", "seconds"])
    nearest = nearest.groupby(["icustay_id", "channel", "step"]).value.first()
    expected = np.full((len(kept), 7, 24), np.nan)
    position = {stay: row for row, stay in enumerate(kept.icustay_id)}
    for (stay, channel, step), value in nearest.items():
        expected[position[stay], CHANNELS.index(channel), step] = value
    cohort = extracted(demo, preset="paper", channels=CHANNELS[:7])
    assert cohort.values.shape == expected.shape == (75, 7, 24)
    np.testing.assert_allclose(cohort.values, expected, rtol=1e-6)


def test_the_flow_table_of_the_demo(demo):
    steps = [(step.removed, step.left) for step in extracted(demo).flow]
    expected = [(0, 136), (1, 135), (36, 99), (18, 81), (0, 81), (2, 79), (0, 79), (0, 79), (1, 78)]
    assert steps == expected


def test_plain_and_gzip_tables_upper_and_lower_case_headers_agree(demo, tmp_path):
    upper = tmp_path / "upper"
    upper.mkdir()
    for name in ("ICUSTAYS", "PATIENTS", "ADMISSIONS", "CHARTEVENTS"):
        with gzip.open(demo / f"{name}.csv.gz", "rt") as source:
            header, rest = source.readline(), source.read()
        quoted = ",".join(f'"{column.upper()}"' for column in header.strip().split(","))
        (upper / f"{name}.csv").write_text(f"{quoted}\n{rest}")
    one, other = extracted(demo, channels=CHANNELS[:7]), extracted(upper, channels=CHANNELS[:7])
    assert np.array_equal(one.values, other.values, equal_nan=True)


def test_a_full_release_with_other_counts_is_refused_unless_allowed():
    def note(left=26_149, total=61_532, allow=False, channels=MIMIC3.published.channels):
        section = SimpleNamespace(channels=list(channels), allow_other_counts=allow)
        return stays.published_note(MIMIC3.published, section, left=left, total=total)

    with pytest.raises(UserError, match="difference -1.*allow_other_counts=true"):
        note()
    assert "difference -1" in note(allow=True)[0]
    assert "80 % of them 20,920" in note(left=26_150)[0]
    assert "not the full" in note(total=136)[0]
    assert note(channels=["heart_rate"]) == []


def test_urine_needs_outputevents(demo, tmp_path):
    for name in ("ICUSTAYS", "PATIENTS", "ADMISSIONS", "CHARTEVENTS"):
        shutil.copy(demo / f"{name}.csv.gz", tmp_path)
    with pytest.raises(UserError, match=r"outputevents\.csv\.gz"):
        extracted(tmp_path)
