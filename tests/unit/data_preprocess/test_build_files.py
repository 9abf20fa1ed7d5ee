"""build on arrays at hand: own splits, fill values, and arrays that cannot be used."""

from dataclasses import replace

import numpy as np
import pytest

from configs.runtime.errors import DataError, MismatchError, MissingInputError
from configs.schema.data_sources import FilesConfig
from configs.schema.experiment import DataConfig
from data_preprocess.build import ensure_built, load_splits


def arrays(tmp_path, values, labels):
    np.save(tmp_path / "x.npy", values)
    np.save(tmp_path / "x_labels.npy", labels)
    files = FilesConfig(train=str(tmp_path / "x.npy"))
    return DataConfig(source="files", dir=str(tmp_path / "out"), files=files)


def noise(n=60, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 2, 5)).astype(np.float32)


def constant(values):
    values[:, 1] = 7.0


def unmeasured(values):
    values[:, 1] = np.nan


def infinite(values):
    values[5, 0, 0] = np.inf


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (constant, "channel channel_1: only 7 in the train split; a constant channel"),
        (unmeasured, "no measurement of channel_1"),
        (infinite, "infinite value in series 5, channel 0"),
    ],
)
def test_bad_arrays_stop_the_build_and_leave_nothing(tmp_path, spoil, message):
    values = noise()
    spoil(values)
    with pytest.raises(DataError, match=message):
        ensure_built(arrays(tmp_path, values, np.arange(60) % 2))
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_a_file_that_is_not_there_is_said_before_what_else_differs(tmp_path):
    data = arrays(tmp_path, noise(), np.arange(60) % 2)
    ensure_built(data)
    other = replace(data, seed=7, files=replace(data.files, test=str(tmp_path / "nope.npz")))
    for need in (ensure_built, load_splits):
        with pytest.raises(MissingInputError, match=r"nope.npz does not exist .data.files.test n"):
            need(other)
    (tmp_path / "nope.npz").touch()
    with pytest.raises(MismatchError, match=r"data.files.test: None -> .*; data.seed: 0 -> 7"):
        ensure_built(other)


def test_gaps_are_filled_with_the_train_median_not_that_of_the_pool(tmp_path):
    values = noise(200)
    values[::5, 1] = np.nan
    data = arrays(tmp_path, values, np.arange(200) % 2)
    ensure_built(data)
    splits = load_splits(data)
    median = np.float32(np.median(splits.train.values[:, 1][splits.train.observed[:, 1]]))
    assert median != np.float32(np.nanmedian(values[:, 1]))
    gaps = [split.values[:, 1][~split.observed[:, 1]] for _, split in splits.items()]
    assert all(len(gap) for gap in gaps) and set(np.concatenate(gaps)) == {median}


def test_a_class_too_rare_for_all_splits_is_an_error(tmp_path):
    labels = (np.arange(60) < 3).astype(int)
    with pytest.raises(DataError, match="train split: no stay of class class_1"):
        ensure_built(arrays(tmp_path, noise(), labels))


def test_own_val_and_test_files_become_those_splits(tmp_path):
    data = arrays(tmp_path, noise(), np.arange(60) % 2)
    for name, n in (("v", 20), ("t", 30)):
        np.save(tmp_path / f"{name}.npy", noise(n, seed=n))
        np.save(tmp_path / f"{name}_labels.npy", np.arange(n) % 2)
    files = replace(data.files, val=str(tmp_path / "v.npy"), test=str(tmp_path / "t.npy"))
    data = replace(data, files=files)
    ensure_built(data)
    splits = load_splits(data)
    sizes = [len(split) for _, split in splits.items()]
    assert sizes == [60, 10, 10, 30]
    np.testing.assert_allclose(splits.test.values, noise(30, seed=30))
    val = np.concatenate([splits.val_guide.values, splits.val_select.values])
    assert sorted(val[:, 0, 0].tolist()) == sorted(noise(20, seed=20)[:, 0, 0].tolist())
