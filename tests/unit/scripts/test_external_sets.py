"""Sets of other origin: every format gives the same dataset, and wrong content is refused."""

import dataclasses
import pickle
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.runtime.errors import DataError, MismatchError, MissingInputError
from data_preprocess.dataset import EHRDataset
from data_preprocess.export.long_csv import write_long_csv
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
    elif kind == "plain.npz":
        np.savez(path, x=dataset.values, y=dataset.labels)
    else:
        np.save(path, dataset.values)
        np.save(path.with_name("gan_labels.npy"), dataset.labels)


@pytest.mark.parametrize("kind", ["npz", "csv", "pkl", "npy", "plain.npz"])
def test_every_format_gives_the_same_set(tmp_path, train, synthetic, kind):
    path = tmp_path / f"gan.{kind}"
    write_as(kind, path, synthetic)
    found = read_set(path, train, step_minutes=30.0)
    assert set_name(path) == path.name.removesuffix(path.suffix)
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


def test_labels_of_arrays_may_be_the_names_of_classes(tmp_path, train, synthetic):
    path = tmp_path / "gan.npz"
    names = np.array(train.label_names)
    for words in (names[synthetic.labels], names[synthetic.labels].astype(bytes)):
        np.savez(path, x=synthetic.values, y=words)
        assert read_set(path, train, step_minutes=30.0).labels.tolist() == synthetic.labels.tolist()
    np.savez(path, x=synthetic.values, y=np.where(synthetic.labels == 1, "dead", names[0]))
    with pytest.raises(DataError, match=r"0..K-1 or names of classes \(.*\), found .*'dead'"):
        read_set(path, train, step_minutes=30.0)


def test_gaps_are_filled_and_remembered(tmp_path, train, synthetic):
    values = synthetic.values.astype(np.float64)
    values[0, 0, 1:3] = np.nan
    values[1, 1] = np.nan
    write_pickle(tmp_path / "gan.pkl", values, synthetic.labels)
    found = read_set(tmp_path / "gan.pkl", train, step_minutes=60.0)
    assert (~found.observed).sum() == 2 + 4
    assert (found.values[0, 0, 1:3] == found.values[0, 0, 0]).all()
    assert np.allclose(found.values[1, 1], np.median(train.values[:, 1]))


def test_a_code_for_missing_is_told(tmp_path, train, synthetic, caplog):
    values = synthetic.values.copy()
    values[::2, 0, 3] = -999
    np.savez(tmp_path / "x.npz", x=values, y=synthetic.labels)
    read_set(tmp_path / "x.npz", train, step_minutes=60.0)
    name = train.feature_names[0]
    assert f"values of `{name}` are -999, most others" in caplog.text
    assert "write NaN for what is missing" in caplog.text


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


def test_what_is_absent_is_refused_or_said(tmp_path, train, synthetic, caplog):
    values = synthetic.values.astype(np.float64)

    def refused(change, match):
        other = values.copy()
        change(other)
        write_pickle(tmp_path / "gan.pkl", other, synthetic.labels)
        with pytest.raises(MismatchError, match=match):
            read_set(tmp_path / "gan.pkl", train, step_minutes=60.0)

    refused(lambda v: v[:, 1].fill(np.nan), f"no value of {re.escape(train.feature_names[1])}")
    refused(lambda v: v[3:5].fill(np.nan), "2 of 40 series have no value at all")
    refused(lambda v: v[:, :, 1:].fill(np.nan), "3 of 4 steps are empty in every series")
    refused(lambda v: v[0].fill(1e39), "values up to 1e[+]39")
    values[:, :, 3] = np.nan
    values[0, 0] = np.nan
    write_pickle(tmp_path / "gan.pkl", values, synthetic.labels)
    read_set(tmp_path / "gan.pkl", train, step_minutes=60.0)
    assert "1 of 4 steps are empty" in caplog.text
    assert "1 times a series has no value of a channel" in caplog.text


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2), st.integers(0, 2), st.floats(0.7, 1.4), st.integers(0, 99), st.booleans())
def test_two_channels_within_one_range_are_seen_to_be_swapped(first, second, width, seed, swap):
    """Heart rate, urine and pressure fill one range, with other medians and spreads."""
    rng = np.random.default_rng(seed)
    shape = (60, 8)

    def series():
        kinds = [rng.normal(85, 8, shape), rng.gamma(1.2, 60, shape), rng.normal(140, 15, shape)]
        return np.clip(np.stack(kinds, axis=1), 0, 400)

    bounds = np.stack([np.zeros((3, 8)), np.full((3, 8), 400.0)])
    train = EHRDataset(
        values=np.concatenate([series(), bounds]).astype(np.float32),
        observed=np.ones((62, 3, 8), bool),
        labels=np.arange(62) % 2,
        subject_ids=np.arange(62),
        feature_names=("hr", "urine", "sbp"),
        label_names=("a", "b"),
        static=np.zeros((62, 0), np.float32),
        static_names=(),
    )
    values = series()
    centre = np.median(values, axis=(0, 2), keepdims=True)
    values = np.clip(centre + width * (values - centre), 0, 400)  # a generator of another spread
    order = [0, 1, 2]
    if swap:
        order[first], order[second] = second, first
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "gan.pkl"
        write_pickle(path, values[:, order], np.arange(60) % 2)
        if swap and first != second:
            with pytest.raises(MismatchError, match="look swapped"):
                read_set(path, train, step_minutes=60.0)
        else:
            read_set(path, train, step_minutes=60.0)


def test_tables_on_another_clock_or_with_other_names_are_refused(
    tmp_path, train, synthetic, caplog
):
    path = tmp_path / "gan.csv"
    write_long_csv(path, synthetic, step_minutes=1.0)
    with pytest.raises(DataError, match="3 of 4 steps are empty.*taken as minutes") as error:
        read_set(path, train, step_minutes=60.0)
    assert "Whatever data.table says, a set as a table has columns id" in str(error.value)
    write_long_csv(path, synthetic, step_minutes=60.0)
    text = path.read_text()
    name = train.feature_names[1]
    path.write_text(text.replace(name, name.split("[")[0] + "_"))
    with pytest.raises(DataError, match=f"no value of {re.escape(name)}; the table has"):
        read_set(path, train, step_minutes=60.0)
    kept = [line for line in text.splitlines() if not line.startswith(("1,", "3,", "5,"))]
    path.write_text("\n".join(kept))
    read_set(path, train, step_minutes=60.0)
    assert "no value in the series table: 3 series left out" in caplog.text
    path.write_text("\n".join(line for line in kept if line.startswith(("id", "0,"))))
    with pytest.raises(MismatchError, match="39 of 40 labelled series have no value"):
        read_set(path, train, step_minutes=60.0)


def test_another_form_says_which_would_do(tmp_path, train):
    np.savez(tmp_path / "gan.npz", data=train.values, truth=train.labels)
    with pytest.raises(DataError, match=r"its arrays are data, truth.*x\.npy.*x_labels\.npy"):
        read_set(tmp_path / "gan.npz", train, step_minutes=60.0)
    (tmp_path / "gan.pt").write_bytes(b"x")
    with pytest.raises(DataError, match=r"unknown kind of set; expected x\.npy.*\.pkl"):
        read_set(tmp_path / "gan.pt", train, step_minutes=60.0)
    with pytest.raises(MissingInputError, match="synthetic= names it"):
        read_set(tmp_path / "gone.npz", train, step_minutes=60.0)


def test_a_scaled_data_set_file_of_other_origin_is_refused(tmp_path, train):
    save_dataset(tmp_path / "gan.npz", dataclasses.replace(train, values=train.values * 0))
    with pytest.raises(MismatchError, match="outside the training range"):
        read_set(tmp_path / "gan.npz", train, step_minutes=60.0)
