"""What guidance changed: coupled sets, independent ones, none; the values and the picture."""

import csv
import dataclasses

import numpy as np
import pytest

from data_preprocess.dataset import EHRDataset
from scripts.pictures.guidance_change import guidance_change, guidance_change_picture
from scripts.pictures.influence import coupled_weights, influence_of_sets, influence_picture
from scripts.pictures.styles import Styles
from scripts.results.files import write_guidance_change
from scripts.utility.protocols import EncodedArrays

CLASSES = ("survived", "died")


def dataset(seed, rows=400, shift=0.0):
    """Two channels of s.d. 1 and 10, five steps; `shift` s.d. in channel 1, step 3 of class 1."""
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % 2
    values = rng.normal(size=(rows, 2, 5)) * np.array([1.0, 10.0])[:, None]
    values[labels == 1, 1, 3] += 10.0 * shift
    return EHRDataset(
        values=values.astype(np.float32),
        observed=np.ones(values.shape, bool),
        labels=labels,
        subject_ids=np.full(rows, -1),
        feature_names=("heart_rate[bpm]", "lactate"),
        label_names=CLASSES,
        static=np.zeros((rows, 0), np.float32),
        static_names=(),
    )


def coupled(pool, other, number):
    """The pool with its first `number` series replaced by those of `other`."""
    values = pool.values.copy()
    values[:number] = other.values[:number]
    return dataclasses.replace(pool, values=values)


def changed(unguided, guided, influence="not known"):
    return guidance_change(
        dataset(9, 4000),
        unguided,
        {"guided": guided},
        influence,
        realised={"guided": [0.05, None]},
        hours_per_step=0.5,
    )


def test_independent_sets_give_the_difference_of_means_and_its_error():
    unguided, guided = dataset(0), dataset(1, shift=0.5)
    found = changed(unguided, guided)
    scale = dataset(9, 4000).values.std(axis=(0, 2))
    for label in (0, 1):
        a, b = (d.values[d.labels == label] / scale[:, None] for d in (guided, unguided))
        assert found.difference["guided"][label] == pytest.approx(a.mean(0) - b.mean(0), abs=1e-4)
        error = np.sqrt(a.var(0) / len(a) + b.var(0) / len(b))
        assert found.error["guided"][label] == pytest.approx(error, rel=0.15)
    assert found.new["guided"] == [1.0, 1.0]
    assert found.difference["guided"][1, 1, 3] == pytest.approx(0.5, abs=0.25)


def test_shared_series_cancel_in_difference_and_error():
    """20 of 400 series replaced: the error is that of these, not of two samples of 200 a class."""
    unguided = dataset(0)
    guided = coupled(unguided, dataset(1), 20)
    found = changed(unguided, guided)
    scale = dataset(9, 4000).values.std(axis=(0, 2))[:, None]
    expected = (guided.values - unguided.values)[:20:2].sum(0) / scale / 200
    assert found.difference["guided"][0] == pytest.approx(expected, abs=1e-5)
    assert found.new["guided"] == [0.05, 0.05]
    assert found.error["guided"].mean() == pytest.approx(np.sqrt(20) / 200, rel=0.15)
    assert found.error["guided"].mean() < 0.3 * np.sqrt(2 / 200)


def test_equal_sets_differ_in_nothing():
    found = changed(dataset(0), dataset(0))
    assert not found.difference["guided"].any() and not found.error["guided"].any()
    assert "no change" in guidance_change_picture(found).caption


def test_repeated_series_count_as_often_as_they_stand():
    first, second = np.array([[1.0], [1.0], [4.0]]), np.array([[1.0], [2.0]])
    weights = coupled_weights(first, second)
    values = np.concatenate([first, second])[:, 0]
    assert weights @ values == pytest.approx(2.0 - 1.5)
    assert weights @ values**2 == pytest.approx(6.0 - 2.5)


def test_without_a_guided_or_an_unguided_set_there_is_no_picture():
    more = {"realised": {"a": [0.1, 0.1]}, "hours_per_step": 1.0}
    assert guidance_change(dataset(9), None, {"a": dataset(0)}, "", **more) is None
    assert guidance_change(dataset(9), dataset(0), {}, "", **more) is None


def test_influence_lies_where_the_score_looks():
    """A score that is channel 1 at step 3 of class 1 alone; the shift is exact for coupled sets."""
    unguided = dataset(0)
    guided = coupled(unguided, dataset(1, shift=3.0), 40)
    sets = {
        name: EncodedArrays(x=d.values, y=d.labels)
        for name, d in (("unguided", unguided), ("guided", guided))
    }
    found = influence_of_sets(lambda x, y: x[:, 1, 3] * y, sets, CLASSES, seed=0)
    maps = changed(unguided, guided, found).influence
    assert maps[1, 1, 3] == pytest.approx(1.0)
    assert np.abs(np.delete(maps[1].ravel(), 8)).max() < 0.3 and not maps[0].any()
    scores = [d.values[d.labels == 1, 1, 3] for d in (guided, unguided)]
    mean, low, high = found.shifts["died"]["guided"]
    assert mean == pytest.approx((scores[0].mean() - scores[1].mean()) / scores[1].std(), rel=1e-4)
    assert 0 < low < mean < high < mean + 0.2


def test_a_class_of_one_unguided_series_has_no_shift():
    """Its influence has no spread to count in."""
    unguided, guided = dataset(0), dataset(1)
    one = np.append(np.flatnonzero(unguided.labels == 0), np.flatnonzero(unguided.labels == 1)[:1])
    sets = {
        name: EncodedArrays(x=d.values, y=d.labels)
        for name, d in (("unguided", unguided.take(one)), ("guided", guided))
    }
    found = influence_of_sets(lambda x, y: x[:, 1, 3], sets, CLASSES, seed=0)
    assert set(found.shifts) == {CLASSES[0]} and set(found.values) == set(CLASSES)
    assert np.isfinite(found.values[CLASSES[1]]["guided"]).all()
    assert "e+" not in influence_picture(found, Styles(list(sets))).caption


def test_the_values_are_written_and_drawn(tmp_path):
    found = changed(dataset(0), dataset(1, shift=3.0))
    write_guidance_change(tmp_path / "change.csv", found)
    rows = list(csv.DictReader((tmp_path / "change.csv").read_text().splitlines()))
    assert len(rows) == 2 * 2 * 5
    largest = max(rows, key=lambda row: abs(float(row["difference_sd"])))
    where = (largest["class"], largest["channel"], largest["hour"])
    assert where == ("died", "lactate", "1.5") and largest["influence_correlation"] == ""
    picture = guidance_change_picture(found)
    assert "died: 100 % of the series are new" in picture.caption
    assert "survived: influence +0.05 s.d. of the pool, 100 % of the series" in picture.caption
    assert "(lactate, 1.5 hours)" in picture.caption
    drawn = picture.figure.axes[1].collections[0].get_array()
    assert np.allclose(np.asarray(drawn), found.difference["guided"][1])
