"""Influence through boosted trees, against boosting once more with other weights."""

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.boosted_influence import L2, RATE, boosted_influence, boosted_logits
from tardiff.influence.guidance_losses import GuidanceLoss


def rows(count, seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3))
    return x, (x[:, 0] * x[:, 1] + rng.normal(size=count) > 0.5).astype(np.int64)


def test_one_tree_of_two_leaves_by_hand():
    """Leaf values are Newton steps from the log-odds of the weighted shares."""
    weights = torch.tensor([1.0, 2.0, 1.0, 4.0], dtype=torch.float64)
    y = torch.tensor([1, 0, 1, 0])
    leaves = torch.tensor([[1], [1], [2], [2]])
    p = 2 / 8
    first = RATE * (1 * (1 - p) - 2 * p) / (3 * p * (1 - p) + L2)
    second = RATE * (1 * (1 - p) - 4 * p) / (5 * p * (1 - p) + L2)
    found = boosted_logits(weights, y, leaves, torch.tensor([[2], [1]]))
    expected = np.log(p / (1 - p)) + np.array([second, first])
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_the_derivative_is_that_of_boosting_with_other_weights():
    rng = np.random.default_rng(0)
    y, leaves = (
        torch.from_numpy(rng.integers(2, size=40)),
        torch.from_numpy(rng.integers(4, size=(40, 30))),
    )
    known = torch.from_numpy(rng.integers(4, size=(20, 30)))
    weights = torch.ones(40, dtype=torch.float64, requires_grad=True)
    mean = boosted_logits(weights, y, leaves, known).square().mean()
    gradient = torch.autograd.grad(mean, weights)[0]
    for row in (0, 17, 39):
        step = torch.zeros(40, dtype=torch.float64)
        step[row] = 1e-5
        ends = [
            boosted_logits(torch.ones(40, dtype=torch.float64) + s, y, leaves, known)
            .square()
            .mean()
            for s in (step, -step)
        ]
        np.testing.assert_allclose(float(gradient[row]), float(ends[0] - ends[1]) / 2e-5, rtol=1e-6)


def test_series_that_influence_favours_lower_the_guidance_loss():
    """The favoured half against the other, both of the same class counts."""
    (x, y), guide, loss = rows(600, 0), rows(400, 1), GuidanceLoss("rank", 2)
    every = np.arange(600)
    influence = boosted_influence((x, y), every, guide, loss)
    order = [every[y == k][np.argsort(influence[y == k])] for k in (0, 1)]
    halves = [
        np.concatenate(
            [mine[: len(mine) // 2] if low else mine[len(mine) // 2 :] for mine in order]
        )
        for low in (True, False)
    ]
    losses = []
    for half in halves:
        model = HistGradientBoostingClassifier(max_iter=100, learning_rate=0.05).fit(
            x[half], y[half]
        )
        logits = torch.from_numpy(model.decision_function(guide[0]))
        losses.append(loss.value(logits[:, None], torch.from_numpy(guide[1])))
    assert losses[1] < losses[0] - 0.05
