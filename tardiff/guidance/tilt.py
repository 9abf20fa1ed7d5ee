"""The tilted set: series weighted, or chosen, by exp(w I / s) within each class.

s is the natural standard deviation of the influence I in the class, so w is dimensionless; class
proportions do not change. Choosing from a larger pool and weighting all of it are two samples of
one distribution, and neither can leave the data, as a push of the sampler can.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tardiff.diffusion.noise_schedule import Labels
from tardiff.guidance.calibration import Calibration, natural_scale, winsorised, winsorised_mean

Scores = Float[Tensor, " n"]
Rows = Int[Tensor, " m"]

LARGEST = 16.0  # multiplier at which the search for the asked shift ends
BISECTIONS = 40


def tilted_weights(scores: Scores, y: Labels, w: float) -> Scores:
    """exp(w I / s) of winsorised scores, of mean 1 in every class."""
    weights = torch.ones_like(scores)
    for label in y.unique().tolist():
        mine = y == label
        exponent = w * winsorised(scores[mine]) / natural_scale(scores[mine])
        raised = (exponent - exponent.max()).exp()
        weights[mine] = raised / raised.mean()
    return weights


def choose(scores: Scores, count: int, w: float, *, seed: int) -> tuple[Rows, Calibration]:
    """`count` of the series of one class, drawn so that their mean score is higher by w s.

    Drawn without replacement with chances exp(m I / s) (Gumbel top-k). A pool that is not endless
    runs out of high scores, so the multiplier m that realises w is found by bisection, on one
    draw of the noise: no series is sampled for it.

    Args:
        scores: of the whole pool of the class, at least `count`.
        w: shift of the (winsorised) mean, natural standard deviations; 0 takes the first `count`.
        seed: of the noise.

    Returns:
        (rows in ascending order, what was realised).
    """
    if count == 0:
        empty = torch.zeros(0, dtype=torch.int64)
        return empty, Calibration(multiplier=0.0, scale=1.0, requested=w, realised=0.0)
    scale, mean = natural_scale(scores), winsorised_mean(scores)
    if w == 0:
        return torch.arange(count), _outcome(scores[:count], mean, scale, 0.0, w)
    noise = torch.from_numpy(np.random.default_rng(seed).gumbel(size=len(scores)))
    standard = winsorised(scores) / scale

    def drawn(multiplier: float) -> Rows:
        return (multiplier * standard + noise).topk(count).indices.sort().values

    low, high = sorted((0.0, LARGEST if w > 0 else -LARGEST))
    best: tuple[float, float, Rows] | None = None
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        rows = drawn(middle)
        realised = (winsorised_mean(scores[rows]) - mean) / scale
        if best is None or abs(realised - w) < best[0]:
            best = (abs(realised - w), middle, rows)
        low, high = (middle, high) if realised < w else (low, middle)
    assert best is not None
    return best[2], _outcome(scores[best[2]], mean, scale, best[1], w)


def _outcome(chosen: Scores, mean: float, scale: float, multiplier: float, w: float) -> Calibration:
    realised = (winsorised_mean(chosen) - mean) / scale
    return Calibration(multiplier=multiplier, scale=scale, requested=w, realised=realised)
