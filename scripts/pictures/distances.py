"""Distances of every synthetic series to the closest training and to the closest held-out one."""

from collections.abc import Mapping

import numpy as np

from scripts.pictures.styles import Picture, Styles, new_panels
from scripts.quality.common.metric_report import MetricReport, with_interval
from scripts.quality.common.registry import CHANCE, raised_flags

BINS = 40
TOP = 0.995  # quantile of all distances at which the axis ends


def distance_picture(reports: Mapping[str, MetricReport], styles: Styles) -> Picture:
    """One panel per set: distance to the closest training and to the closest held-out series."""
    figure, panels = new_panels(7.2, 0.7 + 2.2 * len(reports), rows=len(reports))
    pooled = np.concatenate(
        [r.arrays[f"dcr_{side}"] for r in reports.values() for side in ("train", "holdout")]
    )
    edges = np.linspace(0, max(float(np.quantile(pooled, TOP)), 1e-6), BINS + 1)
    for panel, (name, report) in zip(panels[:, 0], reports.items(), strict=True):
        panel.hist(report.arrays["dcr_holdout"], edges, color="0.8", label="to held-out series")
        counts, _ = np.histogram(report.arrays["dcr_train"], edges)
        label = f"{name} to training series"
        panel.stairs(counts, edges, color=styles.colour(name), linewidth=1.8, label=label)
        panel.set_ylabel("series")
        panel.legend(fontsize=8)
    panels[-1, 0].set_xlabel("distance to the closest series (root mean square, training s.d.)")
    return Picture(
        "privacy",
        figure,
        "Histograms of the distance to the closest training series and to the closest held-out "
        f"series, for {', '.join(reports)}",
        " ".join(_nearness(name, report) for name, report in reports.items())
        + " A set of memorised records has a peak at or near 0 for training series only.",
    )


def _nearness(name: str, report: MetricReport) -> str:
    values = report.values
    metric = "closer_to_train_share"
    low, high = values[f"{metric}_low"], values[f"{metric}_high"]
    if low > 0.5:
        reading = "nearer to training series than chance"
        if metric not in {flag.metric for flag in raised_flags(values)}:
            reading += f", but not surely: the quality flag asks for p < {CHANCE:g}"
    elif high < 0.5:
        reading = "farther from training series than chance"
    else:
        reading = "no nearer to training series than chance can explain"
    return (
        f"{name}: share nearer to train {with_interval(report, metric)}, {reading}; "
        f"{values['copies']:.0f} copies, {100 * values['near_copy_share']:.1f} % near copies."
    )
