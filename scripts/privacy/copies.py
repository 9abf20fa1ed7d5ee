"""Exact and near copies of train stays, over all stays of both sets."""

from typing import NamedTuple

import numpy as np
from torch import Tensor

from scripts.intervals import wilson
from scripts.metric_report import MetricReport
from scripts.neighbours import nearest
from scripts.trio import Trio

# Root-mean-square difference per entry, in model space, below which two series are one: a copy
# that went through float32 and the normaliser and back differs by far less.
SAME = 1e-3
NEIGHBOUR = 5
NEAR_RATIO = 0.5


class Closeness(NamedTuple):
    """Per series: RMS distance to the closest reference stay; whether it copies, or nearly so."""

    distance: np.ndarray
    exact: np.ndarray
    near: np.ndarray


def closeness(x: Tensor, reference: Tensor) -> Closeness:
    """How each series of `x` sits among the `reference` stays, both in model space.

    A near copy is at least 1 / NEAR_RATIO times closer to its closest stay than to the fifth
    closest. A mere distance would not do: series shrunk towards the mean are near to everyone.
    """
    neighbour = min(NEIGHBOUR, len(reference))
    distances = nearest(x.flatten(1), reference.flatten(1), k=neighbour)[0].numpy()
    distances = distances / x[0].numel() ** 0.5
    exact = distances[:, 0] <= SAME
    near = exact | (distances[:, 0] < NEAR_RATIO * distances[:, -1])
    return Closeness(distances[:, 0], exact, near)


def copies_report(trio: Trio) -> MetricReport:
    """Counts of synthetic series that equal, or single out, a train stay.

    Every synthetic series is compared with every train stay, since a subsample would miss copies.
    The references are the same shares among held-out stays.
    """
    found = closeness(trio.x_synthetic, trio.x_train)
    fresh = closeness(trio.x_holdout, trio.x_train)
    near = float(found.near.mean())
    low, high = wilson(near, len(found.near))
    reference = float(fresh.near.mean())
    exact = int(found.exact.sum())
    values = {
        "exact_copies": float(exact),
        "exact_copy_share": float(found.exact.mean()),
        "exact_copy_share_reference": float(fresh.exact.mean()),
        "near_copy_share": near,
        "near_copy_share_low": low,
        "near_copy_share_high": high,
        "near_copy_share_reference": reference,
        "near_copy_share_reference_high": wilson(reference, len(fresh.near))[1],
    }
    arrays = {"closest_train_synthetic": found.distance, "closest_train_holdout": fresh.distance}
    flags = [f"{exact} synthetic series are copies of train stays"] if exact else []
    return MetricReport(values=values, arrays=arrays, flags=flags)
