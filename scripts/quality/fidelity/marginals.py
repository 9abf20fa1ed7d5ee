"""Marginals: the pooled values of each channel, in clinical units, ignoring time."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool
from scipy.stats import ks_2samp, wasserstein_distance

from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.channel_transforms import charted_step
from scripts.quality.common.comparison import MIN_SERIES, Comparison
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import FIDELITY, metric, outside, times

MAX_ROWS = 10_000
ZERO = 1e-6  # train standard deviations from zero that count as zero


def train_spread(train: EHRDataset) -> np.ndarray:
    """Standard deviation of the measured train values per channel, clinical units."""
    return np.array([values.std(dtype=np.float64) for values in _measured(train)])


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> float:
    """Largest gap between the empirical distribution functions of two 1-D samples."""
    return float(ks_2samp(first, second, method="asymp").statistic)  # type: ignore[attr-defined]


def charted_steps(train: EHRDataset) -> list[float]:
    """Step in which the measured train values of each channel are charted; 0: in none."""
    return [charted_step(values.astype(np.float64)) for values in _measured(train)]


def _measured(dataset: EHRDataset) -> list[np.ndarray]:
    """The measured values of every channel."""
    return [dataset.values[:, c][dataset.observed[:, c]] for c in range(dataset.num_channels)]


def charted_variation(first: np.ndarray, second: np.ndarray, step: float) -> float:
    """Total variation of two 1-D samples, each value counted at the nearest multiple of `step`."""
    pooled = np.round(np.concatenate([first, second]) / step).astype(np.int64)
    levels, where = np.unique(pooled, return_inverse=True)
    size = len(levels)
    shares = np.bincount(where[: len(first)], minlength=size) / len(first)
    shares -= np.bincount(where[len(first) :], minlength=size) / len(second)
    return float(np.abs(shares).sum()) / 2


def nearest_ratio(other: float, reals: Sequence[float]) -> float:
    """`other` : the real value that it is nearest to; 1 between two.

    In a channel that is rarely other than 0, or has a few outliers, two samples of the same
    patients differ severalfold.
    """
    ratios = [float(other / real) for real in reals]
    if min(ratios) <= 1 <= max(ratios):
        return 1.0
    return min(ratios, key=lambda ratio: abs(np.log(max(ratio, ZERO))))


def rarely_varies(*reals: EHRDataset) -> Bool[np.ndarray, " channel"]:
    """Channels in which fewer than MIN_SERIES series of a real set have a value beside the usual
    one (a drug that hardly anybody gets): their spread and changes are known too badly to compare.
    """
    counts = []
    for real in reals:
        usual = np.median(real.values, axis=(0, 2), keepdims=True)
        counts.append((real.values != usual).any(axis=2).sum(axis=0))
    return np.min(counts, axis=0) < MIN_SERIES


def channel_marginals(
    real: np.ndarray, other: np.ndarray, sd: float, more_real: Sequence[np.ndarray] = ()
) -> dict[str, float]:
    """Distances of two samples of one channel.

    `ks`: largest gap of the two distribution functions. `wasserstein`: mean shift needed to turn
    one into the other, in `sd`. `sd_ratio`: other / real (or the nearest of `more_real`).
    `zero_share`: share of zeros, other minus real (anuria, for example).
    """
    real, other = real.astype(np.float64), other.astype(np.float64)
    return {
        "ks": kolmogorov_smirnov(real, other),
        "wasserstein": float(wasserstein_distance(real, other)) / sd,
        "sd_ratio": nearest_ratio(
            float(other.std()), [max(float(s.std()), ZERO * sd) for s in (real, *more_real)]
        ),
        "zero_share": float((np.abs(other) < ZERO * sd).mean() - (np.abs(real) < ZERO * sd).mean()),
    }


def farthest_from_one(ratios: Sequence[float] | np.ndarray) -> float:
    """The ratio farthest from 1 on a log scale."""
    positive = np.maximum(ratios, ZERO)
    return float(positive[np.abs(np.log(positive)).argmax()])


# Name -> measure of a channel, and how channels are averaged.
AVERAGES: dict[str, tuple[str, Callable[[list[float]], float]]] = {
    "ks": ("ks", np.mean),
    "wasserstein": ("wasserstein", np.mean),
    "variation": ("variation", np.mean),
    "zero_share_difference": ("zero_share", lambda shares: np.abs(shares).mean()),
    "sd_ratio_worst": ("sd_ratio", farthest_from_one),
}


@metric(
    FIDELITY,
    times("marginal_ks", 2.0, 0.05, "values are distributed differently"),
    times("marginal_wasserstein", 2.0, 0.1, "values are shifted or spread differently"),
    outside("marginal_sd_ratio_worst", 1.33, "a channel is too narrow or too wide"),
    times("marginal_variation", 2.0, 0.1, "values lie in a comb, or are distributed differently"),
)
def marginals_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Per channel and on average, held-out against synthetic; the reference is training series.

    `marginal_sd_ratio_worst` is the ratio farthest from 1 on a log scale; channels that rarely vary
    have none. `marginal_variation` is the total variation over charted steps, of the channels that
    are charted in steps; absent where there is none.
    """
    part = comparison.matched(MAX_ROWS, seed)
    train, holdout, synthetic = (side.data.values for side in part.sides.values())
    whole = comparison.train.data
    values: dict[str, float] = {}
    table: dict[str, list[float]] = {}
    steps = charted_steps(whole)
    rare = rarely_varies(part.holdout.data, part.train.data)
    for channel, sd in enumerate(train_spread(whole)):
        real = holdout[:, channel].ravel()
        learned = train[:, channel].ravel()
        found = channel_marginals(real, synthetic[:, channel].ravel(), float(sd), [learned])
        reference = channel_marginals(real, learned, float(sd))
        if step := steps[channel]:
            found["variation"] = charted_variation(real, synthetic[:, channel].ravel(), step)
            reference["variation"] = charted_variation(real, learned, step)
        if rare[channel]:
            del found["sd_ratio"]
        for measure, value in found.items():
            name = f"marginal_{measure}"
            values[f"{name}/{whole.feature_names[channel]}"] = value
            table.setdefault(name, []).append(value)
            table.setdefault(f"{name}_reference", []).append(reference[measure])
    averages = {
        f"marginal_{name}{suffix}": float(average(table[key]))
        for name, (measure, average) in AVERAGES.items()
        for suffix in ("", "_reference")
        if (key := f"marginal_{measure}{suffix}") in table
    }
    return MetricReport(values=averages | values)
