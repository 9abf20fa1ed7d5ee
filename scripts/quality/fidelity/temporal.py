"""Temporal structure: mean curves, autocorrelation, and correlation between channels."""

import numpy as np
from jaxtyping import Float
from torch import Tensor

from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import FIDELITY, metric, times

MAX_ROWS = 10_000
MAX_LAG = 8
CONSTANT = 1e-6  # standard deviation up to which a channel is constant but for rounding


def lagged_correlations(
    x: Float[Tensor, "n channel time"], max_lag: int
) -> Float[np.ndarray, "lag channel channel"]:
    """Correlation of channel i at t with channel j at t + lag, pooled over series and t.

    Lag 0 first, up to `max_lag`. Differences between series count (one with a high mean
    pressure keeps it), so shuffling values between series shows. 0 where a channel is constant.
    """
    series = x.double().numpy().transpose(1, 0, 2)
    channels, _, length = series.shape
    result = []
    for lag in range(max_lag + 1):
        both = np.concatenate([series[:, :, : length - lag], series[:, :, lag:]])
        covariance = np.cov(both.reshape(2 * channels, -1), bias=True)
        spread = np.sqrt(np.diag(covariance))
        spread[spread <= CONSTANT] = np.inf
        result.append((covariance / np.outer(spread, spread))[:channels, channels:])
    return np.stack(result)


def structure_difference(
    first: Float[np.ndarray, "lag channel channel"],
    second: Float[np.ndarray, "lag channel channel"],
) -> dict[str, float]:
    """Mean absolute differences of two sets of `lagged_correlations`.

    `autocorrelation`: same channel, lags >= 1. `cross_correlation`: distinct channels, lag 0.
    `lagged_cross_correlation`: distinct channels, lags >= 1. The last two are absent for a
    single channel.
    """
    gap = np.abs(first - second)
    same = np.eye(gap.shape[1], dtype=bool)
    values = {"autocorrelation": float(gap[1:, same].mean())}
    if gap.shape[1] > 1:
        values["cross_correlation"] = float(gap[0, ~same].mean())
        values["lagged_cross_correlation"] = float(gap[1:, ~same].mean())
    return values


def mean_curve_difference(
    first: Float[Tensor, "n channel time"], second: Float[Tensor, "m channel time"]
) -> float:
    """Mean absolute difference of the two mean curves over channels and time, model space."""
    return float((first.double().mean(0) - second.double().mean(0)).abs().mean())


@metric(
    FIDELITY,
    times("autocorrelation_difference", 2.0, 0.05, "values do not follow from earlier ones"),
    times("cross_correlation_difference", 2.0, 0.1, "channels do not move together"),
)
def temporal_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Differences to held-out series; the reference is train against held-out."""
    part = comparison.matched(MAX_ROWS, seed)
    max_lag = min(MAX_LAG, part.train.x.shape[2] - 2)
    holdout = lagged_correlations(part.holdout.x, max_lag)
    values: dict[str, float] = {}
    for x, suffix in ((part.synthetic.x, ""), (part.train.x, "_reference")):
        gaps = structure_difference(holdout, lagged_correlations(x, max_lag))
        gaps["mean_curve"] = mean_curve_difference(part.holdout.x, x)
        values |= {f"{metric}_difference{suffix}": value for metric, value in gaps.items()}
    return MetricReport(values=values)
