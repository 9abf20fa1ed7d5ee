"""Distances to train and hold-out series: memorised records, closest record, distance ratio."""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport, bounded, wilson
from scripts.quality.common.registry import PRIVACY, above, metric, surely_above
from tardiff.privacy.memorisation import SAME, closeness, nearest

MAX_ROWS = 20_000  # series per set
LOW_QUANTILE = 0.05

Found = tuple[Tensor, Tensor]  # distances and row numbers, a column per neighbour


def share_closer(to_train: Float[np.ndarray, " n"], to_holdout: Float[np.ndarray, " n"]) -> float:
    """Share of series nearer to the first set than to the second; a tie counts as a half."""
    return float((to_train < to_holdout).mean() + 0.5 * (to_train == to_holdout).mean())


def effective_trials(nearest_record: Int[np.ndarray, " n"]) -> float:
    """Independent coin tosses behind a share of synthetic series nearer to train.

    Given the pooled real series, a synthetic series counts for train if its nearest one is a
    training series; those that share a nearest one share one toss. Tosses of size c_h have variance
    sum c_h^2 / 4, that of n^2 / sum c_h^2 fair ones. Without this, a set far from all real series,
    whose nearest neighbours are a few central hubs, "significantly" prefers train or hold-out.
    """
    counts = np.unique(nearest_record, return_counts=True)[1].astype(np.float64)
    return float(counts.sum() ** 2 / np.square(counts).sum())


def distance_ratio(nearest_two: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, " n"]:
    """Nearest : second-nearest distance, 1 where both are 0; near 0 = one record is singled out."""
    first, second = nearest_two.T
    return np.where(second > 0, first / np.where(second > 0, second, 1), 1.0)


@metric(
    PRIVACY, surely_above("closer_to_train_share", "closer to training than to held-out series")
)
def distances_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Are synthetic series nearer to training series than to equally many held-out series?

    `closer_to_train_share` is 0.5 when the generator knows no more of its training series than of
    others; its interval is binomial at the `effective_trials`. Distances are per entry: root mean
    square, in model space. Train and hold-out are cut to equal sizes: a larger set is nearer to
    everything.
    `train_closer_to_train` is the share of one half of the training series that are nearer to the
    other half than to equally many held-out series: below 0.5 where held-out series lie more
    centrally, and a set that knows none of them is nearer to them too.
    """
    size = min(MAX_ROWS, len(comparison.train), len(comparison.holdout))
    synthetic = comparison.synthetic.draw(MAX_ROWS, seed).flat
    found = {
        name: nearest(synthetic, comparison.sides[name].draw(size, seed).flat, k=2)
        for name in ("train", "holdout")
    }
    control, tosses = _train_against_train(comparison, seed)
    share, trials = _nearer_to_first(found["train"], found["holdout"], size)
    values = bounded("closer_to_train_share", share, wilson(share, trials), 0.5)
    values["closer_to_train_effective_trials"] = trials
    values |= bounded("train_closer_to_train", control, wilson(control, tosses), 0.5)
    arrays = {}
    for (name, (distances, _)), suffix in zip(found.items(), ("", "_reference"), strict=True):
        nearest_two = distances.numpy() / synthetic.shape[1] ** 0.5
        arrays[f"dcr_{name}"] = nearest_two[:, 0]
        for name_of, each in (("dcr", nearest_two[:, 0]), ("nndr", distance_ratio(nearest_two))):
            values[f"{name_of}_median{suffix}"] = float(np.median(each))
            values[f"{name_of}_q5{suffix}"] = float(np.quantile(each, LOW_QUANTILE))
    return MetricReport(values=values, arrays=arrays)


def _train_against_train(comparison: Comparison, seed: int) -> tuple[float, float]:
    """(share, effective trials) of `train_closer_to_train`."""
    rows = np.random.default_rng(seed).permutation(len(comparison.train))
    first, second = (comparison.train.flat[half] for half in np.array_split(rows, 2))
    size = min(MAX_ROWS, len(second), len(comparison.holdout))
    holdout = comparison.holdout.draw(size, seed).flat
    own, others = (nearest(first[:MAX_ROWS], other) for other in (second[:size], holdout))
    return _nearer_to_first(own, others, size)


def _nearer_to_first(first: Found, second: Found, size: int) -> tuple[float, float]:
    """The share of series nearer to the first set than to the second, and its effective trials.

    Args:
        first, second: what `nearest` found in each, the nearest first; size: of the first set.
    """
    distances, rows = ([found[part][:, 0].numpy() for found in (first, second)] for part in (0, 1))
    trials = effective_trials(np.where(distances[0] < distances[1], rows[0], size + rows[1]))
    return share_closer(*distances), trials


@metric(
    PRIVACY,
    above("copy_share", 0.0, "it holds training series"),
    surely_above("near_copy_share", "it holds near copies of training series"),
)
def copies_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Counts of synthetic series that are a copy, or a near copy, of a training series.

    Every synthetic series is compared with every training series that is more than a few
    measurements; a subsample would miss copies. What stands in held-out data too tells of nobody
    and is no copy. The references are the same shares among held-out series.
    """
    del seed  # all pairs are compared
    synthetic, holdout = comparison.synthetic.x, comparison.holdout.x
    found = closeness(synthetic, comparison.x_telling)
    fresh = closeness(holdout, comparison.x_telling)
    near = float(found.near.mean())
    reference = float(fresh.near.mean())
    copied = np.flatnonzero(found.copy)
    if len(copied):
        shared = closeness(synthetic[copied], holdout).distance <= SAME
        copied = copied[~shared]
    copies = len(copied)
    values = {
        "copies": float(copies),
        "copy_share": copies / len(found.copy),
        "copy_share_reference": float((fresh.copy & (fresh.distance > SAME)).mean()),
        **bounded("near_copy_share", near, wilson(near, len(found.near)), reference),
        "near_copy_share_reference_high": wilson(reference, len(fresh.near))[1],
    }
    remarks = [f"{copies} synthetic series are copies of training series"] if copies else []
    return MetricReport(values=values, remarks=remarks)
