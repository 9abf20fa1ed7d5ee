"""Splits: disjoint by patient, stratified, seeded, of the size asked for, refused when unusable."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.runtime.errors import DataError, MismatchError
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.split_assignment import split_by_subject
from data_preprocess.splits import Splits

SHARES = {"test": 0.2, "val_guide": 0.1, "val_select": 0.1}


@st.composite
def pools(draw):
    """Patients with 1-3 stays each and rare labels."""
    patients = draw(st.integers(20, 120))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    subjects = np.repeat(np.arange(patients) * 7 + 3, rng.integers(1, 4, patients))
    rng.shuffle(subjects)
    return subjects, (rng.random(len(subjects)) < 0.15).astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(pools(), st.integers(0, 1000))
def test_every_stay_is_in_one_split_and_no_patient_in_two(pool, seed):
    subjects, labels = pool
    rows = split_by_subject(subjects, labels, held_out=SHARES, seed=seed)
    assert list(rows) == ["train", *SHARES]
    assert sorted(np.concatenate(list(rows.values()))) == list(range(len(subjects)))
    owners = [set(subjects[chosen]) for chosen in rows.values()]
    assert sum(map(len, owners)) == len(set(subjects))
    for name, share in SHARES.items():
        wanted = round(share * len(subjects))
        assert wanted - 2 * 2 <= len(rows[name]) <= wanted  # short by < 3 stays per stratum


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 60), st.integers(10, 60))
def test_single_stay_patients_fill_absolute_sizes_exactly_and_keep_the_class_shares(seed, a, b):
    labels = np.repeat([0, 1, 2], [300, 60, 40])
    rows = split_by_subject(
        np.arange(400), labels, held_out={"g": a, "s": b}, train_size=120, seed=seed
    )
    assert [len(rows[name]) for name in ("train", "g", "s")] == [120, a, b]
    for chosen in rows.values():
        expected = len(chosen) * np.array([0.75, 0.15, 0.10])
        assert np.abs(np.bincount(labels[chosen], minlength=3) - expected).max() <= 1.5


def test_the_class_of_a_patient_is_the_largest_label_of_its_stays():
    # Ten patients with a survived and a died stay, ninety with two survived stays.
    subjects = np.repeat(np.arange(100), 2)
    labels = np.zeros(200, np.int64)
    labels[:20] = np.tile([0, 1, 1, 0], 5)  # died in the second stay, or in the first
    rows = split_by_subject(subjects, labels, held_out={"test": 0.2}, seed=0)
    assert len(rows["test"]) == 40
    assert labels[rows["test"]].sum() == 2  # 2 of the 10 patients, hence 2 of the 10 deaths


def test_splits_depend_on_the_seed_alone():
    subjects, labels = np.arange(200) % 150, (np.arange(200) % 10 == 0).astype(np.int64)
    first, again, other = (
        split_by_subject(subjects, labels, held_out=SHARES, seed=seed) for seed in (1, 1, 2)
    )
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert not np.array_equal(first["test"], other["test"])


def test_a_rare_class_does_not_vanish_by_rounding():
    labels = np.repeat([0, 1], [196, 4])
    rows = split_by_subject(np.arange(200), labels, held_out=SHARES, seed=0)
    assert all(labels[chosen].sum() == 1 for chosen in rows.values())


def test_train_size_subsamples_train_and_leaves_the_other_splits_alone():
    labels = (np.arange(300) % 5 == 0).astype(np.int64)
    full = split_by_subject(np.arange(300), labels, held_out=SHARES, seed=0)
    small = split_by_subject(np.arange(300), labels, held_out=SHARES, train_size=50, seed=0)
    assert set(small["train"]) < set(full["train"]) and len(small["train"]) == 50
    assert all(np.array_equal(full[name], small[name]) for name in SHARES)


@pytest.mark.parametrize("sizes", [{"held_out": {"g": 60}}, {"held_out": {}, "train_size": 51}])
def test_more_stays_than_there_are_is_an_error_that_names_both_numbers(sizes):
    with pytest.raises(DataError, match=r"(60|51) stays wanted but only 50"):
        split_by_subject(np.arange(50), np.arange(50) % 2, seed=0, **sizes)


@pytest.fixture
def parts(make_dataset):
    names = ("train", "val_guide", "val_select", "test")
    return {name: make_dataset(first_subject=100 * i, seed=i) for i, name in enumerate(names)}


def splits_of(parts):
    return Splits(**parts, normaliser=Normaliser.fit(parts["train"]), fingerprint="f")


def test_good_splits_are_accepted(parts):
    assert [name for name, _ in splits_of(parts).items()] == list(parts)


def test_a_patient_in_two_splits_is_refused(parts, make_dataset):
    parts["test"] = make_dataset(first_subject=111)
    with pytest.raises(DataError, match="patient of row 0 of test is in val_guide too") as caught:
        splits_of(parts)
    assert "111" not in str(caught.value)  # an id is nobody's business


@pytest.mark.parametrize("name", ["train", "val_guide", "val_select", "test"])
def test_a_class_absent_from_a_split_is_refused(parts, name):
    parts[name] = replace(parts[name], labels=np.zeros(12, np.int64))
    with pytest.raises(DataError, match=f"{name} split: no stay of class died"):
        splits_of(parts)


def test_other_channels_are_refused(parts):
    parts["test"] = replace(parts["test"], feature_names=("a", "b"))
    with pytest.raises(DataError, match="train against test: feature_names differ"):
        splits_of(parts)


def test_a_normaliser_of_other_channels_is_refused(parts):
    fitted = Normaliser.fit(parts["train"])
    with pytest.raises(MismatchError, match="the normaliser was fitted on"):
        Splits(**parts, normaliser=replace(fitted, feature_names=("a", "b")), fingerprint="f")


@pytest.fixture
def many(make_dataset):
    sizes = {"train": 240, "val_guide": 80, "val_select": 80, "test": 80}
    return {
        name: make_dataset(n, first_subject=1000 * i) for i, (name, n) in enumerate(sizes.items())
    }


def coarse(rng, n):
    """GCS every four hours: mostly 15, now and then a point less."""
    level = rng.choice([15, 14, 10, 6], size=(n, 1, 1), p=[0.75, 0.1, 0.1, 0.05])
    return np.repeat(level - (rng.random((n, 1, 4)) < 0.05), 2, axis=1).astype(np.float32)


def of_own_values(parts, rng):
    return {
        name: replace(
            part, values=coarse(rng, len(part)), observed=np.ones((len(part), 2, 4), bool)
        )
        for name, part in parts.items()
    }


@pytest.mark.parametrize("seed", range(5))
def test_coarse_series_that_are_equal_by_chance_are_no_leak(many, seed):
    parts = of_own_values(many, np.random.default_rng(seed))
    known = {row.tobytes() for row in parts["train"].values}
    assert sum(row.tobytes() in known for row in parts["test"].values) > 60
    splits_of(parts)


@pytest.mark.parametrize("name", ["test", "val_select"])
def test_stays_that_stand_twice_under_other_ids_are_refused(many, name):
    """All stays are there twice and drawn into splits at random, beside some that are coarse."""
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(80, 9, (200, 2, 4)), coarse(rng, 40)])
    order = rng.permutation(np.repeat(np.arange(240), 2))
    parts, start = {}, 0
    for split, part in many.items():
        values = rows[order[start : start + len(part)]].astype(np.float32)
        parts[split], start = replace(part, values=values), start + len(part)
    other = "val_select" if name == "test" else "test"
    parts[other] = replace(parts[other], values=rng.normal(80, 9, (80, 2, 4)).astype(np.float32))
    with pytest.raises(MismatchError, match=f"series of {name} are also in train"):
        splits_of(parts)


def test_a_few_guidance_rows_in_a_split_that_evaluates_are_a_leak(many):
    """Few of the split, and all that guide."""
    rng = np.random.default_rng(0)
    parts = {
        name: replace(part, values=rng.normal(80, 9, part.values.shape).astype(np.float32))
        for name, part in many.items()
    }
    parts["val_guide"] = parts["val_guide"].take(np.arange(7))
    splits_of(parts)
    parts["test"].values[:7] = parts["val_guide"].values
    with pytest.raises(MismatchError, match="7 of 80 series of test are also in val_guide"):
        splits_of(parts)
