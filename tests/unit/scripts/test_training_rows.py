"""Real-only baselines: which rows each trains on, and that shapes, labels and ends series legal."""

import dataclasses

import numpy as np
import pytest

from configs.runtime.errors import DataError
from configs.schema.evaluation import BASELINES
from scripts.utility import training_rows as rows_of
from scripts.utility.fits import run_fits
from scripts.utility.protocols import BASELINE, EncodedArrays, Fit, plan_fits
from scripts.utility.training_rows import baseline_rows, training_rows
from tests.support.evaluation_stand_ins import MeanFitter, make_data, make_series

TRAIN, GUIDE = make_series(0, 60), make_series(5, 20)


WEIGHTS = np.where(TRAIN.x[:, 0, 0] > 0, 3.0, 1.0)
DATA = dataclasses.replace(make_data(), train=TRAIN, guide=GUIDE, train_weights=WEIGHTS)


def rows(name, seed=0):
    return baseline_rows(name, DATA, seed=seed)


def test_guidance_rows_alone():
    x, y = rows("guide_only")
    assert np.array_equal(x, GUIDE.x) and np.array_equal(y, GUIDE.y)


def test_rows_drawn_by_influence_are_real_ones_in_proportion_to_their_weights():
    x, y = rows("reweighted")
    assert np.array_equal(np.bincount(y), rows_of.DRAWS * np.bincount(TRAIN.y))
    known = {
        row.tobytes(): (label, weight)
        for row, label, weight in zip(TRAIN.x, TRAIN.y, WEIGHTS, strict=True)
    }
    drawn = [known[row.tobytes()] for row in x]
    assert [label for label, _ in drawn] == y.tolist()
    shares = [np.mean([w == 3.0 for label, w in drawn if label == k]) for k in (0, 1)]
    for k, share in enumerate(shares):
        mine = WEIGHTS[TRAIN.y == k]
        expected = mine[mine == 3.0].sum() / mine.sum()
        assert share == pytest.approx(expected, abs=0.12) and expected > (mine == 3.0).mean()
    assert not np.array_equal(x, rows("reweighted", seed=1)[0])


@pytest.mark.parametrize(
    "name", [name for name in BASELINES if name not in ("reweighted", "guide_only")]
)
def test_every_baseline_keeps_the_real_rows_first_and_is_repeatable(name):
    x, y = rows(name)
    assert x.dtype == np.float32 and y.dtype == np.int64 and len(x) == len(y)
    assert np.array_equal(x[: len(TRAIN)], TRAIN.x) and np.array_equal(y[: len(TRAIN)], TRAIN.y)
    again = rows(name)
    assert np.array_equal(x, again[0]) and np.array_equal(y, again[1])


@pytest.mark.parametrize("name", ["oversampling", "smote"])
def test_resampled_classes_are_equally_large_and_lie_between_real_rows(name):
    x, y = rows(name)
    counts = np.bincount(y)
    assert counts[0] == counts[1] == np.bincount(TRAIN.y).max()
    added, real = x[len(TRAIN) :], TRAIN.x[TRAIN.y == 1]
    assert set(y[len(TRAIN) :]) == {1}
    if name == "oversampling":
        known = {row.tobytes() for row in real}
        assert all(row.tobytes() in known for row in added)
    else:
        assert (added >= real.min(0) - 1e-6).all() and (added <= real.max(0) + 1e-6).all()


@pytest.mark.parametrize("name", ["jitter", "scaling", "time_warp"])
def test_altered_copies_keep_label_and_nearness_and_differ_by_seed(name):
    x, y = rows(name)
    copies = x[len(TRAIN) :]
    assert np.array_equal(y[len(TRAIN) :], TRAIN.y)
    assert not np.array_equal(copies, TRAIN.x)
    assert not np.array_equal(copies, rows(name, seed=1)[0][len(TRAIN) :])
    distance = np.abs(copies - TRAIN.x).mean()
    assert 0 < distance < np.abs(TRAIN.x - np.roll(TRAIN.x, 1, axis=0)).mean()


def test_strengths_are_those_declared():
    x = np.ones((2000, 2, 12))
    rng = np.random.default_rng(0)
    assert rows_of.jitter(x, rng).std() == pytest.approx(rows_of.JITTER, rel=0.05)
    scaled = rows_of.scaling(x, rng)
    assert scaled[:, :, 0].std() == pytest.approx(rows_of.SCALING, rel=0.05)
    assert np.array_equal(scaled[:, :, 0], scaled[:, :, -1])


def test_warped_time_runs_forward_between_the_same_ends_for_all_channels():
    line = np.tile(np.arange(24.0), (200, 2, 1))
    warped = rows_of.time_warp(line, np.random.default_rng(0))
    assert np.allclose(warped[..., 0], 0) and np.allclose(warped[..., -1], 23)
    assert (np.diff(warped) > 0).all()
    assert np.array_equal(warped[:, 0], warped[:, 1])
    assert np.abs(warped - line).max() > 0.5


def test_guide_rows_are_seen_by_their_baseline_alone(tmp_path):
    data, fitter = dataclasses.replace(make_data(), train_weights=WEIGHTS), MeanFitter()
    fits = plan_fits(
        protocols=["TSTR", "TSRTR"],
        generators=["unguided"],
        ratios=[1.0],
        models=["classifier"],
        seeds=[0],
        baselines=BASELINES,
    )
    run_fits(fits, data, fitter=fitter, cache=tmp_path)
    guide = {row.tobytes() for row in data.guide.x}
    seen = [bool(guide & {row.tobytes() for row in call["train"][0]}) for call in fitter.calls]
    assert sum(seen) == 2
    weights = [call["class_weight"] for call in fitter.calls]
    assert weights.count("balanced") == 1 and len(fitter.calls) == len(fits)
    # Other guidance rows: their baseline is fitted anew, the rest is kept.
    other = dataclasses.replace(data, guide=make_series(9, 20))
    run_fits(fits, other, fitter=fitter, cache=tmp_path)
    assert len(fitter.calls) == len(fits) + 2
    # Other weights: likewise.
    other = dataclasses.replace(data, train_weights=WEIGHTS[::-1].copy())
    run_fits(fits, other, fitter=fitter, cache=tmp_path)
    assert len(fitter.calls) == len(fits) + 3
    x, y = training_rows(Fit(BASELINE, "class_weights", None, "classifier", 0), data)
    assert np.array_equal(x, data.train.x) and np.array_equal(y, data.train.y)


@pytest.mark.parametrize("rows", [4, rows_of.NEIGHBOURS])
def test_smote_without_enough_neighbours_is_refused(rows):
    y = np.zeros(60, np.int64)
    y[:rows] = 1
    few = dataclasses.replace(DATA, train=EncodedArrays(x=TRAIN.x, y=y))
    with pytest.raises(DataError, match=f"smote: a class has {rows} training rows"):
        baseline_rows("smote", few, seed=0)


@pytest.mark.parametrize("name", ["jitter", "scaling", "time_warp"])
def test_masks_behind_the_values_series_as_they_are(name):
    rows = baseline_rows(name, dataclasses.replace(DATA, num_values=1), seed=0)[0]
    copies = rows[len(TRAIN.y) :]
    np.testing.assert_array_equal(copies[:, 1:], TRAIN.x[:, 1:])
    assert (copies[:, 0] != TRAIN.x[:, 0]).any()
