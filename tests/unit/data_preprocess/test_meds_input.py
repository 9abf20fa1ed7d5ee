"""MEDS data sets that are refused: each is one error that says what is wrong."""

import duckdb
import pandas as pd
import pytest
import yaml

from configs.runtime.errors import ConfigError, DataError, MissingInputError
from configs.schema.data_sources import MedsConfig
from data_preprocess.sources.meds.reader import read_meds
from data_preprocess.sources.registry import Settings
from tests.support.meds_folder import DAY, read, small_folder, store


@pytest.fixture
def folder(tmp_path):
    return small_folder(tmp_path)


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
    return DataError, "1 at 2020-01-02 00:00:00.000000 has 2 rows that differ in label"


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


def sex_by_other_codes(folder):
    mapped(folder, static={"sex": {"unit": "1=male", "codes": {"GENDER//Male": 1, "hr": 0}}})
    said = (
        r"no labelled subject .* sex\[1=male\]: 9 events are GENDER//Male or hr, 9 of them with a"
    )
    return DataError, f"{said} time; expected events without a time. Correct the mapping"


def age_by_another_code(folder):
    mapped(folder, static={"age": {"unit": "years", "birth": "BIRTH"}})
    return DataError, r"age\[years\]: 0 events are BIRTH, 0 .*; expected events with a time"


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


def rounded_ids(folder):
    store(folder / "labels.parquet", label_table(subject_id=[1, 2.0**53]))
    return DataError, "labels.parquet: the id 9007199254740992.0 in subject_id is a rounded number"


SPOILED = [misspelt_range, misspelt_section, misspelt_covariate, no_covariate, codes_as_text]
SPOILED += [sex_by_other_codes, age_by_another_code]
SPOILED += [range_reversed, values_as_text, rounded_ids]
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
