"""Sets of other origin: every format gives the same dataset, and wrong content is refused."""

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest

from configs.runtime.errors import DataError, MismatchError, MissingInputError
from data_preprocess.storage.csv_export import write_long_csv
from data_preprocess.storage.dataset_files import save_dataset
from scripts.external_sets import read_set, set_name


@pytest.fixture
def train(make_dataset):
    dataset = make_dataset(40)
    return dataclasses.replace(dataset, observed=np.ones_like(dataset.observed))


@pytest.fixture
def synthetic(train):
    values = train.values + np.float32(0.25)
    return dataclasses.replace(train, values=values, labels=1 - train.labels)


def write_pickle(path, values, labels):
    path.write_bytes(pickle.dumps((values, labels)))


def write_as(kind, path, dataset):
    if kind == "npz":
        save_dataset(path, dataset)
    elif kind == "csv":
        write_long_csv(path, dataset, step_minutes=30.0)
    elif kind == "pkl":
        write_pickle(path, dataset.values, dataset.labels)
    else:
        np.save(path, dataset.values)
        np.save(path.with_name("gan_labels.npy"), dataset.labels)


@pytest.mark.parametrize("kind", ["npz", "csv", "pkl", "npy"])
def test_every_format_gives_the_same_set(tmp_path, train, synthetic, kind):
    path = tmp_path / f"gan.{kind}"
    write_as(kind, path, synthetic)
    found = read_set(path, train, step_minutes=30.0)
    assert set_name(path) == "gan"
    assert (found.feature_names, found.label_names) == (train.feature_names, train.label_names)
    # A table is sorted by the text of its ids, so rows may come in another order.
    order = np.lexsort(found.values[:, :, 0].T), np.lexsort(synthetic.values[:, :, 0].T)
    assert np.allclose(found.values[order[0]], synthetic.values[order[1]], rtol=1e-5)
    assert np.array_equal(found.labels[order[0]], synthetic.labels[order[1]])


def test_table_labels_may_be_numbers(tmp_path, train, synthetic):
    path = tmp_path / "gan.csv.gz"
    write_long_csv(path, synthetic, step_minutes=60.0)
    labels = tmp_path / "gan_labels.csv"
    text = labels.read_text()
    labels.write_text(text.replace("survived", "0").replace("died", "1"))
    found = read_set(path, train, step_minutes=60.0)
    assert np.array_equal(found.class_counts, synthetic.class_counts)
    labels.write_text(text.replace("survived", "well"))
    with pytest.raises(MismatchError, match="its labels are .*well.*expected survived, died"):
        read_set(path, train, step_minutes=60.0)


def test_gaps_are_filled_and_remembered(tmp_path, train, synthetic):
    values = synthetic.values.astype(np.float64)
    values[0, 0, 1:3] = np.nan
    values[1, 1] = np.nan
    write_pickle(tmp_path / "gan.pkl", values, synthetic.labels)
    found = read_set(tmp_path / "gan.pkl", train, step_minutes=60.0)
    assert (~found.observed).sum() == 2 + 4
    assert (found.values[0, 0, 1:3] == found.values[0, 0, 0]).all()
    assert np.allclose(found.values[1, 1], np.median(train.values[:, 1]))


def test_wrong_content_is_refused(tmp_path, train, synthetic):
    path = tmp_path / "gan.pkl"

    def refused(values, labels, match):
        write_pickle(path, values, labels)
        with pytest.raises(MismatchError, match=match):
            read_set(path, train, step_minutes=60.0)

    values, labels = synthetic.values, synthetic.labels
    refused(values.transpose(0, 2, 1), labels, "the last two axes look swapped")
    refused(values[:, :, :3], labels, r"shape \(40, 2, 3\) but the train split is \(n, 2, 4\)")
    refused(values, labels + 1, "labels span 1..2, expected 0..1")
    scaled = (values - values.mean((0, 2), keepdims=True)) / values.std((0, 2), keepdims=True)
    refused(scaled, labels, "100 % of .* lie outside the training range .* clinical units")
    refused(values[:, ::-1], labels, "channels in the order heart_rate")


def test_missing_and_unknown_files_are_refused(tmp_path, train):
    for name in ("gan.pkl", "gan.csv", "gan.npz", "gan.npy"):
        with pytest.raises(MissingInputError, match="does not exist"):
            read_set(tmp_path / name, train, step_minutes=60.0)
    with pytest.raises(DataError):
        read_set(Path(__file__), train, step_minutes=60.0)
