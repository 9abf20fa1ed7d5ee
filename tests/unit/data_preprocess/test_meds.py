"""MEDS: a genuine shard against independent code, no look into the future, splits, bad input."""

import datetime
import logging

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

from data_preprocess.export.meds import write_meds
from tests.support.meds_folder import DAY, LABELS, read, small_folder, store

REAL = {
    "heart_rate[bpm]": {"LAB//220045//bpm": lambda x: x},
    "temperature[C]": {
        "LAB//223761//°F": lambda x: (x - 32) * 5 / 9,
        "LAB//223762//°C": lambda x: x,
    },
}
MAPPING = {
    "channels": {
        "heart_rate": {"unit": "bpm", "codes": ["LAB//220045//bpm"], "range": [10, 300]},
        "temperature": {
            "unit": "C",
            "codes": {
                "LAB//223761//°F": {"scale": 5 / 9, "shift": -160 / 9},
                "LAB//223762//°C": {},
            },
        },
    },
    "static": {
        "age": {"unit": "years", "birth": "MEDS_BIRTH"},
        "sex": {"unit": "1=male", "codes": {"GENDER//M": 1, "GENDER//F": 0}},
    },
}


def test_every_value_of_a_real_shard_equals_independent_code(open_data, tmp_path):
    folder = open_data / "meds_demo"
    with duckdb.connect() as connection:
        events = connection.execute(f"FROM '{folder}/data/tuning/0.parquet'").df()
    stays = events[events["code"].str.startswith("ICU_ADMISSION")]
    labels = pd.DataFrame(
        {
            "subject_id": stays["subject_id"],
            "prediction_time": stays["time"] + pd.Timedelta(24, "h"),
            "boolean_value": np.arange(len(stays)) % 2 == 0,
        }
    )
    store(tmp_path / "labels.parquet", labels)
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(MAPPING, allow_unicode=True))
    source = read(
        folder, hours=24.0, labels=tmp_path / "labels.parquet", mapping=tmp_path / "map.yaml"
    )
    cohort = source.pool
    assert cohort.feature_names == tuple(REAL) and len(cohort) == len(labels) == 15
    order = labels.assign(
        text=labels["subject_id"].astype(str)
        + " at "
        + labels["prediction_time"].dt.strftime("%Y-%m-%d %H:%M:%S.%f")
    ).sort_values("text")
    for row, sample in enumerate(order.itertuples()):
        mine = events[events["subject_id"] == sample.subject_id]
        expected = np.full((2, 24), np.nan)
        for channel, codes in enumerate(REAL.values()):
            for hour in range(24):
                start = sample.prediction_time - pd.Timedelta(24 - hour, "h")
                inside = (mine["time"] >= start) & (mine["time"] < start + pd.Timedelta(1, "h"))
                found = [
                    float(convert(np.float64(value)))
                    for code, convert in codes.items()
                    for value in mine[inside & (mine["code"] == code)]["numeric_value"].dropna()
                ]
                expected[channel, hour] = np.mean(found) if found else np.nan
        np.testing.assert_allclose(cohort.values[row], expected, rtol=1e-6)
        assert cohort.labels[row] == sample.boolean_value
        birth = mine[mine["code"] == "MEDS_BIRTH"]["time"].iloc[0]
        years = (sample.prediction_time - birth) / pd.Timedelta(365.25, "D")
        is_male = float("GENDER//M" in set(mine["code"]))
        np.testing.assert_allclose(cohort.static[row], [years, is_male], rtol=1e-5)
    assert len(set(cohort.subject_ids)) == labels["subject_id"].nunique() == 10


@pytest.mark.parametrize(
    ("classes", "name"),
    [
        (("survived", "died"), "label"),
        (("low", "middle", "high"), "Sex[1=male]"),
        (("low", "middle", "high"), "subject"),
    ],
)
def test_a_set_comes_back_as_it_was(tmp_path, make_dataset, classes, name):
    plain = make_dataset(12)
    observed = plain.observed.copy()
    observed[:, 1, 2] = True
    dataset = make_dataset(
        12,
        observed=observed,
        labels=np.arange(12) % len(classes),
        label_names=classes,
        static=np.array([[60.5, 1, 8], [np.nan, 0, 9], [70, np.nan, 8]] * 4, np.float32),
        static_names=("age[years]", "sex[1=male]", name),
    )
    write_meds(tmp_path, dataset, step_minutes=60.0, split="train")
    source = read(tmp_path, classes=list(classes), splits=True)
    assert source.test is None and source.val is None
    cohort = source.pool
    rows = [int(text) for text in sorted(map(str, range(12)))]
    expected = np.where(observed, dataset.values, np.nan)[rows]
    np.testing.assert_array_equal(cohort.values, expected)
    np.testing.assert_array_equal(cohort.labels, dataset.labels[rows])
    np.testing.assert_array_equal(cohort.static, dataset.static[rows])
    for name in ("feature_names", "label_names", "static_names"):
        assert getattr(cohort, name) == getattr(dataset, name)
    assert any(note.startswith("meds_version: 0.4") for note in cohort.notes)


@pytest.fixture
def folder(tmp_path):
    return small_folder(tmp_path)


def test_nothing_from_the_prediction_time_on_is_seen(folder):
    cohort = read(folder).pool
    expected = [[11, np.nan, np.nan, 15], [np.nan, np.nan, 20, np.nan], [np.nan] * 3 + [30]]
    np.testing.assert_array_equal(cohort.values[:, 0], expected)
    assert cohort.labels.tolist() == [1, 0, 1] and cohort.label_names == ("false", "true")
    assert "values at the prediction time or after it, not used: 2" in cohort.notes
    assert [(step.rule, step.removed) for step in cohort.flow if step.removed] == [
        ("no value in the window", 1)  # subject 4: a label without events
    ]


def test_a_subject_with_values_outside_the_window_is_not_said_to_have_none(folder):
    day_before = DAY - datetime.timedelta(days=1)
    moments = [DAY, DAY, day_before, DAY]
    labels = pd.DataFrame({"subject_id": [*LABELS], "boolean_value": [*LABELS.values()]})
    store(folder / "labels.parquet", labels.assign(prediction_time=moments))
    assert [(step.rule, step.removed) for step in read(folder).pool.flow if step.removed] == [
        ("no value in the window", 2)
    ]


def test_changing_the_future_changes_nothing(folder):
    before = read(folder).pool
    path = folder / "data" / "train" / "0.parquet"
    with duckdb.connect() as connection:
        events = connection.execute(f"FROM '{path}'").df()
    events.loc[events["time"] >= DAY, "numeric_value"] = 1.0
    store(path, events)
    np.testing.assert_array_equal(read(folder).pool.values, before.values)


def test_what_cannot_be_used_is_counted(folder):
    """A prediction without a time or a subject, a value that is infinite."""
    before = read(folder).pool
    path = folder / "labels.parquet"
    labels = pd.DataFrame(
        {
            "subject_id": [*LABELS, 1, None],
            "boolean_value": [*LABELS.values(), True, True],
            "prediction_time": [DAY] * len(LABELS) + [None, DAY],
        }
    ).astype({"subject_id": "Int64"})
    store(path, labels)
    events = pd.DataFrame(
        [(1, DAY - datetime.timedelta(hours=1), "hr", np.inf)],
        columns=["subject_id", "time", "code", "numeric_value"],
    )
    store(folder / "data" / "train" / "2.parquet", events)
    after = read(folder).pool
    np.testing.assert_array_equal(after.values, before.values)
    assert after.labels.tolist() == before.labels.tolist()
    assert "samples without a subject or a time, not used: 2" in after.notes
    assert "values that are not finite, not used: 1" in after.notes


def test_a_subject_may_be_asked_about_twice(folder):
    labels = pd.DataFrame(
        {
            "subject_id": [1, 1, 2],
            "prediction_time": [DAY, DAY - datetime.timedelta(hours=2), DAY],
            "integer_value": [2, 0, 0],
        }
    )
    store(folder / "labels.parquet", pd.concat([labels, labels.iloc[:1]]))  # a row twice is one
    cohort = read(folder).pool
    assert cohort.label_names == ("0", "2") and len(cohort) == 3
    assert len(set(cohort.subject_ids)) == 2
    np.testing.assert_array_equal(cohort.values[0, 0], [np.nan, np.nan, 11, np.nan])


def test_splits_of_the_data_set_are_kept_when_asked_for(folder):
    splits = pd.DataFrame({"subject_id": [1, 2, 9], "split": ["train", "held_out", "tuning"]})
    store(folder / "metadata" / "subject_splits.parquet", splits)
    source = read(folder, splits=True)
    assert source.val is None and source.test is not None
    assert source.pool.values[0, 0, 3] == 15 and source.test.values[0, 0, 2] == 20
    assert [len(cohort) for cohort in source.cohorts().values()] == [1, 1]
    assert source.pool.flow[-1].removed == 2


def test_other_spellings_of_columns_and_ids_as_text(folder):
    path = folder / "data" / "train" / "0.parquet"
    with duckdb.connect() as connection:
        events = connection.execute(f"FROM '{path}'").df()
    (folder / "data" / "train" / "1.parquet").unlink()
    renamed = {"subject_id": "patient_id", "numeric_value": "value"}
    store(path, events.rename(columns=renamed).assign(patient_id=events["subject_id"].astype(str)))
    labels = pd.DataFrame({"patient_id": [1, 2], "boolean_value": [True, False]})
    store(folder / "labels.parquet", labels.assign(prediction_time=DAY))
    cohort = read(folder, subject_id="patient_id", value="value").pool
    assert cohort.labels.tolist() == [1, 0] and cohort.values[1, 0, 2] == 20


@pytest.mark.parametrize(
    ("codes", "said"),
    [
        (["hr", "pulse"], "by the column Unit, read as one: `heart_rate[bpm]` (bpm 8, 1/s 2)."),
        ({"hr": {}, "pulse": {"scale": 60}}, ""),
        ({"hr": {"scale": 60}, "pulse": {}}, "`pulse` (1/s 1, bpm 1)"),
    ],
)
def test_a_channel_in_two_units_is_told(folder, caplog, codes, said):
    """Where its codes are converted in several ways, each code in several units."""
    rows = [(1, "pulse", 1.5, "1/s"), (2, "pulse", 1.1, "bpm" if "pulse" in said else "1/s")]
    events = pd.DataFrame(rows, columns=["subject_id", "code", "numeric_value", "Unit"])
    hour = datetime.timedelta(hours=1)
    store(folder / "data" / "train" / "2.parquet", events.assign(time=DAY - hour))
    for path in sorted((folder / "data" / "train").glob("[01].parquet")):
        with duckdb.connect() as connection:
            old = connection.execute(f"FROM '{path}'").df()
        store(path, old.assign(Unit="bpm").drop(index=old.index[old["subject_id"] == 9]))
    (folder / "channels.yaml").write_text(
        yaml.safe_dump({"channels": {"heart_rate": {"unit": "bpm", "codes": codes}}})
    )
    read(folder)
    assert said in caplog.text and ("several units" in caplog.text) == bool(said)


def test_a_covariate_that_some_subjects_lack_is_told(folder, caplog):
    events = pd.DataFrame({"subject_id": [1, 2], "code": ["GENDER//M", "GENDER//F"]})
    store(
        folder / "data" / "train" / "2.parquet",
        events,
        "*, NULL::TIMESTAMP AS time, NULL::FLOAT AS numeric_value",
    )
    mapping = yaml.safe_load((folder / "channels.yaml").read_text())
    mapping["static"] = {"sex": {"unit": "1=male", "codes": {"GENDER//Male": 1, "GENDER//F": 0}}}
    (folder / "channels.yaml").write_text(yaml.safe_dump(mapping))
    with caplog.at_level(logging.INFO):
        read(folder)
    said = "sex[1=male]: unknown for 3 of 4 samples, no event GENDER//F, GENDER//Male without a"
    assert said in caplog.text
