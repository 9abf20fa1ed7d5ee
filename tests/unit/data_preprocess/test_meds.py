"""MEDS: a genuine shard against independent code, no look into the future, splits, bad input."""

import datetime

import duckdb
import numpy as np
import pandas as pd
import pytest
import yaml

from configs.runtime.errors import ConfigError, DataError, MissingInputError
from configs.schema.data_sources import MedsConfig
from data_preprocess.export.meds import write_meds
from data_preprocess.sources.meds.reader import read_meds
from data_preprocess.sources.registry import Settings

DAY = datetime.datetime(2020, 1, 2)


def read(folder, *, hours=4.0, **section):
    settings = Settings(window_hours=hours, memory_limit="500MB", threads=1)
    section = {"folder": str(folder)} | {
        key: value if isinstance(value, (bool, list)) else str(value)
        for key, value in section.items()
    }
    return read_meds(MedsConfig(**section), settings)


def store(path, table, kinds="*"):
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.register("frame", table)
        connection.execute(f"COPY (SELECT {kinds} FROM frame) TO '{path}' (FORMAT parquet)")


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


@pytest.mark.parametrize("classes", [("survived", "died"), ("low", "middle", "high")])
def test_a_set_comes_back_as_it_was(tmp_path, make_dataset, classes):
    plain = make_dataset(12)
    observed = plain.observed.copy()
    observed[:, 1, 2] = True
    dataset = make_dataset(
        12,
        observed=observed,
        labels=np.arange(12) % len(classes),
        label_names=classes,
        static=np.array([[60.5, 1], [np.nan, 0], [70, np.nan]] * 4, np.float32),
        static_names=("age[years]", "sex[1=male]"),
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


# subject, hours before the prediction, value; the window is 4 h.
EVENTS = [(1, 4, 10.0), (1, 3.5, 12), (1, 0.001, 15), (1, 0, 99), (1, -1, 99), (2, 2, 20)]
EVENTS += [(2, 5, 99), (3, 1, 30), (9, 1, 99)]
LABELS = {1: True, 2: False, 3: True, 4: False}


@pytest.fixture
def folder(tmp_path):
    rows = [(s, DAY - datetime.timedelta(hours=h), "hr", v) for s, h, v in EVENTS]
    events = pd.DataFrame(rows, columns=["subject_id", "time", "code", "numeric_value"])
    store(tmp_path / "data" / "train" / "0.parquet", events[events["subject_id"] < 3])
    store(tmp_path / "data" / "train" / "1.parquet", events[events["subject_id"] >= 3])
    labels = pd.DataFrame({"subject_id": [*LABELS], "boolean_value": [*LABELS.values()]})
    store(tmp_path / "labels.parquet", labels.assign(prediction_time=DAY))
    mapping = {"channels": {"heart_rate": {"unit": "bpm", "codes": ["hr"], "range": [0, 50]}}}
    (tmp_path / "channels.yaml").write_text(yaml.safe_dump(mapping))
    return tmp_path


def test_nothing_from_the_prediction_time_on_is_seen(folder):
    cohort = read(folder).pool
    expected = [[11, np.nan, np.nan, 15], [np.nan, np.nan, 20, np.nan], [np.nan] * 3 + [30]]
    np.testing.assert_array_equal(cohort.values[:, 0], expected)
    assert cohort.labels.tolist() == [1, 0, 1] and cohort.label_names == ("false", "true")
    assert "values at the prediction time or after it, not used: 2" in cohort.notes
    assert [(step.rule, step.removed) for step in cohort.flow if step.removed] == [
        ("no value in the series table", 1)  # subject 4: a label without events
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


def with_zone(folder):
    store(
        folder / "labels.parquet",
        label_table(),
        "* REPLACE (prediction_time::TIMESTAMPTZ AS prediction_time)",
    )
    return DataError, "only one of the tables has times with a zone"


def time_as_text(folder):
    store(
        folder / "labels.parquet",
        label_table(),
        "* REPLACE (prediction_time::VARCHAR AS prediction_time)",
    )
    return DataError, "times are not time stamps"


def label_table(**columns):
    plain = {"subject_id": [1, 2], "prediction_time": [DAY, DAY], "boolean_value": [True, False]}
    return pd.DataFrame(plain | columns)


def no_label_column(folder):
    store(folder / "labels.parquet", label_table().rename(columns={"boolean_value": "died"}))
    return DataError, "none of boolean_value, .* has values"


def two_label_columns(folder):
    store(folder / "labels.parquet", label_table(integer_value=[1, 0]))
    return DataError, "boolean_value, integer_value of .* choose with data.meds.label"


def only_floats(folder):
    table = label_table(float_value=[1.5, 2.5]).drop(columns="boolean_value")
    store(folder / "labels.parquet", table)
    return DataError, "a float is no class"


def contradiction(folder):
    table = label_table()
    store(folder / "labels.parquet", pd.concat([table, table.assign(boolean_value=[False, False])]))
    return DataError, "1 at 2020-01-02 00:00:00.000000 has 2 different rows of label"


def no_events(folder):
    (folder / "data").rename(folder / "events")
    return MissingInputError, r"data does not exist \(data.meds.folder names it\)"


def no_mapping(folder):
    (folder / "channels.yaml").unlink()
    return MissingInputError, r"channels.yaml does not exist: .* Codes with numbers there: hr \(9\)"


def other_codes(folder):
    mapping = {"channels": {"heart_rate": {"unit": "bpm", "codes": ["HR", "pulse"]}}}
    (folder / "channels.yaml").write_text(yaml.safe_dump(mapping))
    return DataError, r"no value of the codes of channel heart_rate\[bpm\]: HR, pulse.*hr \(9\)"


def no_yaml(folder):
    (folder / "channels.yaml").write_text("channels: [hr]")
    return DataError, "not a mapping of codes"


def twice(folder):
    codes = {"unit": "bpm", "codes": ["hr"]}
    (folder / "channels.yaml").write_text(yaml.safe_dump({"channels": {"a": codes, "b": codes}}))
    return DataError, "the code hr is named twice"


def no_column(folder):
    store(folder / "data" / "train" / "0.parquet", pd.DataFrame({"subject_id": [1], "when": [DAY]}))
    (folder / "data" / "train" / "1.parquet").unlink()
    return DataError, "no column time, code, numeric_value; it has subject_id, when - data.meds.s"


def damaged_metadata(folder):
    (folder / "metadata").mkdir()
    (folder / "metadata" / "dataset.json").write_text("{")
    return DataError, "dataset.json: not the metadata"


def mapped(folder, **top):
    entry = {"unit": "bpm", "codes": ["hr"]} | top.pop("heart_rate", {})
    text = yaml.safe_dump({"channels": {"heart_rate": entry}} | top)
    (folder / "channels.yaml").write_text(text)


def misspelt_range(folder):
    mapped(folder, heart_rate={"rnge": [10, 300]})
    return DataError, r"heart_rate\[bpm\]: unknown rnge; known are codes, range, unit"


def misspelt_section(folder):
    mapped(folder, statics={})
    return DataError, "the mapping: unknown statics; known are channels, static"


def misspelt_covariate(folder):
    mapped(folder, static={"age": {"unit": "years", "brith": "MEDS_BIRTH"}})
    return DataError, r"age\[years\]: unknown brith"


def no_covariate(folder):
    mapped(folder, static={"age": {"unit": "years"}})
    return DataError, r"age\[years\]: expected one of birth, codes, code"


def codes_as_text(folder):
    mapped(folder, heart_rate={"codes": "hr"})
    return DataError, "codes 'hr', expected a list"


def range_reversed(folder):
    mapped(folder, heart_rate={"range": [50, 0]})
    return DataError, r"range \[50, 0\], expected \[low, high\]"


def values_as_text(folder):
    path = folder / "data" / "train" / "0.parquet"
    with duckdb.connect() as connection:
        events = connection.execute(f"FROM '{path}'").df()
    (folder / "data" / "train" / "1.parquet").unlink()
    store(path, events, "* REPLACE (numeric_value::VARCHAR AS numeric_value)")
    return DataError, "numeric_value holds VARCHAR, expected numbers"


SPOILED = [misspelt_range, misspelt_section, misspelt_covariate, no_covariate, codes_as_text]
SPOILED += [range_reversed, values_as_text]
SPOILED += [with_zone, time_as_text, no_label_column, two_label_columns, only_floats, contradiction]
SPOILED += [no_events, no_mapping, other_codes, no_yaml, twice, no_column, damaged_metadata]


@pytest.mark.parametrize("spoil", SPOILED)
def test_a_bad_data_set_is_one_error(folder, spoil):
    kind, message = spoil(folder)
    with pytest.raises(kind, match=message):
        read(folder)


def test_splits_that_are_absent_or_unclear_are_one_error(folder):
    with pytest.raises(MissingInputError, match=r"subject_splits.parquet does not exist"):
        read(folder, splits=True)
    path = folder / "metadata" / "subject_splits.parquet"
    for splits, message in (
        ({"subject_id": [1, 1], "split": ["train", "tuning"]}, "a subject is in two splits"),
        ({"subject_id": [1, 2], "split": ["train", "dev"]}, "unknown splits dev"),
        ({"subject_id": [1], "split": ["tuning"]}, "no labelled subject is in the split train"),
    ):
        store(path, pd.DataFrame(splits))
        with pytest.raises(DataError, match=message):
            read(folder, splits=True)
    with pytest.raises(ConfigError, match="data.meds.folder is not set"):
        read_meds(MedsConfig(), Settings())
