"""Exact and near copies of train stays, over all stays of both sets."""

from scripts.quality.comparison import Trio
from scripts.quality.intervals import wilson
from scripts.quality.metric_report import MetricReport
from tardiff.privacy.memorisation import closeness


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
