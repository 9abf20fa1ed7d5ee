"""The tilted set: series weighted, or chosen, by exp(m I / s) within each class, so that the mean
influence I is higher by w s.

s is the unguided standard deviation of I in the class, so w is dimensionless; class proportions do
not change. Choosing from a larger pool and weighting all of it are two samples of
one distribution, and neither can leave the data, as a push of the sampler can.
"""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tardiff.diffusion.noise_schedule import Labels
from tardiff.guidance.calibration import Calibration, unguided_scale, winsorised, winsorised_mean

Scores = Float[Tensor, " n"]
Rows = Int[Tensor, " m"]

LARGEST = 16.0  # multiplier at which the search for the asked shift ends
BISECTIONS = 25


def tilted_weights(scores: Scores, y: Labels, w: float) -> Scores:
    """exp(m I / s) of winsorised scores, of mean 1 in every class, with the m that raises the
    weighted mean by w s, or comes nearest."""
    weights = torch.ones_like(scores)
    for label in y.unique().tolist() if w else ():
        mine = y == label
        standard = winsorised(scores[mine]) / unguided_scale(scores[mine])
        weights[mine] = _raised(standard, w)
    return weights


def _raised(standard: Scores, w: float) -> Scores:
    standard = standard - standard.mean()

    def weights(multiplier: float) -> Scores:
        exponent = multiplier * standard
        raised = (exponent - exponent.max()).exp()
        return raised / raised.mean()

    low, high = -LARGEST, LARGEST
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        enough = float((weights(middle) * standard).mean()) >= w
        low, high = (low, middle) if enough else (middle, high)
    return weights(high)


def draw(log_weights: Scores, count: int, *, seed: int) -> Rows:
    """`count` of the series of one class, in proportion to their weights as far as the pool allows,
    in ascending order.

    The set is coupled as closely as the weighted and the unweighted distribution allow (maximal
    coupling) to the first `count` series: with v = weight / mean, one of these stays with chance
    min(1, v), and what is missing is drawn from the rest of the pool in proportion to
    max(v - 1, 0). Equal weights keep them all. Two calls with one seed use the same noise, so sets
    with like weights differ by what the weights change, not by the luck of a second draw.

    Args:
        log_weights: of the whole pool of the class, up to a constant.
        seed: of the noise.
    """
    if count == 0:
        return torch.zeros(0, dtype=torch.int64)
    rng = np.random.default_rng(seed)
    luck = torch.from_numpy(rng.random(count))
    noise = torch.from_numpy(rng.gumbel(size=len(log_weights) - count))
    weights = (log_weights - log_weights.max()).exp()
    weights = weights / weights.mean()
    stays = luck < weights[:count]
    # Of the rest of the pool first what the weights favour, then the next by weight.
    favoured = weights[count:] > 1
    order = (weights[count:] - 1).clamp(min=1e-12).log() + noise
    order = torch.where(favoured, order, log_weights[count:] - 1e6)
    added = order.topk(min(count - int(stays.sum()), len(order))).indices + count
    # A pool too small for the weights gives back the best of what was dropped.
    left = count - int(stays.sum()) - len(added)
    stays[log_weights[:count].masked_fill(stays, -torch.inf).topk(left).indices] = True
    return torch.cat([torch.nonzero(stays)[:, 0], added]).sort().values


def choose(
    scores: Scores, count: int, w: float, *, seed: int, base: Scores | None = None
) -> tuple[Rows, Calibration]:
    """`count` of the series of one class, whose mean score is higher by w s than that of the
    unguided set, which is `draw` of the base weights alone.

    They are drawn with weights exp(base + m I / s) and the noise of the unguided set; w = 0 changes
    nothing. The multiplier m that realises w is found by bisection.

    Args:
        scores: of the whole pool of the class, more than `count` unless w is 0.
        w: shift of the (winsorised) mean, unguided standard deviations.
        seed: of the noise.
        base: log weights of the unguided set; None: equal ones.

    Returns:
        (rows in ascending order, what was realised).
    """
    if count == 0:
        none = Calibration(multiplier=0.0, scale=1.0, requested=0.0, realised=0.0)
        return draw(scores, 0, seed=seed), none
    standard = winsorised(scores) / (scale := unguided_scale(scores))
    base = torch.zeros_like(standard) if base is None else base
    unguided = draw(base, count, seed=seed)
    mean = winsorised_mean(scores[unguided])
    if w == 0:
        return unguided, _outcome(scores[unguided], mean, scale, 0.0, w)

    def drawn(multiplier: float) -> Rows:
        return draw(base + multiplier * standard, count, seed=seed)

    def shift(multiplier: float) -> float:
        return (winsorised_mean(scores[drawn(multiplier)]) - mean) / scale

    # Doubled up to the asked shift, or to where the pool has no more to give; then halved. A few
    # series may not answer a small multiplier, so an equal shift is no end.
    near, far = 0.0, w
    while shift(far) / w < 1 and abs(far) < LARGEST and shift(2 * far) / w >= shift(far) / w:
        near, far = far, 2 * far
    best = min((abs(shift(m) - w), m) for m in (near, far))
    for _ in range(BISECTIONS):
        middle = (near + far) / 2
        best = min(best, (abs(shift(middle) - w), middle))
        near, far = (middle, far) if shift(middle) / w < 1 else (near, middle)
    rows = drawn(best[1])
    return rows, _outcome(scores[rows], mean, scale, best[1], w)


def _outcome(chosen: Scores, mean: float, scale: float, multiplier: float, w: float) -> Calibration:
    realised = (winsorised_mean(chosen) - mean) / scale
    return Calibration(multiplier=multiplier, scale=scale, requested=w, realised=realised)
