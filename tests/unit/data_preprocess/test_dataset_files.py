"""The .npz form of a dataset: what is written is read back, anything else is refused."""

import numpy as np
import pytest

from configs.runtime.errors import DataError, MissingInputError, UserError
from data_preprocess.storage.dataset_files import load_dataset, load_extra, save_dataset

ARRAYS = ("values", "observed", "labels", "subject_ids", "static")


def test_round_trip_is_exact(make_dataset, tmp_path):
    dataset = make_dataset(static=np.array([[np.nan]] * 12, np.float32))
    save_dataset(tmp_path / "deep" / "x.npz", dataset, {"made": "by test"})
    back = load_dataset(tmp_path / "deep" / "x.npz")
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(back, name), getattr(dataset, name))
        assert getattr(back, name).dtype == getattr(dataset, name).dtype
    assert (back.feature_names, back.label_names) == (dataset.feature_names, dataset.label_names)
    assert load_extra(tmp_path / "deep" / "x.npz") == {"made": "by test"}
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["x.npz"]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(MissingInputError, match=r"nothing\.npz does not exist"):
        load_dataset(tmp_path / "nothing.npz")


def as_empty(path, whole):
    path.write_bytes(b"")


def as_text(path, whole):
    path.write_text("heart_rate,label\n80,0\n")


def as_truncated(path, whole):
    path.write_bytes(whole[: len(whole) // 2])


def as_damaged(path, whole):
    middle = len(whole) // 4
    path.write_bytes(whole[:middle] + b"\xff" * 40 + whole[middle + 40 :])


def as_single_array(path, whole):
    with path.open("wb") as handle:
        np.save(handle, np.zeros(3))


def as_foreign_archive(path, whole):
    np.savez(path, x=np.zeros((2, 3)), y=np.zeros(2))


def as_object_array(path, whole):
    np.savez(path, **{n: np.array([{}], object) for n in (*ARRAYS, "meta")}, allow_pickle=True)


@pytest.mark.parametrize(
    "spoil",
    [
        as_empty,
        as_text,
        as_truncated,
        as_damaged,
        as_single_array,
        as_foreign_archive,
        as_object_array,
    ],
)
def test_anything_else_is_refused_by_name(make_dataset, tmp_path, spoil):
    path = tmp_path / "x.npz"
    save_dataset(path, make_dataset())
    spoil(path, path.read_bytes())
    with pytest.raises(DataError, match=r"x\.npz: not a dataset file of this project"):
        load_dataset(path)


def test_content_that_breaks_the_contract_names_the_file(make_dataset, tmp_path):
    path = tmp_path / "x.npz"
    save_dataset(path, make_dataset())
    with np.load(path) as archive:
        content = dict(archive)
    np.savez(path, **(content | {"labels": np.full(12, 9)}))
    with pytest.raises(DataError, match=r"x\.npz: labels span 9\.\.9"):
        load_dataset(path)


def test_an_unwritable_folder_is_an_error_and_leaves_nothing(make_dataset, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("in the way")
    with pytest.raises(UserError, match="cannot make folder"):
        save_dataset(blocker / "x.npz", make_dataset())
