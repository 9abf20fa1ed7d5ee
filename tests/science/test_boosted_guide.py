"""The influence of boosted trees, against boosting once more with other weights."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from scripts.utility import feature_models
from tardiff.guidance.auto_strength import cross_validated_strength
from tardiff.guidance.pool_selection import tilted_weights
from tardiff.influence import boosted_guide
from tardiff.influence.boosted_guide import (
    BOOSTING,
    L2,
    RATE,
    BoostedGuide,
    BoostedInfluence,
    Forest,
    fit_boosted_guide,
)
from tardiff.influence.convex_guide import LabelledDesign
from tardiff.influence.guidance_losses import GuidanceLoss

RANK = GuidanceLoss("rank", 2)


@pytest.fixture(autouse=True)
def fewer_forests(monkeypatch):
    """A third of them, for speed."""
    monkeypatch.setattr(boosted_guide, "FORESTS", 4)


def features(x):
    """Series of one step: their values."""
    return x[:, :, 0].numpy()


def rows(count, seed, *, classes=2, slope=1.0):
    """The class depends on a product of two values; `slope` is what the third says."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, 1, generator=generator)
    noise = torch.randn(count, generator=generator)
    risk = 2 * x[:, 0, 0] * x[:, 1, 0] + slope * x[:, 2, 0] + noise
    levels = torch.linspace(0, 2, classes)[:-1] if classes > 2 else torch.tensor([0.5])
    return x, torch.bucketize(risk, levels)


def fitted(count=500, *, classes=2, slope=1.0):
    x, y = rows(count, 0, classes=classes, slope=slope)
    return fit_boosted_guide(x, y, features=features, num_classes=classes, seed=0), x, y


def seen(guide, count, seed, **which):
    x, y = rows(count, seed, **which)
    return LabelledDesign(guide.design(x), y)


def test_two_trees_by_hand():
    """Two leaves, from the log-odds of the class shares; the second tree starts from the first."""
    leaves = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]])[:, None, :, None]
    y, start = torch.tensor([1, 0, 1, 0]), torch.tensor([-1.0], dtype=torch.float64)
    guide = BoostedGuide(features, (), leaves, y, start)
    w, p = np.array([1.0, 2.0, 1.0, 4.0]), 1 / (1 + np.e)
    first = [
        RATE * (1 * (1 - p) - 2 * p) / (3 * p * (1 - p) + L2),
        RATE * (1 * (1 - p) - 4 * p) / (5 * p * (1 - p) + L2),
    ]
    q = 1 / (1 + np.exp(1 - np.repeat(first, 2)))
    second = [
        RATE * (w * (y.numpy() - q))[side].sum() / ((w * q * (1 - q))[side].sum() + L2)
        for side in ([0, 2], [1, 3])
    ]
    head = guide.refitted(torch.from_numpy(w))
    np.testing.assert_allclose(head[0, :, :2].numpy(), [first, second], rtol=1e-12)


@pytest.mark.parametrize("classes", [2, 3])
def test_leaves_and_values_are_those_of_the_boosting_that_was_fitted(classes):
    x, y = rows(900, 4, classes=classes)  # no two leaves of a tree have one value
    model = HistGradientBoostingClassifier(random_state=0, **BOOSTING).fit(features(x), y.numpy())
    forest = Forest(model, features(x))
    shares = torch.bincount(y).double() / len(y)
    start = shares.log() if classes > 2 else shares[1:].logit()
    guide = BoostedGuide(features, (forest,), forest(features(x))[:, None], y, start)
    other, _ = rows(400, 5, classes=classes)
    logits = guide._logits(guide.head[0], guide.design(other)[:, 0])
    expected = model.decision_function(features(other)).reshape(logits.shape)
    shift = expected.mean(1, keepdims=True) if classes > 2 else 0.0  # softmax does not see it
    own = logits.numpy() - (logits.mean(1, keepdim=True).numpy() if classes > 2 else 0.0)
    np.testing.assert_allclose(own, expected - shift, atol=1e-4)


@pytest.mark.parametrize("classes,kind", [(2, "rank"), (2, "balanced"), (3, "balanced")])
def test_influence_is_the_derivative_in_the_weights(classes, kind, monkeypatch):
    """Series of the fit, and one more, of weight 0 in it. At a scale that is given: at the best one
    the loss does not change with it."""
    monkeypatch.setattr(GuidanceLoss, "best_scale", lambda *_: 0.7)
    guide, x, y = fitted(classes=classes)
    known, loss = seen(guide, 150, 7, classes=classes), GuidanceLoss(kind, classes)
    gradients = guide.leaf_gradients(known, loss)
    extra = seen(guide, 1, 11, classes=classes)
    both = BoostedGuide(
        features,
        guide.forests,
        torch.cat([guide.rows, extra.rows]),
        torch.cat([y, extra.y]),
        guide.start,
    )
    weights = torch.cat([torch.ones(len(y)), torch.zeros(1)]).double()
    influence = guide.influence_of(both.rows, both.y, gradients)
    assert torch.equal(influence[:-1], guide.influence_on(known, loss))
    for row in (0, 17, len(y)):
        step = torch.zeros(len(y) + 1, dtype=torch.float64)
        step[row] = 1e-5
        ends = [both.loss_on(known, loss, both.refitted(weights + s)) for s in (step, -step)]
        derivative = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(-float(influence[row]), derivative, rtol=1e-4, atol=1e-9)


def test_the_rank_loss_is_that_at_the_best_scale_of_each_forest():
    guide, _, _ = fitted()
    known = seen(guide, 150, 7)
    fits = zip(guide.head, known.rows.unbind(1), strict=True)
    logits = [guide._logits(values, rows) for values, rows in fits]
    scales = torch.logspace(-2, 1, 400, dtype=torch.float64)
    grids = [min(RANK.value(s * f, known.y) for s in scales) for f in logits]
    assert guide.loss_on(known, RANK) == pytest.approx(np.mean(grids), abs=1e-4)
    assert guide.loss_on(known, RANK) < np.mean([RANK.value(f, known.y) for f in logits]) - 0.005


def test_the_score_of_a_series_is_that_of_the_guide_whatever_the_batch():
    guide, x, y = fitted()
    known = seen(guide, 150, 7)
    score = BoostedInfluence(guide, guide.leaf_gradients(known, RANK)).score
    assert torch.equal(score(x, y), guide.influence_on(known, RANK))
    assert torch.equal(score(x[40:50], y[40:50]), score(x, y)[40:50])


def test_few_series_too_are_told_apart():
    """Leaves of twenty series, as gbdt has them, would leave one leaf."""
    guide, _, y = fitted(60)
    influence = guide.influence_on(seen(guide, 100, 7), RANK)
    assert all(len(influence[y == k].unique()) > 3 for k in (0, 1))


def test_series_that_influence_favours_lower_the_guidance_loss():
    """The favoured half against the other, both of the same class counts, boosted anew."""
    guide, x, y = fitted(600)
    known_x, known_y = rows(400, 1)
    influence = guide.influence_on(LabelledDesign(guide.design(known_x), known_y), RANK).numpy()
    labels, every, losses = y.numpy(), np.arange(600), []
    order = [every[labels == k][np.argsort(influence[labels == k])] for k in (0, 1)]
    for low in (True, False):
        half = np.concatenate([m[: len(m) // 2] if low else m[len(m) // 2 :] for m in order])
        model = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05)
        model.fit(features(x)[half], labels[half])
        logits = torch.from_numpy(model.decision_function(features(known_x)))
        losses.append(RANK.value(logits[:, None], known_y))
    assert losses[1] < losses[0] - 0.05


def test_a_generator_that_has_a_relation_wrong_is_put_right():
    """In the pool the third value says the opposite of what it says in the guidance rows."""
    guide, _, y = fitted(800, slope=-0.7)
    known, later = (seen(guide, n, seed, slope=0.7) for n, seed in ((500, 1), (3000, 2)))
    found = cross_validated_strength(guide, known, RANK, seed=0)
    assert found.w > 0.2 and found.change < -2 * found.error
    scores = guide.influence_on(known, RANK)
    head = guide.refitted(tilted_weights(scores, y, guide.response * found.w))
    measured = guide.loss_on(later, RANK, head) - guide.loss_on(later, RANK)
    assert abs(measured - found.change) < 0.5 * abs(found.change)


def test_a_strength_allows_for_the_response_of_retrained_trees(monkeypatch):
    """What refitted leaves predict for a tilt is predicted for half the strength."""
    guide, _, _ = fitted(800, slope=-0.7)
    known = seen(guide, 500, 1, slope=0.7)
    found = cross_validated_strength(guide, known, RANK, seed=0)
    monkeypatch.setattr(BoostedGuide, "response", 1.0)
    plain = cross_validated_strength(guide, known, RANK, seed=0)
    assert (found.at(0.1).change, found.at(0.2).change) == (
        plain.at(0.2).change,
        plain.at(0.4).change,
    )


def test_guidance_rows_that_know_nothing_ask_for_next_to_nothing():
    guide, _, _ = fitted(1500)
    asked = [
        cross_validated_strength(guide, seen(guide, 120, seed), RANK, seed=0).w
        for seed in range(1, 4)
    ]
    assert sum(asked) / len(asked) <= 0.1


def test_the_trees_are_those_of_the_downstream_model():
    shared = ("max_leaf_nodes", "l2_regularization", "max_features", "early_stopping")
    theirs = feature_models.BOOSTING
    assert {key: BOOSTING[key] for key in shared} == {key: theirs[key] for key in shared}
    reach = [model["max_iter"] * model["learning_rate"] for model in (BOOSTING, theirs)]
    assert reach[0] == pytest.approx(reach[1])
