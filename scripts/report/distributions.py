"""Pictures of whole sets: channel values, distances to the closest real series, and maps."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.quality.common.metric_report import MetricReport, with_interval
from scripts.report.figures import Styles, shared_legend, tidy
from scripts.report.page import Picture
from scripts.results.distributions import TAIL, ChannelHistogram, Distributions
from scripts.results.embedding import Maps
from scripts.utility.protocols import REAL

BINS = 40  # of the distances
TOP = 0.995  # quantile of all distances at which the axis ends


def distribution_picture(found: Distributions, styles: Styles) -> Picture:
    """Histograms per channel; the caption names the channel that is farthest off, per set."""
    shown, sets = found.histograms, ", ".join(found.gaps)
    figure = Figure(figsize=(7.2, 0.9 + 1.7 * ((len(shown) + 1) // 2)), layout="constrained")
    panels = list(figure.subplots((len(shown) + 1) // 2, 2, squeeze=False).ravel())
    for panel, histogram in zip(panels, shown, strict=False):
        _draw(panel, histogram, styles)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    shared_legend(figure, panels[0])
    caption = " ".join(_farthest(name, gaps, found.channels) for name, gaps in found.gaps.items())
    left_out = len(found.channels) - len(shown)
    if left_out:
        caption += f" {left_out} channels with smaller differences are left out."
    return Picture(
        "distributions",
        figure,
        f"Histograms of {len(shown)} channels: held-out series and {sets}",
        f"{caption} The Kolmogorov-Smirnov distance (0 to 1) is the largest gap between the two "
        f"distribution functions. The axes leave out {100 * TAIL:g} % of the held-out values at "
        "either end.",
    )


def _draw(axes: Axes, found: ChannelHistogram, styles: Styles) -> None:
    axes.stairs(found.real, found.edges, fill=True, color="0.8", label="held-out real")
    for name, density in found.sets.items():
        colour, dash = styles.colour(name), styles.dash(name)
        axes.stairs(density, found.edges, label=name, linewidth=1.5, color=colour, linestyle=dash)
    axes.set_yticks([])
    axes.set_title(found.channel, fontsize=9, loc="left")
    tidy(axes)


def _farthest(name: str, gaps: np.ndarray, channels: tuple[str, ...]) -> str:
    worst = int(gaps.argmax())
    return (
        f"{name}: farthest off in {channels[worst]} ({gaps[worst]:.3f}), "
        f"{gaps.mean():.3f} on average over {len(gaps)} channels."
    )


def distance_picture(reports: Mapping[str, MetricReport], styles: Styles) -> Picture:
    """One panel per set: distance to the closest training and to the closest held-out series."""
    figure = Figure(figsize=(7.2, 0.7 + 2.2 * len(reports)), layout="constrained")
    panels = list(figure.subplots(len(reports), 1, squeeze=False).ravel())
    pooled = np.concatenate(
        [r.arrays[f"dcr_{side}"] for r in reports.values() for side in ("train", "holdout")]
    )
    edges = np.linspace(0, max(float(np.quantile(pooled, TOP)), 1e-6), BINS + 1)
    for panel, (name, report) in zip(panels, reports.items(), strict=True):
        panel.hist(report.arrays["dcr_holdout"], edges, color="0.8", label="to held-out series")
        counts, _ = np.histogram(report.arrays["dcr_train"], edges)
        label = f"{name} to training series"
        panel.stairs(counts, edges, color=styles.colour(name), linewidth=1.8, label=label)
        panel.set_ylabel("series")
        tidy(panel)
        panel.legend(fontsize=8)
    panels[-1].set_xlabel("distance to the closest series (root mean square, training s.d.)")
    return Picture(
        "privacy",
        figure,
        "Histograms of the distance to the closest training series and to the closest held-out "
        f"series, for {', '.join(reports)}",
        " ".join(_nearness(name, report) for name, report in reports.items())
        + " A set of memorised records has a peak at 0 for training series only.",
    )


def _nearness(name: str, report: MetricReport) -> str:
    values = report.values
    metric = "closer_to_train_share"
    low, high = values[f"{metric}_low"], values[f"{metric}_high"]
    if low > 0.5:
        reading = "nearer to training series than chance"
    elif high < 0.5:
        reading = "farther from training series than chance"
    else:
        reading = "no nearer to training series than chance can explain"
    return (
        f"{name}: share nearer to train {with_interval(report, metric)}, {reading}; "
        f"{values['exact_copies']:.0f} exact copies."
    )


def embedding_picture(maps: Maps, styles: Styles) -> Picture:
    """One row per map, one column per set."""
    sets = list(maps.spreads)
    figure = Figure(figsize=(1.0 + 3.1 * max(len(sets), 2), 6.2), layout="constrained")
    panels = figure.subplots(len(maps.points), len(sets), squeeze=False)
    for row, (title, points) in enumerate(maps.points.items()):
        for column, name in enumerate(sets):
            axes = panels[row, column]
            axes.scatter(*points[REAL].T, s=7, color="0.6", label="held-out real")
            style = {"color": styles.colour(name), "alpha": 0.6, "marker": "x"}
            axes.scatter(*points[name].T, s=7, label=name, **style)
            axes.set(xticks=[], yticks=[], title=f"{name}: {title}")
            axes.title.set_fontsize(9)
            tidy(axes)
    # Each set has its own column: the entry of the real series is that of the first.
    entries = [panel.get_legend_handles_labels() for panel in panels[0]]
    handles = [entries[0][0][0], *(found[0][1] for found in entries)]
    figure.legend(handles, ["held-out real", *sets], loc="outside lower center", ncols=4)
    caption = " ".join(
        f"{name}: spread along the first two real components {first:.2f} and {second:.2f} times "
        f"the real one, total variance {maps.variances[name]:.2f} times."
        for name, (first, second) in maps.spreads.items()
    )
    size = len(maps.points["t-SNE"][REAL])
    return Picture(
        "embedding",
        figure,
        f"Maps by principal components and t-SNE: held-out series in grey, {', '.join(sets)} as "
        "coloured crosses",
        f"{caption} The two components, fitted on {size} held-out series, hold "
        f"{100 * maps.explained:.0f} % of their variance. A good set covers the grey points and "
        "nothing else. Distances between t-SNE clusters have no meaning.",
    )
