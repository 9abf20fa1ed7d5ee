"""Missingness: does the synthetic mask behave like the real one?"""

import numpy as np
import torch
from jaxtyping import Bool

from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import FIDELITY, metric
from scripts.quality.fidelity.temporal import lagged_correlations

MAX_ROWS = 20_000


def gap_lengths(observed: Bool[np.ndarray, "n channel time"]) -> np.ndarray:
    """Lengths in steps of all runs of missing entries."""
    n, channels, length = observed.shape
    missing = np.zeros((n * channels, length + 2), np.int8)
    missing[:, 1:-1] = ~observed.reshape(-1, length)
    edges = np.diff(missing, axis=1)
    return np.nonzero(edges == -1)[1] - np.nonzero(edges == 1)[1]


def mask_difference(
    first: Bool[np.ndarray, "n channel time"], second: Bool[np.ndarray, "m channel time"]
) -> dict[str, float]:
    """How two masks differ.

    `rate`: mean absolute difference of the measured share over channels and grid points.
    `co_measurement`: mean absolute difference of the correlation between channels of "measured at
    this grid point" (0 where it never varies). `gap_length`: absolute difference of the mean gap,
    in steps (0 for a mask without gaps).
    """
    gaps = [gap_lengths(mask) for mask in (first, second)]
    means = [float(gap.mean()) if len(gap) else 0.0 for gap in gaps]
    masks = (torch.from_numpy(mask).double() for mask in (first, second))
    one, other = (lagged_correlations(mask, max_lag=0) for mask in masks)
    return {
        "rate": float(np.abs(first.mean(0) - second.mean(0)).mean()),
        "co_measurement": float(np.abs(one - other).mean()),
        "gap_length": abs(means[0] - means[1]),
    }


@metric(FIDELITY)
def missingness_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Mask differences to held-out series; the reference is train against held-out.

    Empty where the real series are complete, or, with a remark, where the synthetic set has no
    missing entry: its generator made no mask, so there is nothing to compare.
    """
    real = comparison.holdout.data.observed
    if real.all():
        return MetricReport()
    share = float(1 - real.mean())
    if comparison.synthetic.data.observed.all():
        remark = (
            f"missingness: {share:.0%} of the real entries were not measured, the synthetic set "
            "marks all entries as measured; its pattern of measurement is not compared"
        )
        return MetricReport(remarks=[remark])
    part = comparison.matched(MAX_ROWS, seed)
    values: dict[str, float] = {}
    for side, suffix in ((part.synthetic, ""), (part.train, "_reference")):
        found = mask_difference(part.holdout.data.observed, side.data.observed)
        values |= {f"missing_{name}_difference{suffix}": value for name, value in found.items()}
    return MetricReport(values=values)
