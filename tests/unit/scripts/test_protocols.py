"""Which rows each protocol trains on, and that no test label is within reach of a fit."""

import dataclasses
import inspect

import numpy as np
import pytest

from configs.runtime.errors import DataError
from scripts.utility.downstream import Downstream
from scripts.utility.fits import run_fits
from scripts.utility.protocols import (
    REAL,
    EncodedArrays,
    Fit,
    draw_per_class,
    draw_stratified,
    plan_fits,
    scored_rows,
)
from scripts.utility.training_rows import training_rows
from tests.support.evaluation_stand_ins import NUM_TRAIN, MeanFitter, make_data


def fit(protocol, generator="unguided", ratio=None, seed=0):
    return Fit(protocol, generator, ratio, "classifier", seed)


def test_tstr_trains_on_synthetic_rows_only():
    data = make_data()
    x, y = training_rows(fit("TSTR"), data)
    assert np.array_equal(x, data.synthetic["unguided"].x)
    assert np.array_equal(y, data.synthetic["unguided"].y)
    assert scored_rows(fit("TSTR"), data) is data.test


def test_trts_trains_on_real_and_is_judged_on_synthetic():
    data = make_data()
    x, y = training_rows(fit("TRTS"), data)
    assert np.array_equal(x, data.train.x) and np.array_equal(y, data.train.y)
    assert scored_rows(fit("TRTS"), data) is data.synthetic["unguided"]


def test_ratio_zero_is_the_real_only_baseline_bitwise():
    data = make_data()
    baseline = training_rows(Fit("TRTR", REAL, 0.0, "classifier", 3), data)
    zero = training_rows(fit("TSRTR", ratio=0.0, seed=3), data)
    for left, right, real in zip(baseline, zero, (data.train.x, data.train.y), strict=True):
        assert left.tobytes() == right.tobytes() == real.tobytes()


@pytest.mark.parametrize("ratio", [0.2, 0.5, 1.0, 1.5])
def test_tsrtr_adds_the_asked_number_of_rows_with_the_class_shares_of_the_set(ratio):
    data = make_data()
    source = data.synthetic["unguided"]
    x, y = training_rows(fit("TSRTR", ratio=ratio), data)
    added_x, added_y = x[NUM_TRAIN:], y[NUM_TRAIN:]
    assert np.array_equal(x[:NUM_TRAIN], data.train.x)
    assert len(added_x) == round(ratio * NUM_TRAIN)
    share = len(added_x) / len(source)
    expected = np.bincount(source.y) * share
    assert np.abs(np.bincount(added_y, minlength=2) - expected).max() < 1
    # Every added row is a row of the set with its own label, and none is used twice.
    keys = [row.tobytes() for row in source.x]
    places = [keys.index(row.tobytes()) for row in added_x]
    assert len(set(places)) == len(places)
    assert np.array_equal(source.y[places], added_y)


def test_draws_are_nested_differ_between_seeds_and_depend_on_labels_only():
    labels = np.random.default_rng(0).integers(2, size=200)
    small = draw_stratified(labels, 50, seed=1, where="x")
    large = draw_stratified(labels, 120, seed=1, where="x")
    assert len(np.setdiff1d(small, large)) <= 1
    assert not np.array_equal(small, draw_stratified(labels, 50, seed=2, where="x"))
    assert np.array_equal(small, draw_stratified(labels.copy(), 50, seed=1, where="y"))


def test_a_draw_per_class_takes_all_of_a_small_class():
    labels = np.array([0] * 50 + [1] * 3)
    rows = draw_per_class(labels, [10, 10], np.random.default_rng(0))
    assert np.bincount(labels[rows]).tolist() == [10, 3]
    assert len(np.unique(rows)) == 13 and np.array_equal(rows, np.sort(rows))


def test_a_set_too_small_for_the_ratio_is_refused_with_the_number_to_generate(tmp_path):
    data = make_data()
    fits = plan_fits(
        protocols=["TSRTR"],
        generators=["influence"],
        ratios=[3.0],
        models=["classifier"],
        seeds=[0],
    )
    fitter = MeanFitter()
    with pytest.raises(DataError, match=rf"influence.*generate at least {3 * NUM_TRAIN}"):
        run_fits(fits, data, fitter=fitter, cache=tmp_path)
    assert not fitter.calls
    with pytest.raises(DataError, match=f"at least {3 * NUM_TRAIN}"):
        training_rows(fits[-1], data)


def test_a_shortfall_of_class_rounding_is_met_with_the_whole_set():
    labels = np.array([0] * 9 + [1] * 3)
    assert len(draw_stratified(labels, 14, seed=0, where="x")) == 12
    with pytest.raises(DataError, match="15 series are needed but the set holds 12"):
        draw_stratified(labels, 15, seed=0, where="x")


def test_plan_holds_the_baseline_and_every_combination_once():
    fits = plan_fits(
        protocols=["TSTR", "TSRTR", "TRTS"],
        generators=["unguided", "influence"],
        ratios=[0.5, 1.0],
        models=["classifier", "conv"],
        seeds=[0, 1],
    )
    assert len(fits) == len(set(fits)) == 2 * 2 * (1 + 2 + 2 + 2 * 2)
    assert {c.generator for c in fits if c.protocol == "TRTR"} == {REAL}


def test_minority_is_the_rarer_training_class():
    data = make_data()
    assert data.minority == 1
    flipped = EncodedArrays(x=data.train.x, y=1 - data.train.y)
    assert dataclasses.replace(data, train=flipped).minority == 0


def test_a_fit_has_no_parameter_that_could_carry_test_rows():
    names = set(inspect.signature(Downstream.fit).parameters)
    assert names == {"self", "name", "train", "select", "seed", "class_weight"}
