"""Attribute inference: what does the synthetic set reveal of a training record?

An attacker knows all of a series but one attribute - a channel, its label, or a static covariate -
and reads that attribute off the nearest synthetic series. Being right is no leak in itself:
physiology is predictable. So the same attack is made on held-out series, about which the synthetic
set cannot know anything in particular; only being better on training series counts (as in
Anonymeter, Giomi et al. 2023). Attacking training series with held-out ones instead would not do:
the averages of a set that is merely too smooth predict better than real neighbours, without any
knowledge of one record.
"""

import numpy as np
from jaxtyping import Float, Int
from sklearn.utils.class_weight import compute_sample_weight
from torch import Tensor

from classifier.metrics import Z95
from data_preprocess.dataset import EHRDataset
from scripts.quality.common.comparison import Comparison, Side
from scripts.quality.common.metric_report import MetricReport, bounded
from scripts.quality.common.registry import PRIVACY, metric, surely_above
from tardiff.privacy.memorisation import nearest

MAX_TARGETS = 2000  # train and held-out series attacked, each
MAX_ROWS = 10_000  # synthetic series read from
NO_ERROR = 1e-9


def channel_errors(
    targets: Float[Tensor, "n channel time"], source: Float[Tensor, "m channel time"], channel: int
) -> Float[np.ndarray, " n"]:
    """Absolute error of each target's mean level of `channel` read off its nearest neighbour.

    Nearness is over all other channels, in model space.
    """
    known = [index for index in range(targets.shape[1]) if index != channel]
    _, rows = nearest(targets[:, known].flatten(1), source[:, known].flatten(1))
    truth, level = targets[:, channel].mean(1), source[:, channel].mean(1)
    return (truth - level[rows[:, 0]]).abs().double().numpy()


def label_errors(
    guess: Int[np.ndarray, " n"], truth: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """1 for a wrong guess, weighted so that each class present counts equally and all mean 1."""
    return (guess != truth) * compute_sample_weight("balanced", truth)


def advantage(
    members: Float[np.ndarray, " n"], others: Float[np.ndarray, " m"]
) -> tuple[float, float, float]:
    """1 - mean(members) / mean(others), and its normal 95 % interval.

    0: training series are as safe as non-members; 1: the attribute is exposed. All 0 where it is
    read without error for non-members too: it is public knowledge.

    The half-width is that of the delta method, of an advantage above 0 as if there were none: a low
    mean error comes with a low spread by chance, and the flag asks whether there is an advantage.
    """
    others_error = float(others.mean())
    if others_error < NO_ERROR:
        return 0.0, 0.0, 0.0
    ratio = float(members.mean()) / others_error
    own, of_others = (errors.var() / max(1, len(errors) - 1) for errors in (members, others))
    variance = own + max(1.0, ratio) ** 2 * of_others
    half = Z95 * float(np.sqrt(variance)) / others_error
    return 1 - ratio, 1 - ratio - half, 1 - ratio + half


@metric(
    PRIVACY, surely_above("attribute_advantage", "attributes of training records can be inferred")
)
def attribute_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Advantage for every channel, the label, and the static covariates that all sets share.

    `attribute_advantage` (with interval) is over all channels together: errors are divided by
    their mean over non-members, then averaged per series.
    """
    size = min(MAX_TARGETS, len(comparison.holdout), len(comparison.train))
    members, others = (s.draw(size, seed) for s in (comparison.train, comparison.holdout))
    source = comparison.synthetic.draw(MAX_ROWS, seed)
    names = members.data.feature_names
    values: dict[str, float] = {}
    relative: list[list[np.ndarray]] = [[], []]
    for channel, name in enumerate(names if len(names) > 1 else ()):
        errors = [channel_errors(side.x, source.x, channel) for side in (members, others)]
        values[f"attribute_advantage/{name}"] = advantage(*errors)[0]
        scale = float(errors[1].mean())
        if scale < NO_ERROR:  # public knowledge, as in `advantage`
            continue
        for side, error in zip(relative, errors, strict=True):
            side.append(error / scale)
    summary = {"attribute_advantage_reference": 0.0}
    if relative[0]:
        found, low, high = advantage(*(np.mean(side, axis=0) for side in relative))
        summary |= bounded("attribute_advantage", found, (low, high), 0.0)
    return MetricReport(values=summary | values | _whole_series_attributes(members, others, source))


def _whole_series_attributes(members: Side, others: Side, source: Side) -> dict[str, float]:
    """Label and static covariates, read off the nearest whole series."""
    read = source.data
    sides = [
        (side.data, nearest(side.flat, source.flat)[1][:, 0].numpy()) for side in (members, others)
    ]
    wrong = [label_errors(read.labels[rows], records.labels) for records, rows in sides]
    values = {"attribute_advantage/label": advantage(*wrong)[0]}
    for name in sorted({*read.static_names}.intersection(*(r.static_names for r, _ in sides))):
        gaps = [np.abs(_covariate(read, name)[rows] - _covariate(r, name)) for r, rows in sides]
        gaps = [gap[np.isfinite(gap)].astype(np.float64) for gap in gaps]
        if all(len(gap) for gap in gaps):
            values[f"attribute_advantage/{name}"] = advantage(*gaps)[0]
    return values


def _covariate(dataset: EHRDataset, name: str) -> np.ndarray:
    return dataset.static[:, dataset.static_names.index(name)]
