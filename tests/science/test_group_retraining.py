"""T10 of docs/method.md: does influence predict what happens when groups are trained on?

Linear data-modelling score (LDS): Spearman correlation, over stratified half subsets of a pool of
candidates, of the sum of influences with the rank loss on the guidance set after retraining on
train + subset. `bash scripts/test.sh --slow -s tests/science/test_group_retraining.py` prints it.
"""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from classifier.losses import per_sample_loss
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.input_gradient import InfluenceDirection
from tardiff.influence.preconditioner import precondition
from tests.support.toy_task import logits_of, make_task, member, rank_loss, train_many

POOL, SUBSETS, RETRAININGS = 100, 70, 4


def pool_of(task):
    """Half positive, half negative, from series that are in no other split."""
    x, y = task.more
    rows = torch.cat([torch.nonzero(y == k)[:POOL, 0] for k in (0, 1)])
    return x[rows], y[rows]


def half_subsets(y, seed):
    """(subset, candidate) membership; every subset holds half of each class."""
    rng = np.random.default_rng(seed)
    chosen = torch.zeros(SUBSETS, len(y), dtype=torch.bool)
    for subset in chosen:
        for k in (0, 1):
            rows = np.flatnonzero(y.numpy() == k)
            subset[rng.choice(rows, len(rows) // 2, replace=False)] = True
    return chosen


def outcomes(task, pool, chosen, hidden):
    """-rank loss on the guidance set per subset, mean over retrainings."""
    x, y = (torch.cat(pair) for pair in zip(task.train, pool, strict=True))
    times = RETRAININGS if hidden else 1
    members = chosen.repeat_interleave(times, 0)
    weights = torch.cat([torch.ones(len(members), len(task.train[1])), members.float()], 1)
    seeds = list(range(times)) * len(chosen)
    phi = train_many(x, y, weights, seeds, hidden=hidden)
    losses = rank_loss(logits_of(phi, task.guide[0].flatten(1)), task.guide[1])
    return -losses.view(len(chosen), times).mean(1)


def predictions(task, pool, hidden, seed=1000):
    """Influence of every candidate on the rank loss, raw and preconditioned."""
    x, y = task.train
    phi = train_many(x, y, torch.ones(1, len(y)), [seed], hidden=hidden)
    model = member(phi, 0)
    g = guidance_gradient(model, task.guide[0].double(), task.guide[1], GuidanceLoss("rank", 2))
    solved, _ = precondition(model, g, x.double(), damping=0.015, iterations=20)
    return {
        name: InfluenceDirection(model, per_sample_loss, vector)(pool[0].double(), pool[1])[0]
        for name, vector in (("raw", g), ("gauss-newton", solved))
    }


def scores_of(seed, hidden):
    """LDS per predictor and the 95 % point of its permutation distribution."""
    task = make_task(seed, test=10, more=2500)
    pool = pool_of(task)
    chosen = half_subsets(pool[1], seed)
    outcome = outcomes(task, pool, chosen, hidden).numpy()
    sums = {
        name: (chosen.double() @ score).numpy()
        for name, score in predictions(task, pool, hidden).items()
    }
    rng = np.random.default_rng(seed)
    null = [spearmanr(rng.permutation(SUBSETS), outcome).statistic for _ in range(1000)]
    found = {name: float(spearmanr(total, outcome).statistic) for name, total in sums.items()}
    return found | {"band": float(np.quantile(null, 0.95))}


def table(seeds, hidden):
    rows = [scores_of(seed, hidden) for seed in seeds]
    print(f"\nLDS, hidden={hidden}: seed raw gauss-newton band95")
    for seed, row in zip(seeds, rows, strict=True):
        print(f"  {seed}: {row['raw']:+.2f} {row['gauss-newton']:+.2f} {row['band']:.2f}")
    return rows


@pytest.mark.slow
def test_t10_logistic_regression():
    for row in table(range(3), hidden=0):
        assert row["gauss-newton"] >= 0.7


@pytest.mark.slow
def test_t10_multi_layer_perceptron():
    rows = table(range(5), hidden=16)
    scores = np.array([row["gauss-newton"] for row in rows])
    assert scores.mean() >= 0.3
    assert scores.mean() > max(row["band"] for row in rows)
    assert sum(row["gauss-newton"] > row["raw"] for row in rows) >= 3
