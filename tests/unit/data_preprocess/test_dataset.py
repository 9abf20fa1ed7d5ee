"""EHRDataset: every broken field is refused with a message that names it."""

from dataclasses import replace

import numpy as np
import pytest
from jaxtyping import config

from configs.runtime.errors import ConfigError, DataError
from data_preprocess.dataset import bare_name, concatenate, index_of, of_class, require_same_task


@pytest.fixture(autouse=True)
def without_runtime_shape_checks():
    """As outside pytest: the contract must hold without jaxtyping's help."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"values": np.zeros((12, 8), np.float32)}, r"values has shape \(12, 8\), expected"),
        ({"values": np.zeros((12, 3, 4), np.float32)}, r"observed has shape \(12, 2, 4\)"),
        ({"labels": np.zeros(11, np.int64)}, "labels has 11 rows but values has 12"),
        ({"labels": np.full(12, 2)}, r"labels span 2..2, expected 0..1 \(survived, died\)"),
        ({"labels": np.full(12, -1)}, "labels span -1..-1"),
        ({"labels": np.zeros(12)}, "labels has dtype float64, expected integer"),
        ({"labels": np.array(1)}, r"labels has shape \(\)"),
        ({"observed": np.ones((12, 2, 4))}, "observed has dtype float64, expected bool"),
        ({"subject_ids": np.arange(3)}, "subject_ids has 3 rows"),
        ({"feature_names": ("a",)}, "1 feature names for 2 channels"),
        ({"feature_names": ("a", "a")}, "feature names repeat"),
        ({"static_names": ()}, r"static has shape \(12, 1\), static_names has 0"),
    ],
)
def test_a_broken_field_is_named(make_dataset, changes, message):
    with pytest.raises(DataError, match=message):
        make_dataset(**changes)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_value_that_is_not_finite_is_located(make_dataset, bad):
    values = make_dataset().values.copy()
    values[3, 1, 2] = bad
    with pytest.raises(DataError, match=r"series 3, channel temperature\[C\], step 2"):
        make_dataset(values=values)


def test_counts_cover_absent_classes(make_dataset):
    dataset = make_dataset(label_names=("a", "b", "c"))
    assert dataset.class_counts.tolist() == [6, 6, 0]
    with pytest.raises(DataError, match=r"guidance set: no stay of class c \(counts \[6, 6, 0\]\)"):
        dataset.require_all_classes("guidance set", "use fewer classes")


def test_take_keeps_rows_together(make_dataset):
    dataset = make_dataset()
    taken = dataset.take(np.array([5, 2]))
    assert taken.subject_ids.tolist() == [5, 2] and taken.labels.tolist() == [1, 0]
    np.testing.assert_array_equal(taken.values[1], dataset.values[2])
    np.testing.assert_array_equal(taken.observed[0], dataset.observed[5])


def test_concatenate_appends_and_drops_static_facts_that_differ(make_dataset):
    first, second = make_dataset(4), make_dataset(6, seed=1)
    both = concatenate(first, second)
    assert len(both) == 10 and both.static.shape == (10, 1)
    np.testing.assert_array_equal(both.values[4:], second.values)
    other = replace(second, static=np.zeros((6, 0), np.float32), static_names=())
    assert concatenate(first, other).static.shape == (10, 0)


def test_another_task_is_refused(make_dataset):
    with pytest.raises(DataError, match="merge: label_names differ"):
        require_same_task(make_dataset(), make_dataset(label_names=("no", "yes")), "merge")


def test_a_stay_ends_with_its_last_measurement(make_dataset):
    observed = np.zeros((3, 2, 4), bool)
    observed[0, 1, 3] = observed[1, 0, :2] = True
    assert make_dataset(3, observed=observed).lengths.tolist() == [4, 2, 0]


def test_a_space_before_the_unit_is_of_neither():
    assert bare_name("HR [bpm]") == bare_name("HR[bpm]") == bare_name("HR") == "HR"
    assert index_of("HR", ("SBP [mmHg]", "HR [bpm]"), "here") == 1


def test_a_name_that_two_units_share_needs_its_unit():
    known = ("hr[bpm]", "bp[mmHg]", "bp[kPa]")
    assert [index_of(name, known, "here") for name in ("hr", "bp[kPa]")] == [0, 2]
    assert index_of("bp", ("bp[kPa]", "bp"), "here") == 1
    with pytest.raises(ConfigError, match=r"here: 'bp' may be bp\[mmHg\] and bp\[kPa\]; give"):
        index_of("bp", known, "here")


def test_a_class_that_is_a_number_is_said_to_be_one():
    assert of_class("1,204", "survived") == "1,204 survived"
    assert of_class("67.5 %", "0") == "67.5 % labelled 0"
    assert of_class("3", "-1") == "3 labelled -1"
