"""Clinical plausibility: properties of a bedside chart that a clinician would check first."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import norm

from data_preprocess.dataset import EHRDataset, bare_name
from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import FIDELITY, above, metric, outside
from scripts.quality.fidelity.marginals import (
    farthest_from_one,
    nearest_ratio,
    rarely_varies,
    train_spread,
)

# Channel names without unit, as the sources of this project and common exports spell them.
SYSTOLIC = ("systolic_pressure", "systolic", "systolic_bp", "sbp", "sysbp", "sysabp", "nisysabp")
MEAN = ("mean_pressure", "mean_bp", "map", "mbp", "meanbp", "mean_arterial_pressure", "nimap")
DIASTOLIC = ("diastolic_pressure", "diastolic", "diastolic_bp", "dbp", "diasbp", "diasabp")
DIASTOLIC += ("nidiasabp",)
FLAT = 1e-3  # a series that moves less than this many train sd is flat
AT_BOUND = 1e-5  # distance from the train range's end, in train sd, that counts as on it
CHANGE_QUANTILES = (0.5, 0.95, 0.99)
LARGEST = 0.1  # share of the changes of a channel whose mean is compared
MOST_RATIO = 1.5  # of those means
CHANCE = 0.05  # that a ratio of any channel counts as surely not 1


def find_channel(feature_names: tuple[str, ...], spellings: tuple[str, ...]) -> int | None:
    """First channel whose name, unit and case aside, is one of `spellings`."""
    bases = [bare_name(name).strip().lower() for name in feature_names]
    return next((index for index, base in enumerate(bases) if base in spellings), None)


def pressure_order_violations(dataset: EHRDataset) -> float | None:
    """Share of grid points that break systolic >= mean >= diastolic.

    Without a mean channel, systolic >= diastolic; None without both of those.
    """
    systolic, mean, diastolic = (
        find_channel(dataset.feature_names, names) for names in (SYSTOLIC, MEAN, DIASTOLIC)
    )
    if systolic is None or diastolic is None:
        return None
    high, low = dataset.values[:, systolic], dataset.values[:, diastolic]
    broken = high < low
    if mean is not None:
        middle = dataset.values[:, mean]
        broken |= (high < middle) | (middle < low)
    return float(broken.mean())


def range_shares(
    values: Float[np.ndarray, "n channel time"], normaliser: Normaliser, spread: np.ndarray
) -> dict[str, float]:
    """Shares of entries beyond and exactly on the ends of the measured train range.

    A generator whose output is clamped has nothing beyond; a pile on the ends gives it away.
    """
    low, high = (np.array(ends)[:, None] for ends in (normaliser.low, normaliser.high))
    margin = AT_BOUND * spread[:, None]
    beyond = (values < low - margin) | (values > high + margin)
    on_end = (np.abs(values - low) <= margin) | (np.abs(values - high) <= margin)
    return {"out_of_range_share": float(beyond.mean()), "at_range_end_share": float(on_end.mean())}


def flat_share(values: Float[np.ndarray, "n channel time"], spread: np.ndarray) -> float:
    """Share of (series, channel) pairs that do not move at all."""
    return float((np.ptp(values, axis=2) <= FLAT * spread).mean())


class LargestChanges(NamedTuple):
    """Of the largest tenth of the changes of every channel, in train standard deviations."""

    mean: Float[np.ndarray, " channel"]
    error: Float[np.ndarray, " channel"]  # standard error of its logarithm, over series


def changes(
    values: Float[np.ndarray, "n channel time"], spread: np.ndarray
) -> Float[np.ndarray, "channel n change"]:
    """|x[t+1] - x[t]| of every channel and series, in train standard deviations."""
    return np.abs(np.diff(values, axis=2)).transpose(1, 0, 2) / spread[:, None, None]


def largest_changes(moved: Float[np.ndarray, "channel n change"]) -> LargestChanges:
    """The mean (plus FLAT), and what another sample of series would move it by.

    The mean is q + sum(max(x - q, 0)) / k, where q is the smallest of the k largest changes; its
    error is that of the sum over independent series.
    """
    ascending = np.sort(moved.reshape(len(moved), -1), axis=1)
    first = int((1 - LARGEST) * ascending.shape[1])
    mean = FLAT + ascending[:, first:].mean(1)
    above_first = np.maximum(moved - ascending[:, first, None, None], 0).sum(2, dtype=np.float64)
    error = above_first.std(1) * moved.shape[1] ** 0.5 / (ascending.shape[1] - first)
    return LargestChanges(mean, error / mean)


def known_ratios(
    ratios: Float[np.ndarray, " channel"], errors: Float[np.ndarray, " channel"]
) -> Bool[np.ndarray, " channel"]:
    """Whether a ratio of MOST_RATIO could be told from 1, or this one is surely not 1.

    In a channel that changes in few series (a laboratory value) two samples of the same patients
    differ by more than MOST_RATIO.

    Args:
        errors: standard errors of their logarithms. The chance of any channel to be beyond its
            own is CHANCE.
    """
    noise = norm.isf(CHANCE / 2 / len(ratios)) * errors
    return (noise < np.log(MOST_RATIO)) | (np.abs(np.log(ratios)) > noise)


@metric(
    FIDELITY,
    outside("change_ratio_worst", MOST_RATIO, "a channel jumps too much or too little"),
    above("pressure_order_violations", 0.02, "systolic >= mean >= diastolic is broken"),
    above("out_of_range_share", 0.02, "values beyond any seen in train"),
    above("flat_share", 0.05, "series do not move"),
)
def plausibility_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Each property for the synthetic set, with the held-out series as the reference.

    `change_qNN` is the quantile averaged over channels; `change_ratio_worst` the ratio synthetic :
    real (the nearer of held-out and train, 1 between them), farthest from 1 on a log scale, of the
    mean of a channel's largest tenth; channels that rarely vary, or of which `known_ratios` says
    nothing, are left out.
    """
    del seed  # nothing is drawn
    train, holdout, synthetic = (side.data for side in comparison.sides.values())
    spread = train_spread(train)
    values: dict[str, float] = {}
    sets = synthetic, holdout, train
    steps = [changes(dataset.values, spread) for dataset in sets]
    for suffix, dataset, moved in zip(("", "_reference"), sets, steps, strict=False):
        found = range_shares(dataset.values, comparison.normaliser, spread)
        found["flat_share"] = flat_share(dataset.values, spread)
        violations = pressure_order_violations(dataset)
        if violations is not None:
            found["pressure_order_violations"] = violations
        for level in CHANGE_QUANTILES:
            quantile = np.quantile(moved, level, axis=(1, 2)).mean()
            found[f"change_q{round(100 * level)}"] = float(quantile)
        values |= {f"{name}{suffix}": value for name, value in found.items()}
    own, *reals = (largest_changes(moved) for moved in steps)
    means = zip(own.mean, *(real.mean for real in reals), strict=True)
    ratios = np.array([nearest_ratio(mean, real) for mean, *real in means])
    real_error = np.max([real.error for real in reals], axis=0)
    as_few = real_error * (min(len(train), len(holdout)) / len(synthetic)) ** 0.5
    errors = np.hypot(real_error, np.maximum(own.error, as_few))  # own: 0 if nothing changes
    known = ~rarely_varies(holdout, train) & known_ratios(ratios, errors)
    if known.any():
        values["change_ratio_worst"] = farthest_from_one(ratios[known])
    return MetricReport(values=values)
