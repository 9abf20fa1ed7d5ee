"""The map of a channel to model space (quantiles, log, straight line), and its point masses."""

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import norm
from torch import Tensor

from configs.runtime.errors import DataError


def interpolate(values: Tensor, source: tuple[float, ...], target: tuple[float, ...]) -> Tensor:
    """Piecewise-linear map through the knots, straight beyond both ends."""
    xs = values.new_tensor(source)
    ys = values.new_tensor(target)
    right = torch.searchsorted(xs, values.detach().contiguous()).clamp(1, len(source) - 1)
    slope = (ys[right] - ys[right - 1]) / (xs[right] - xs[right - 1])
    return ys[right - 1] + slope * (values - xs[right - 1])


Knots = tuple[tuple[float, ...], tuple[float, ...]]  # clinical values, model values
PointMasses = tuple[tuple[float, float, float], ...]  # (clinical value, from, to) in model space

# continuous: as the normaliser's kind says. positive: log, then z-score. zero_inflated (nothing
# below zero) and bounded: quantiles, and a point mass wherever values pile up. integer and binary:
# every level a point mass.
TYPES = ("continuous", "positive", "zero_inflated", "bounded", "integer", "binary")
NUM_QUANTILES = 65
# Where many measurements share a value, quantiles are equal; knots closer than this share of the
# spread are merged so that every slope stays finite and non-zero. The spread is the range, but at
# most MOST_SPREAD times that of the middle 98 %: a typing error is no scale.
MIN_KNOT_GAP = 1e-3
MOST_SPREAD = 20.0
MAX_LEVELS = 64  # of an integer channel; beyond, rounding matters less than its spread
PILE = 0.002  # share of the measurements that makes a value a point mass (docs/method.md)
SAME = 1e-6  # share of the spread within which two measurements are one value
STEPS = (1.0, 0.5, 0.1, 0.01)  # in which values are charted
MOST = 0.6
FAR = 1e3  # model-space "everything beyond"


def fit_map(
    measured: Float[np.ndarray, " m"], kind: str, channel_type: str
) -> tuple[Knots, PointMasses]:
    """Knots and point masses of a channel.

    Args:
        measured: at least two distinct values, clinical units.
        kind: "zscore" or "quantile", for continuous channels.
        channel_type: one of TYPES.

    Raises:
        DataError: the values cannot be of that type; says which value.
    """
    if channel_type == "continuous":
        return (zscore_knots if kind == "zscore" else quantile_knots)(measured), ()
    if channel_type == "positive":
        return _log_knots(measured), ()
    if channel_type == "zero_inflated" and measured.min() < 0:
        raise DataError(f"a zero_inflated channel holds {measured.min():g}")
    if channel_type in ("zero_inflated", "bounded"):
        return _piled(measured)
    return _levels(measured, channel_type)


def charted_step(measured: Float[np.ndarray, " m"]) -> float:
    """The largest of STEPS of which most values are multiples; 0 if there is none.

    Most, not all: a grid point that holds two measurements has their mean.
    """
    measured = measured[measured != 0]  # a multiple of every step
    for step in STEPS:
        parts = measured / step
        whole = np.round(parts)
        if np.mean((np.abs(parts - whole) < 1e-3) & (whole != 0)) >= MOST:
            return step
    return 0.0


def zscore_knots(measured: Float[np.ndarray, " m"]) -> Knots:
    """A straight line: mean to 0, one standard deviation to 1."""
    mean, sd = float(measured.mean()), float(measured.std())
    return (mean - sd, mean + sd), (-1.0, 1.0)


def quantile_knots(measured: Float[np.ndarray, " m"]) -> Knots:
    """Quantiles to standard normal quantiles."""
    probabilities = norm.cdf(_scores(len(measured)))
    clinical = np.quantile(measured, probabilities)
    groups = _group_close(clinical, MIN_KNOT_GAP * _spread(measured, clinical))
    if groups[-1] == 0:
        return zscore_knots(measured)
    # A run of equal quantiles stands at the normal quantile of their mean probability. At an end of
    # the scale that is beyond its middle rank: of 30,000 values 16 % at the top stand at 1.93, not
    # at 1.41.
    members = [groups == group for group in range(groups[-1] + 1)]
    merged_clinical = tuple(float(clinical[run].mean()) for run in members)
    merged_model = tuple(float(norm.ppf(probabilities[run].mean())) for run in members)
    return merged_clinical, merged_model


def snap(
    clinical: Float[np.ndarray, " *shape"],
    model: Float[np.ndarray, " *shape"],
    point_masses: PointMasses,
) -> Float[np.ndarray, " *shape"]:
    """The clinical values, with the point mass's own value wherever `model` lies in its stretch."""
    snapped = clinical.copy()
    for value, start, end in point_masses:
        snapped[(model >= start) & (model < end)] = value
    return snapped


def spread_over_stretches(
    clinical: Float[np.ndarray, " *shape"],
    model: Float[np.ndarray, " *shape"],
    point_masses: PointMasses,
    rng: np.random.Generator,
) -> Float[np.ndarray, " *shape"]:
    """The model values, with normal draws from a point mass's stretch wherever `clinical` is its
    value: what `snap` takes back."""
    spread = model.copy()
    for value, start, end in point_masses:
        at = np.isclose(clinical, value)
        low, high = norm.cdf([start, end])
        spread[at] = norm.ppf(rng.uniform(low, high, int(at.sum())))
    return spread


def _log_knots(measured: np.ndarray) -> Knots:
    if measured.min() <= 0:
        raise DataError(
            f"a positive channel holds {measured.min():g}; use zero_inflated or bounded"
        )
    logs = np.log(measured)
    if logs.std() == 0:
        return zscore_knots(measured)
    grid = np.linspace(logs.min(), logs.max(), NUM_QUANTILES)
    model = (grid - logs.mean()) / logs.std()
    return tuple(np.exp(grid).tolist()), tuple(model.tolist())


def _piled(measured: np.ndarray) -> tuple[Knots, PointMasses]:
    """Values at the normal quantiles of their middle ranks, and a point mass, with the stretch of
    its ranks, for each that many measurements share (urine of 0, 60 or 100 ml, a saturation of
    100 %).

    The ends of a stretch are knots half-way to the next values, so that each value comes back as
    itself.
    """
    values, counts = _distinct(measured)
    ranks = np.concatenate([[0], counts.cumsum()]) / len(measured)
    ends, middles = norm.ppf(ranks), norm.ppf((ranks[:-1] + ranks[1:]) / 2)
    piles = np.flatnonzero(counts > PILE * len(measured))
    at_quantiles = np.searchsorted(ranks, norm.cdf(_scores(len(measured))), side="right") - 1
    chosen = np.union1d(at_quantiles, piles)
    after = np.union1d(piles[piles > 0], (piles + 1)[piles + 1 < len(values)])
    half_way = (values[after - 1] + values[after]) / 2
    # Both rise with the rank: sorted apart, they still belong together.
    clinical = np.sort(np.concatenate([values[chosen], half_way]))
    model = np.sort(np.concatenate([middles[chosen], ends[after]]))
    starts, stops = ends[piles].clip(-FAR, FAR), ends[piles + 1].clip(-FAR, FAR)
    point_masses = zip(values[piles].tolist(), starts.tolist(), stops.tolist(), strict=True)
    return (tuple(clinical.tolist()), tuple(model.tolist())), tuple(point_masses)


def _distinct(measured: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values that occur, rising, and how often; what differs by rounding alone is one value."""
    values, counts = np.unique(measured, return_counts=True)
    groups = _group_close(values, SAME * _spread(measured, values))
    starts = np.unique(groups, return_index=True)[1]
    return values[starts], np.add.reduceat(counts, starts)


def _levels(measured: np.ndarray, channel_type: str) -> tuple[Knots, PointMasses]:
    """Every whole number that occurs, at the normal quantile of its middle rank.

    Its stretch spans its ranks, so that normal draws get every level as often as it was measured.
    """
    levels, counts = np.unique(np.round(measured), return_counts=True)
    most = 2 if channel_type == "binary" else MAX_LEVELS
    if not 2 <= len(levels) <= most:
        raise DataError(
            f"a channel of type {channel_type} has {len(levels)} different whole values, expected "
            f"2 to {most}; use continuous or bounded"
        )
    ends = np.cumsum(counts) / len(measured)
    scores = norm.ppf(ends - counts / len(measured) / 2)
    edges = norm.ppf(ends[:-1]).tolist()
    starts, stops = [-FAR, *edges], [*edges, FAR]
    point_masses = tuple(zip(levels.tolist(), starts, stops, strict=True))
    return (tuple(levels.tolist()), tuple(scores.tolist())), point_masses


def _scores(count: int) -> np.ndarray:
    """Normal scores of the quantile knots of so many measurements.

    Mid-rank probabilities: the ends get the expected position of the smallest and largest value.
    Evenly spaced scores, not ranks: a straight line over the last 1.5 % would lengthen a tail.
    """
    tail = 0.5 / max(count, 2)
    return np.linspace(norm.ppf(tail), norm.ppf(1 - tail), NUM_QUANTILES)


def _spread(measured: np.ndarray, ascending: np.ndarray) -> float:
    low, high = np.quantile(measured, [0.01, 0.99])
    whole = float(ascending[-1] - ascending[0])
    return min(whole, MOST_SPREAD * float(high - low)) if high > low else whole


def _group_close(ascending: np.ndarray, gap: float) -> np.ndarray:
    """Group number per value; a new group starts more than `gap` above the start of the last."""
    groups = np.zeros(len(ascending), int)
    start = ascending[0]
    for index, value in enumerate(ascending[1:], start=1):
        is_new = value - start > gap
        groups[index] = groups[index - 1] + is_new
        start = value if is_new else start
    return groups
