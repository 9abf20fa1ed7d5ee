"""Gradient boosting and random convolutions as downstream models."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from classifier.training import FitRecipe
from scripts.utility.downstream import Downstream
from tests.support.evaluation_stand_ins import NORMALISER, make_series

MODELS = ("gbdt", "rocket")


def downstream(**recipe):
    return Downstream(
        model="conv", recipe=FitRecipe(**recipe), num_classes=2, normaliser=NORMALISER
    )


def split(seed=0, rows=240, shift=0.7):
    series = [make_series(seed + k, rows, shift) for k in range(3)]
    return [(part.x, part.y) for part in series]


@pytest.mark.parametrize("name", MODELS)
def test_learns_what_can_be_learnt_and_gives_probabilities(name):
    train, select, test = split()
    p = downstream().fit(name, train, select, seed=0)(test[0])
    assert p.shape == (240, 2)
    assert np.allclose(p.sum(axis=1), 1) and (p >= 0).all()
    assert roc_auc_score(test[1], p[:, 1]) > 0.85


@pytest.mark.parametrize("name", MODELS)
def test_learns_nothing_from_permuted_labels(name):
    train, select, test = split()
    rng = np.random.default_rng(0)
    shuffled = (train[0], rng.permutation(train[1]))
    p = downstream().fit(name, shuffled, (select[0], rng.permutation(select[1])), seed=0)(test[0])
    assert abs(roc_auc_score(test[1], p[:, 1]) - 0.5) < 0.25


@pytest.mark.parametrize("name", MODELS)
def test_same_seed_same_model_other_seed_other_model(name):
    train, select, test = split(rows=80)
    first, again, other = (
        downstream().fit(name, train, select, seed=seed)(test[0]) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", MODELS)
def test_capacity_is_chosen_on_the_select_rows(name):
    train, select, _ = split(rows=80)
    inverted = (select[0], 1 - select[1])
    right, wrong = (
        roc_auc_score(select[1], downstream().fit(name, train, rows, seed=0)(select[0])[:, 1])
        for rows in (select, inverted)
    )
    assert right > wrong


@pytest.mark.parametrize("name", MODELS)
def test_balanced_weights_raise_the_probability_of_the_rare_class(name):
    train, select, test = split(rows=80)
    plain = downstream().fit(name, train, select, seed=0)(test[0])
    balanced = downstream(class_weight="balanced")
    assert balanced.fit(name, train, select, seed=0)(test[0])[:, 1].mean() > plain[:, 1].mean()


@pytest.mark.parametrize("name", MODELS)
def test_more_classes(name):
    train, select, test = (make_series(seed, 120) for seed in range(3))
    y = np.arange(120) % 3
    parts = [(part.x + y[:, None, None].astype(np.float32), y) for part in (train, select, test)]
    model = dataclasses.replace(downstream(), num_classes=3)
    p = model.fit(name, parts[0], parts[1], seed=0)(parts[2][0])
    assert p.shape == (120, 3)
    assert (p.argmax(1) == y).mean() > 0.6


def test_only_what_decides_a_fit_is_in_its_description():
    assert downstream().describe("gbdt") == downstream(max_epochs=3).describe("gbdt")
    balanced = downstream(class_weight="balanced")
    assert downstream().describe("gbdt") != balanced.describe("gbdt")
    assert downstream().describe("classifier") != downstream(max_epochs=3).describe("classifier")
    assert downstream().describe("gbdt") != downstream().describe("rocket")


@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_recurrent_judges_do_not_depend_on_the_task_classifier(name):
    own = dataclasses.replace(downstream(), model="conv", model_args={})
    assert own.describe(name) == downstream().describe(name) != downstream().describe("classifier")
    own.check([name], length=12)
