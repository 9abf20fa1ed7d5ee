"""Calibration: the multiplier per class whose *realised* shift of the mean score is the asked w.

A raw multiplier of a heavy-tailed score overshoots or falls short by factors; what a user asks
for is the shift that arrives, in unguided standard deviations of the score, so that is what is
solved for: on a pilot of series sampled twice from the same noise, with and without guidance.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from configs.runtime.errors import DataError

log = logging.getLogger(__name__)

WINSOR = 0.01  # share cut at each end: influence has kurtosis above 10
CORRECTIONS = 6
TOLERANCE = 0.05  # of |w|
LARGEST_MULTIPLIER = 64.0

# (label, multiplier) -> scores of the pilot of that class sampled at that multiplier
PilotScores = Callable[[int, float], Tensor]


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Outcome of the pilot of one class.

    Attributes:
        multiplier: what the sampler uses.
        scale: unguided standard deviation s_y of the score.
        requested, realised: shift of the mean score in units of s_y; None where none was asked
            for or the pilot did not measure it.
    """

    multiplier: float
    scale: float
    requested: float | None = None
    realised: float | None = None


def unguided_scale(scores: Tensor) -> float:
    """Standard deviation of the scores winsorised at 1 % and 99 %.

    Raises:
        DataError: there are fewer than two scores, or they do not vary.
    """
    if len(scores) < 2:
        raise DataError(
            f"strength is measured in standard deviations of the unguided score of a class, and "
            f"there is {len(scores)} series; ask for two or more, or for none (generation.counts)"
        )
    scale = float(winsorised(scores).std())
    if not np.isfinite(scale) or scale == 0.0:
        raise DataError(
            "the guidance score does not vary over unguided samples, so it gives no direction; "
            "check the classifier (is it constant?) and the guidance set"
        )
    return scale


def calibrate(pilot: PilotScores, label: int, unguided: Tensor, w: float) -> Calibration:
    """Finds the multiplier by secant steps on the pilot, at most `CORRECTIONS` of them.

    A target out of reach (trust region, bounded score) is reported with a warning, not forced.
    """
    scale, mean = unguided_scale(unguided), winsorised_mean(unguided)
    multiplier, realised = w, 0.0
    best = (float("inf"), 0.0, 0.0)
    bracket: list[tuple[float, float]] = [(0.0, 0.0)]
    for _ in range(CORRECTIONS if w else 0):
        realised = (winsorised_mean(pilot(label, multiplier)) - mean) / scale
        miss = abs(realised - w)
        best = min(best, (miss, multiplier, realised))
        if miss <= TOLERANCE * abs(w):
            break
        bracket.append((multiplier, realised))
        multiplier = _next_multiplier(bracket, w)
    miss, multiplier, realised = best if w else (0.0, 0.0, 0.0)
    if miss > 4 * TOLERANCE * abs(w):
        log.warning(
            "class %d: asked for a shift of %+.2f unguided standard deviations, best realised "
            "%+.2f (multiplier %.3g); the trust region or the data bound it",
            label,
            w,
            realised,
            multiplier,
        )
    return Calibration(multiplier=multiplier, scale=scale, requested=w, realised=realised)


def winsorised_mean(scores: Tensor) -> float:
    """Mean of the scores winsorised at 1 % and 99 %: one outlier must not steer the strength."""
    return float(winsorised(scores).mean())


def winsorised(scores: Tensor) -> Tensor:
    """The scores in double precision, clamped to their quantiles at 1 % and 99 %."""
    low, high = np.quantile(scores.double().cpu().numpy(), [WINSOR, 1 - WINSOR])
    return scores.double().clamp(low, high)


def _next_multiplier(tried: list[tuple[float, float]], w: float) -> float:
    """Between the closest points on both sides of w if there are such, else further out.

    `tried` holds (multiplier, realised); both are taken with the sign of w.
    """
    sign = 1.0 if w > 0 else -1.0
    target = abs(w)
    points = sorted((sign * m, sign * r) for m, r in tried)
    below = [p for p in points if p[1] < target]
    above = [p for p in points if p[1] >= target and p[0] > below[-1][0]] if below else []
    if not above:
        m, r = points[-1]
        grown = m * min(4.0, target / r) if r > 0 else 4.0 * m
        return sign * min(LARGEST_MULTIPLIER, grown)
    (m_low, r_low), (m_high, r_high) = below[-1], above[0]
    share = (target - r_low) / (r_high - r_low)
    # Keep off the ends, so that a flat or noisy response cannot stall the search.
    return sign * (m_low + min(0.9, max(0.1, share)) * (m_high - m_low))
