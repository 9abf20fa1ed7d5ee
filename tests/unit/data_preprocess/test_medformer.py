"""Medformer's layout: made-up folders of that form, fixed subjects, memory, and what is refused."""

import tracemalloc

import numpy as np
import pytest

from configs.runtime.errors import ConfigError, DataError, MissingInputError
from data_preprocess.sources.medformer import read_medformer
from tests.support import sections

SUBJECTS = (4, 9, 2, 11)  # the rows are in no order; files are named by subject
LABELS = (0, 1, 1, 0)


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, [np.full((3 + i, 16, 5), 10.0 * i) + np.arange(5) for i in range(4)])
    return tmp_path


def write(root, arrays, labels=LABELS, subjects=SUBJECTS):
    for name in ("Feature", "Label"):
        (root / name).mkdir(exist_ok=True)
    for number, array in zip(subjects, arrays, strict=True):
        np.save(root / "Feature" / f"feature_{number:02d}.npy", array)
    np.save(root / "Label" / "label.npy", np.stack([labels, subjects], axis=1))


def read(folder, **changes):
    return sections.read(read_medformer, "medformer", folder=folder and str(folder), **changes)[:3]


def test_samples_keep_their_subject_label_and_channel(folder):
    pool, test, val = read(folder, classes=["healthy", "ill"])
    assert test is None and val is None
    assert pool.values.shape == (18, 5, 16) and pool.values.dtype == np.float32
    sizes = [3, 4, 5, 6]
    assert pool.subject_ids.tolist() == np.repeat(SUBJECTS, sizes).tolist()
    assert pool.labels.tolist() == np.repeat(LABELS, sizes).tolist()
    expected = np.repeat([0, 10, 20, 30], sizes)[:, None] + np.arange(5)
    assert np.array_equal(pool.values, np.repeat(expected[:, :, None], 16, axis=2))
    assert pool.label_names == ("healthy", "ill")
    assert pool.feature_names[:2] == ("channel_0", "channel_1")


def test_files_are_ordered_by_number_not_by_name(tmp_path):
    arrays = [np.full((1, 4, 2), float(i)) for i in range(120)]
    write(tmp_path, arrays, np.arange(120) % 2, np.arange(120) + 500)
    pool, *_ = read(tmp_path)
    assert np.array_equal(pool.values[:, 0, 0], np.arange(120))


def test_fixed_subjects_become_the_test_and_validation_sets(folder):
    pool, test, val = read(folder, test_subjects=[2], val_subjects=[9, 4])
    assert test is not None and val is not None
    assert set(pool.subject_ids) == {11}
    assert set(test.subject_ids) == {2} and len(test) == 5
    assert set(val.subject_ids) == {4, 9} and len(val) == 7


def test_samples_without_a_value_are_left_out(tmp_path):
    arrays = [np.full((3, 16, 5), 1.0 + i) for i in range(4)]
    arrays[1][2] = np.nan
    write(tmp_path, arrays)
    pool, *_ = read(tmp_path)
    assert len(pool) == 11 and pool.subject_ids.tolist().count(9) == 2
    assert pool.flow[-1].removed == 1 and "no value" in pool.flow[-1].rule


@pytest.mark.parametrize(
    ("value", "said"),
    [(np.inf, "subject 9: an infinite value"), (1e300, "subject 9: .*single precision")],
)
def test_values_that_cannot_be_held_are_named(tmp_path, value, said):
    arrays = [np.full((3, 16, 5), 1.0 + i) for i in range(4)]
    arrays[1][0, 0, 0] = value
    write(tmp_path, arrays)
    with pytest.raises(DataError, match=said):
        read(tmp_path)


def test_two_files_of_one_number_and_complex_numbers_are_refused(tmp_path):
    arrays = [np.full((3, 16, 5), 1.0 + i) for i in range(4)]
    write(tmp_path, arrays)
    features = tmp_path / "Feature"
    (features / "feature_09.npy").rename(features / "feature_4.npy")
    with pytest.raises(DataError, match="two feature files have the number 4"):
        read(tmp_path)
    (features / "feature_4.npy").rename(features / "feature_09.npy")
    np.save(features / "feature_09.npy", arrays[1] + 1j)
    with pytest.raises(DataError, match="complex128, expected numbers"):
        read(tmp_path)


def test_no_second_copy_of_the_values_is_made(tmp_path):
    write(tmp_path, [np.ones((500, 64, 8), np.float32) for _ in range(4)])
    tracemalloc.start()
    pool, *_ = read(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # One array, and the cohort's check for infinities (a byte per value).
    assert peak < 1.5 * pool.values.nbytes


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ["one"]}, "1 class names given, but the data have 2"),
        ({"channels": ["one"]}, "1 channel names given, but the data have 5"),
        ({"test_subjects": [77]}, r"\[77\] are not in label.npy"),
        ({"test_subjects": [2], "val_subjects": [2]}, "in test_subjects and val_subjects"),
        ({"test_subjects": list(SUBJECTS)}, "every subject"),
    ],
)
def test_names_and_subjects_must_fit(folder, changes, message):
    with pytest.raises(DataError, match=message):
        read(folder, **changes)


def test_damaged_folders_are_named(folder):
    with pytest.raises(ConfigError, match=r"data\.medformer\.folder is not set"):
        read(None)
    with pytest.raises(MissingInputError, match=r"label\.npy"):
        read(folder / "Feature")
    first = folder / "Feature" / "feature_04.npy"
    whole = first.read_bytes()
    first.write_bytes(whole[:-100])
    with pytest.raises(DataError, match="feature_04.npy: not a whole"):
        read(folder)
    np.save(first, np.zeros((3, 15, 5)))
    with pytest.raises(DataError, match="expected .samples, time, channel. like"):
        read(folder)
    first.unlink()
    with pytest.raises(DataError, match="3 feature files for 4 rows"):
        read(folder)


def test_a_window_that_the_recordings_do_not_have_is_refused(folder):
    beats = {"window_hours": 16 / 250 / 3600, "step_minutes": 1 / (250 * 60)}
    assert read(folder, **beats)[0].values.shape[2] == 16
    with pytest.raises(ConfigError, match=r"16 points of .* and nothing is cut"):
        read(folder, **beats | {"step_minutes": 1 / (256 * 60)})
