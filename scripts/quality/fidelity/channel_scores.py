"""One score per channel and per pair of channels, and their mean: what SDMetrics' reports show.

Channel: 1 - KS distance of its values. Pair: 1 - |r - r'| / 2 with the correlations r, r' of the
two channels at equal times. 1 is the best score, but noise scores 0.9: values are looked at without
their order in time. So no flag and no verdict reads them.
"""

from itertools import combinations

import numpy as np

from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import FIDELITY, metric
from scripts.quality.fidelity.marginals import kolmogorov_smirnov
from scripts.quality.fidelity.temporal import lagged_correlations

MAX_ROWS = 10_000


@metric(FIDELITY)
def channel_scores_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """`channel_score` and `channel_pair_score`, each of all and by name, and `quality_score`, the
    mean of the two; a single channel has no pairs. The reference is train against held-out."""
    part = comparison.matched(MAX_ROWS, seed)
    names = comparison.train.feature_names
    holdout = lagged_correlations(part.x_holdout, 0)[0]
    values: dict[str, float] = {}
    for data, x, suffix in (
        (part.synthetic, part.x_synthetic, ""),
        (part.train, part.x_train, "_reference"),
    ):
        correlations = lagged_correlations(x, 0)[0]
        channels = {
            name: 1
            - kolmogorov_smirnov(part.holdout.values[:, c].ravel(), data.values[:, c].ravel())
            for c, name in enumerate(names)
        }
        pairs = {
            f"{names[i]}, {names[j]}": 1 - abs(float(holdout[i, j] - correlations[i, j])) / 2
            for i, j in combinations(range(len(names)), 2)
        }
        means = {"channel_score": channels, "channel_pair_score": pairs}
        found = {key: float(np.mean(list(each.values()))) for key, each in means.items() if each}
        found["quality_score"] = float(np.mean(list(found.values())))
        values |= {f"{key}{suffix}": value for key, value in found.items()}
        if not suffix:
            values |= {
                f"{key}/{name}": v for key, each in means.items() for name, v in each.items()
            }
    return MetricReport(values=values)
