"""Scores of predicted probabilities, computed under many row weightings at once.

A bootstrap resample is a vector of counts per test row, so every score here takes `weights` of
shape (resamples, rows) and returns one value per resample; a plain score is the case of one
resample of ones. Ranking scores sort the rows once; the sums between the ranks that count are one
sparse product, which makes a thousand resamples of a few thousand rows a matter of milliseconds.
Definitions are those of scikit-learn (ties count one half in AUROC; AUPRC is the average precision,
a step function).
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from scipy.sparse import csr_array
from scipy.stats import rankdata
from torch import Tensor

METRICS = {"auroc": "AUROC", "auprc": "AUPRC", "f1": "F1", "brier": "Brier", "ece": "ECE"}
RANKING = ("auroc", "auprc")  # with intervals in tables and figures
LOWER_IS_BETTER = frozenset({"brier", "ece"})
# A mean of absolute values: what resampling adds to the chance in each of them does not cancel.
RAISED_BY_RESAMPLING = frozenset({"ece"})

CALIBRATION_BINS = 10

# Resamples handled at once; keeps their copy of the weights near the processor's caches.
BLOCK = 64
ROWS = 1024  # and rows, where sums over them are taken


@dataclass(frozen=True)
class Predictions:
    """What a fitted model says about one set of series, and the truth.

    Attributes:
        probabilities: one column per class; rows sum to 1.
        labels: the true class per row.
        minority: the class with the fewest real training series; `f1` is about it if binary.
        threshold: a row is called `minority` from this probability on; chosen on val_select; None
            for more than two classes.
    """

    probabilities: Float[np.ndarray, "n classes"]
    labels: Int[np.ndarray, " n"]
    minority: int
    threshold: float | None

    @property
    def is_binary(self) -> bool:
        """Whether the task has two classes."""
        return self.probabilities.shape[1] == 2

    def take(self, rows: Shaped[np.ndarray, " m"] | slice) -> "Predictions":
        """The predictions for these rows, given by number, by mask or as a slice."""
        return replace(self, probabilities=self.probabilities[rows], labels=self.labels[rows])


def score(
    predictions: Predictions,
    weights: Float[np.ndarray, "resamples n"],
    metrics: Collection[str] = tuple(METRICS),
) -> dict[str, Float[np.ndarray, " resamples"]]:
    """The metrics, of `METRICS`, under each weighting.

    Binary: AUROC and AUPRC of class 1, F1 of the minority class at the threshold, Brier score
    mean((p1 - y)^2). More classes: macro averages of the one-vs-rest AUROC and AUPRC and of the
    F1 of the most probable class, Brier score mean(sum_k (p_k - 1[y = k])^2), in [0, 2]. `ece` is
    the expected calibration error, see `calibration_gaps`.
    A class without weight makes its AUROC and AUPRC, and so the macro averages, NaN.
    """
    p, y = predictions.probabilities, predictions.labels
    scored = [1] if predictions.is_binary else list(range(p.shape[1]))
    ranking = np.mean([ranking_scores(p[:, k], y == k, weights) for k in scored], axis=0)
    found: dict[str, np.ndarray] = dict(zip(RANKING, ranking, strict=True))
    if set(metrics) <= set(RANKING):  # the sums over all rows are most of the work
        return {name: found[name] for name in metrics}
    if predictions.is_binary:
        called = {predictions.minority: p[:, predictions.minority] >= predictions.threshold}
        errors = (p[:, 1] - (y == 1)) ** 2
    else:
        best = p.argmax(axis=1)
        called = {k: best == k for k in scored}
        errors = ((p - np.eye(p.shape[1])[y]) ** 2).sum(axis=1)
    pairs = [(call & (y == k), call.astype(int) + (y == k)) for k, call in called.items()]
    columns = [np.ones(len(y)), errors, *(column for pair in pairs for column in pair)]
    gaps = calibration_gaps(*confidence_and_truth(predictions))
    sums = weighted_sums(np.column_stack([*columns, gaps]), weights)
    total, wrong = sums[:, 0], sums[:, 1]
    hits, both = sums[:, 2 : len(columns) : 2], sums[:, 3 : len(columns) : 2]
    f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)  # 0 where undefined
    found |= {
        "f1": f1.mean(axis=1),
        "brier": wrong / total,
        "ece": np.abs(sums[:, len(columns) :]).sum(axis=1) / total,
    }
    return {name: found[name] for name in metrics}


def point_scores(
    predictions: Predictions, metrics: Collection[str] = tuple(METRICS)
) -> dict[str, float]:
    """The metrics, of `METRICS`, with each row counted once."""
    ones = np.ones((1, len(predictions.labels)))
    return {name: float(values[0]) for name, values in score(predictions, ones, metrics).items()}


def ranking_scores(
    scores: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    weights: Float[np.ndarray, "resamples n"],
) -> tuple[Float[np.ndarray, " resamples"], Float[np.ndarray, " resamples"]]:
    """AUROC and average precision under each weighting; NaN where a side has no weight.

    Args:
        weights: whole numbers, of which single precision holds sums up to 2^24 exactly.
    """
    order = np.argsort(-scores, kind="stable")
    negated, positive = -scores[order], positive[order]
    rows = np.flatnonzero(positive)
    # Rows of equal score form one group. Cumulative weights are needed where groups of positive
    # rows start and end: of all rows there, and of the positive ones before.
    starts, ends = (np.searchsorted(negated, negated[rows], side) for side in ("left", "right"))
    cuts = np.unique(np.concatenate([[0], starts, ends]))
    first, last = np.searchsorted(cuts, starts), np.searchsorted(cuts, ends)
    counts = np.append(0, np.cumsum(positive))
    # Sums of the rows from each cut to the next; whole numbers, so single precision is exact.
    part = np.searchsorted(cuts, np.arange(len(order)), side="right") - 1
    ones = np.ones(len(order), np.promote_types(weights.dtype, np.float32))
    segments = csr_array((ones, (part, order)), shape=(len(cuts), len(order)))
    auroc, auprc = np.empty(len(weights)), np.empty(len(weights))
    for start in range(0, len(weights), BLOCK):
        block = slice(start, start + BLOCK)
        drawn = np.ascontiguousarray(weights[block].T)
        own = drawn[order[rows]].astype(np.float64)
        all_rows, true_rows = _padded_cumsum(segments @ drawn), _padded_cumsum(own)
        positives = true_rows[-1]
        negatives = all_rows[-1] - positives
        hits, called = true_rows[counts[ends]], all_rows[last]
        above = all_rows[first] - true_rows[counts[starts]]
        # Negatives below a positive count 1, those of equal score 1/2.
        beaten = negatives - 0.5 * (above + called - hits)
        with np.errstate(invalid="ignore", divide="ignore"):
            auroc[block] = (own * beaten).sum(axis=0) / (positives * negatives)
            precision = np.divide(hits, called, out=np.zeros_like(hits), where=called > 0)
            average = (own * precision).sum(axis=0) / positives
        # One side without weight: neither score is defined.
        auprc[block] = np.where(negatives > 0, average, np.nan)
    return auroc, auprc


def _padded_cumsum(weights: np.ndarray) -> np.ndarray:
    out = np.zeros((len(weights) + 1, weights.shape[1]))
    np.cumsum(weights, axis=0, dtype=np.float64, out=out[1:])
    return out


def confidence_and_truth(
    predictions: Predictions,
) -> tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]:
    """What calibration compares: binary, the probability of class 1 and whether it is the truth;
    more classes, the largest probability and whether its class is the truth."""
    p, y = predictions.probabilities, predictions.labels
    if predictions.is_binary:
        return p[:, 1], y == 1
    return p.max(axis=1), p.argmax(axis=1) == y


def calibration_bins(confidence: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Bin per row: CALIBRATION_BINS bins of equally many rows. Equal widths would put nearly all
    rows of a rare outcome into the first bin. Equal confidences share one, whatever
    their order."""
    ranks = rankdata(confidence, method="min").astype(np.int64) - 1
    return ranks * CALIBRATION_BINS // max(len(ranks), 1)


def calibration_gaps(
    confidence: Float[np.ndarray, " n"], truth: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, "n bin"]:
    """Confidence minus truth, each in the column of its bin.

    The expected calibration error is the mean over bins of |mean confidence - share of truth|, bins
    weighted by their rows. Chance alone makes it positive, the more so the fewer the rows.
    """
    one_hot = calibration_bins(confidence)[:, None] == np.arange(CALIBRATION_BINS)
    return (confidence - truth)[:, None] * one_hot


def weighted_sums(
    values: Float[np.ndarray, "n column"], weights: Float[np.ndarray, "resamples n"]
) -> Float[np.ndarray, "resamples column"]:
    """sum_i w_bi v_i per resample b and column, accumulated in double precision."""
    out = np.zeros((values.shape[1], len(weights)))
    for start in range(0, len(values), ROWS):
        rows = slice(start, start + ROWS)
        out += values[rows].T @ weights.T[rows].astype(np.float64)
    return out.T


def as_logits(probabilities: Float[np.ndarray, "n classes"]) -> Float[Tensor, "n out"]:
    """Logits with these probabilities: of two classes the log-odds, of more one per class."""
    logs = torch.from_numpy(np.log(np.clip(probabilities, 1e-12, None)))
    return logs[:, 1:] - logs[:, :1] if logs.shape[1] == 2 else logs
