from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from configs.runtime.errors import DataError
from data_preprocess.dataset import EHRDataset
from data_preprocess.export.long_csv import write_long_csv
from data_preprocess.storage.array_files import labels_of


def _dataset(n: int = 600) -> EHRDataset:
    rng = np.random.default_rng(0)
    return EHRDataset(
        values=rng.normal(80, 9, (n, 2, 3)).astype(np.float32),
        observed=rng.random((n, 2, 3)) < 0.7,
        labels=rng.integers(0, 2, n),
        subject_ids=np.full(n, -1),
        feature_names=("heart_rate[bpm]", "a,b[%]"),
        label_names=("survived", "died"),
        static=np.zeros((n, 0), np.float32),
        static_names=(),
    )


@pytest.mark.parametrize("name", ["set.csv", "set.csv.gz"])
def test_the_table_holds_every_observed_value_bit_for_bit_and_nothing_else(tmp_path, name):
    dataset = _dataset()
    write_long_csv(tmp_path / name, dataset, step_minutes=30.0)
    table = pd.read_csv(tmp_path / name)
    assert list(table.columns) == ["id", "time", "variable", "value"]
    rebuilt = np.full(dataset.values.shape, np.nan, np.float32)
    channel = [dataset.feature_names.index(name) for name in table["variable"]]
    step = (table["time"] / 30.0).to_numpy(int)
    rebuilt[table["id"], channel, step] = table["value"].astype(np.float32)
    assert np.array_equal(~np.isnan(rebuilt), dataset.observed)
    assert np.array_equal(rebuilt[dataset.observed], dataset.values[dataset.observed])
    assert len(table) == dataset.observed.sum()


def test_labels_are_written_by_name(tmp_path):
    dataset = _dataset(20)
    write_long_csv(tmp_path / "set.csv", dataset, step_minutes=60.0)
    labels = pd.read_csv(tmp_path / "set_labels.csv")
    assert list(labels["id"]) == list(range(20))
    assert list(labels["label"]) == [dataset.label_names[label] for label in dataset.labels]
    assert labels_of(tmp_path / "x.csv.gz") == tmp_path / "x_labels.csv"


@pytest.mark.parametrize("names", [("label", "age"), ("age", "ID"), ("age", "Age")])
def test_a_covariate_that_would_take_the_place_of_a_column_is_refused(tmp_path, names):
    dataset = replace(_dataset(20), static=np.zeros((20, 2), np.float32), static_names=names)
    with pytest.raises(DataError, match="set_labels.csv: the columns .*rename"):
        write_long_csv(tmp_path / "set.csv", dataset, step_minutes=60.0)
    assert not [*tmp_path.iterdir()]
