"""Arrays at hand: the three forms, the refusal of a pickle that runs code, and the messages."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.runtime.errors import ConfigError, DataError, MissingInputError
from data_preprocess.sources.arrays import read_files
from data_preprocess.storage.array_files import read_arrays
from data_preprocess.storage.dataset_files import save_dataset
from data_preprocess.storage.safe_pickle import load_array_pickle
from tests.support import sections


def series(n=10, channels=3, steps=5, seed=0):
    values = np.random.default_rng(seed).normal(size=(n, channels, steps)).astype(np.float32)
    values[0, 1, 2] = np.nan
    return values, np.arange(n) % 2


def write_pickle(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return str(path)


def write_npy(path, values, labels):
    np.save(path, values)
    np.save(path.with_name(f"{path.stem}_labels.npy"), labels)
    return str(path)


def read(**paths):
    return sections.read(read_files, "files", **paths)[:3]


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_tardiff_pickles_of_every_protocol_are_read(tmp_path, protocol):
    values, labels = series()
    pool, test, val = read(train=write_pickle(tmp_path / "x.pkl", (values, labels), protocol))
    np.testing.assert_array_equal(pool.values, values)
    np.testing.assert_array_equal(pool.labels, labels)
    assert test is None and val is None
    assert pool.feature_names == ("channel_0", "channel_1", "channel_2")
    assert pool.label_names == ("class_0", "class_1")
    assert len(set(pool.subject_ids)) == 10
    assert any("every series counts as its own patient" in note for note in pool.notes)


class Payload:
    """Creates a file when unpickled by pickle.load."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_runs_code_is_refused_and_runs_nothing(tmp_path, protocol):
    made = tmp_path / "made"
    path = write_pickle(tmp_path / "x.pkl", (series()[0], Payload(made)), protocol)
    with pytest.raises(DataError, match=r"x\.pkl: refused as a pickle of numpy arrays \(it refers"):
        read(train=path)
    assert not made.exists()
    pickle.loads((tmp_path / "x.pkl").read_bytes())  # the payload does work elsewhere
    assert made.exists()


# What could be smuggled past a list of modules: attributes reached through an allowed name.
SMUGGLED = [
    b"cnumpy\nndarray.__class__\n.",
    b"\x80\x04\x8c\x05numpy\x8c\x0dtesting.utils\x93.",
    b"cnumpy._core.multiarray\n_reconstruct.__globals__\n.",
    b"cbuiltins\neval\n(S'1'\ntR.",
    b"cnumpy\nload\n.",
    b"c_codecs\nencode\n(Va\nVrot13\ntR.",
]


@pytest.mark.parametrize("raw", SMUGGLED)
def test_other_names_are_refused(tmp_path, raw):
    (tmp_path / "x.pkl").write_bytes(raw)
    with pytest.raises(DataError, match="refused as a pickle"):
        load_array_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("raw", [b"", b"text, not a pickle", b"\x80\x05\x95\xff", b"(lp0\n"])
def test_garbage_is_refused(tmp_path, raw):
    (tmp_path / "x.pkl").write_bytes(raw)
    with pytest.raises(DataError, match="refused as a pickle"):
        load_array_pickle(tmp_path / "x.pkl")


def test_npy_pairs_are_read_without_pickle(tmp_path):
    values, labels = series()
    pool, _, _ = read(train=write_npy(tmp_path / "x.npy", values, labels[:, None].astype(float)))
    np.testing.assert_array_equal(pool.values, values)
    np.testing.assert_array_equal(pool.labels, labels)
    objects = np.array([Payload(tmp_path / "made")], object)
    np.save(tmp_path / "x.npy", objects, allow_pickle=True)
    with pytest.raises(DataError, match=r"x\.npy: not a plain \.npy array"):
        read(train=str(tmp_path / "x.npy"))
    assert not (tmp_path / "made").exists()


def test_the_kind_of_a_file_may_be_in_capitals(tmp_path):
    x, y = series()
    with (tmp_path / "X.NPZ").open("wb") as plain:
        np.savez(plain, x=x, y=y)
    for name, array in {"Y.NPY": x, "Y_labels.NPY": y}.items():
        with (tmp_path / name).open("wb") as place:
            np.save(place, array)
    for name in ("X.NPZ", "Y.NPY"):
        np.testing.assert_array_equal(read(train=str(tmp_path / name))[0].values, x)


def test_npz_keeps_names_patients_and_what_was_measured(make_dataset, tmp_path):
    dataset = make_dataset(first_subject=40)
    save_dataset(tmp_path / "x.npz", dataset)
    pool, _, _ = read(train=str(tmp_path / "x.npz"))
    np.testing.assert_array_equal(~np.isnan(pool.values), dataset.observed)
    np.testing.assert_array_equal(pool.values[dataset.observed], dataset.values[dataset.observed])
    np.testing.assert_array_equal(pool.subject_ids, dataset.subject_ids)
    assert pool.feature_names == dataset.feature_names and pool.static_names == ("age[years]",)


def test_fresh_patient_ids_collide_with_none(make_dataset, tmp_path):
    save_dataset(tmp_path / "a.npz", make_dataset(first_subject=5))
    values, labels = series(channels=2, steps=4)
    other = write_npy(tmp_path / "b.npy", values, labels)
    channels = ["heart_rate", "temperature"]
    pool, test, val = read(train=other, test=str(tmp_path / "a.npz"), val=other, channels=channels)
    ids = np.concatenate([cohort.subject_ids for cohort in (pool, test, val)])
    assert len(set(ids)) == len(ids)
    save_dataset(tmp_path / "c.npz", make_dataset(subject_ids=np.full(12, -1)))
    assert len(set(read(train=str(tmp_path / "c.npz"))[0].subject_ids)) == 12
    # Hashes may all be below zero; each series became a patient of its own.
    save_dataset(tmp_path / "d.npz", make_dataset(subject_ids=-7 - np.arange(12) // 2))
    assert len(set(read(train=str(tmp_path / "d.npz"))[0].subject_ids)) == 6


def test_patients_of_arrays_are_numbers_or_texts(tmp_path, caplog):
    x, y = series()
    path, names = tmp_path / "x.npz", [f"P{k // 2}" for k in range(10)]
    np.savez(path, x=x, y=y, subject_ids=names)
    assert read(train=str(path))[0].subject_ids.tolist() == [k // 2 for k in range(10)]
    other = tmp_path / "test.npz"
    np.savez(other, x=x, y=y, subject_ids=["A0"] * 5 + ["P4"] * 5)  # P4 is in both files
    train, test, _ = read(train=str(path), test=str(other))
    assert test is not None
    shared = set(train.subject_ids.tolist()) & set(test.subject_ids.tolist())
    assert shared == {train.subject_ids[-1]} == {test.subject_ids[-1]}
    np.savez(other, x=x, y=y, subject_ids=np.arange(10))
    with pytest.raises(DataError, match="texts in one file and numbers in another"):
        read(train=str(path), test=str(other))
    np.savez(path, x=x, y=y, subject_ids=np.arange(10) // 2 + 0.0)
    assert read(train=str(path))[0].subject_ids.tolist() == [k // 2 for k in range(10)]
    for ids, said in (
        (np.arange(10) / 10, "whole numbers or texts.*series 1 has 0.1"),
        (np.arange(3), r"\(3,\)"),
    ):
        np.savez(path, x=x, y=y, subject_ids=ids)
        with pytest.raises(DataError, match=f"subject_ids .*{said}"):
            read(train=str(path))
    np.savez(path, x=x, y=y, patients=names)
    read(train=str(path))
    assert "not read: patients (patients stand in subject_ids)" in caplog.text


@pytest.mark.parametrize("kind", ["U", "S"])
def test_a_patient_that_is_unknown_in_words_is_one_of_its_own(tmp_path, kind):
    x, y = series()
    names = ["nan", "P1", " NaN", "", "P1", "None", "?", "P2", "NA", "nano"]
    np.savez(tmp_path / "x.npz", x=x, y=y, subject_ids=np.array(names).astype(kind))
    pool = read(train=str(tmp_path / "x.npz"))[0]
    assert len(set(pool.subject_ids.tolist())) == 9
    assert pool.subject_ids[1] == pool.subject_ids[4]
    assert "series whose patient is unknown, each a patient of its own: 6" in pool.notes


def test_objects_in_an_npz_are_answered_with_how_to_make_them_plain(tmp_path):
    """It was called no dataset file of this project, which it need not be."""
    x, y = series()
    np.savez(tmp_path / "x.npz", x=x, y=y.astype(str).astype(object))
    with pytest.raises(DataError, match=r"x\.npz: .*Python objects.* become plain by \.astype"):
        read(train=str(tmp_path / "x.npz"))


BAD = {
    r"data has shape \(30, 5\), expected \(N, C, T\)": (np.zeros((30, 5)), np.zeros(30)),
    r"label has shape \(9,\), expected \(10,\)": (series()[0], np.zeros(9)),
    r"label has shape \(10, 2\), expected \(10,\)": (series()[0], np.zeros((10, 2))),
    r"infinite value in series 4, channel 2, step 1": (
        np.where(np.arange(150).reshape(10, 3, 5) == 4 * 15 + 2 * 5 + 1, np.inf, 0.0),
        np.arange(10) % 2,
    ),
    r"label must hold whole numbers": (series()[0], np.full(10, 0.5)),
    r"label must hold whole numbers 0..K-1": (series()[0], np.full(10, -1)),
    r"2 of 10 labels are NaN \(first at row 3\)": (
        series()[0],
        np.where(np.arange(10) % 6 == 3, np.nan, 1),
    ),
    r"dtype <U1, expected numbers": (np.full((10, 3, 5), "a"), np.zeros(10)),
    r"every label is 0": (series()[0], np.zeros(10, int)),
    r"labels go up to 4, but no series is of class 1, 3; number the classes 0..K-1": (
        series()[0],
        np.array([0, 2, 4, 0, 2, 4, 0, 2, 4, 0]),
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_wrong_arrays_are_refused_with_their_shape(tmp_path, message):
    with pytest.raises(DataError, match=message):
        read(train=write_npy(tmp_path / "x.npy", *BAD[message]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (np.zeros((2, 3, 4)), r"holds an array \(2, 3, 4\) of float64, expected the tuple"),
        ((np.zeros((2, 3, 4)), [0, 1]), r"\(an array .*, a list of length 2\), expected two numpy"),
        ({"x": 1}, "holds a dict of length 1"),
    ],
)
def test_pickles_of_another_layout_are_described(tmp_path, content, message):
    with pytest.raises(DataError, match=message):
        read_arrays(Path(write_pickle(tmp_path / "x.pkl", content)), key="data.files.train")


def test_files_that_do_not_fit_together_are_refused(make_dataset, tmp_path):
    first = write_npy(tmp_path / "a.npy", *series())
    longer = write_npy(tmp_path / "b.npy", *series(steps=6))
    with pytest.raises(
        DataError, match=r"data.files.test has shape \(10, 3, 6\) but .* \(10, 3, 5"
    ):
        read(train=first, test=longer)
    with pytest.raises(DataError, match="5 names .* the last two axes look swapped"):
        read(train=first, channels=list("abcde"))
    save_dataset(tmp_path / "c.npz", make_dataset())
    save_dataset(tmp_path / "d.npz", replace(make_dataset(), feature_names=("a", "b")))
    with pytest.raises(DataError, match=r"data.files.val has channels \('a', 'b'\)"):
        read(train=str(tmp_path / "c.npz"), val=str(tmp_path / "d.npz"))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(ConfigError, match="data.files.train"):
        read(train=None)
    with pytest.raises(MissingInputError, match=r"x\.pkl does not exist"):
        read(train=str(tmp_path / "x.pkl"))
    np.save(tmp_path / "x.npy", series()[0])
    with pytest.raises(MissingInputError, match=r"x_labels\.npy does not exist"):
        read(train=str(tmp_path / "x.npy"))
    with pytest.raises(DataError, match="unknown kind of file"):
        read(train=str(tmp_path / "x.csv"))


def test_a_window_that_the_arrays_do_not_have_is_refused(tmp_path):
    path = write_npy(tmp_path / "mine.npy", *series(steps=5))
    assert read(train=path, window_hours=5.0)[0].values.shape[2] == 5
    with pytest.raises(ConfigError, match=r"5 points of data\.files\.train x .* = 5 h"):
        read(train=path, window_hours=3.0)
