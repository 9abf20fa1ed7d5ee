"""Figures of the influence report, one PNG each; colours and marks as in pictures/styles.py."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from scripts.influence_report.measures import STEP_NORM
from scripts.influence_report.named_sets import RankedSet
from scripts.pictures.styles import DASHES, MARKERS, OKABE_ITO, new_panels, shared_legend, time_axis
from tardiff.influence.one_step_check import StepTest

TAIL = 0.01  # share of each end that the histogram gathers in its outermost bins
MOST_CHANNELS = 12


def distribution_figure(sets: Sequence[RankedSet]) -> Figure:
    """Influence per class, one panel per set on a common axis."""
    figure, panels = new_panels(8.0, 0.9 + 2.3 * len(sets), rows=len(sets), sharex=True)
    pooled = np.concatenate([ranked.influence for ranked in sets])
    low, high = np.quantile(pooled, [TAIL, 1 - TAIL])
    edges = np.linspace(low, high, 1 + min(40, max(8, len(pooled) // 16)))
    for axes, ranked in zip(panels[:, 0], sets, strict=True):
        for label, name in enumerate(ranked.data.label_names):
            values = np.clip(ranked.influence[ranked.data.labels == label], low, high)
            if len(values):
                axes.hist(
                    values,
                    edges,
                    weights=np.full(len(values), 1 / len(values)),
                    histtype="step",
                    linewidth=1.6,
                    color=OKABE_ITO[label % len(OKABE_ITO)],
                    linestyle=DASHES[label % len(DASHES)],
                    label=f"{name}",
                )
        axes.axvline(0, color="0.4", linewidth=0.8)
        axes.set_ylabel("share of the class")
        axes.set_title(f"{ranked.name}, {len(ranked.influence):,} series", fontsize=10)
    panels[-1, 0].set_xlabel(
        "influence: right of 0, training on the series lowers the guidance loss\n"
        "(outermost bins hold all that lies beyond)"
    )
    shared_legend(figure, panels[0, 0])
    return figure


def step_figure(test: StepTest) -> Figure:
    """Predicted against measured fall of the guidance loss."""
    figure, panels = new_panels(5.0, 5.0)
    axes = panels[0, 0]
    predicted, measured = test.predicted.numpy(), test.measured.numpy()
    both = np.concatenate([predicted, measured])
    ends = [both.min(), both.max()]
    axes.plot(ends, ends, color="0.4", linewidth=1, linestyle="--", label="measured = predicted")
    axes.scatter(predicted, measured, s=14, color=OKABE_ITO[1], alpha=0.7, label="one series")
    axes.ticklabel_format(scilimits=(-2, 2))
    axes.set_xlabel("fall of the guidance loss, predicted")
    axes.set_ylabel("measured after one step on that series")
    axes.set_title(
        f"{len(predicted)} steps of norm {STEP_NORM:g} ||phi||: Spearman {test.spearman:.4f}, "
        f"slope {test.slope:.3f},\nsigns agree in {100 * test.sign_agreement:.1f} %",
        fontsize=9,
    )
    axes.legend(fontsize=8)
    return figure


def curve_figure(rows: Sequence[dict[str, Any]]) -> Figure:
    """How soon a small guidance set gives the G and the ranking of the whole one."""
    figure, panels = new_panels(6.0, 4.0)
    axes = panels[0, 0]
    sizes = [row["guidance_rows"] for row in rows]
    for place, (key, label) in enumerate(
        (("cosine", "cosine of G to the full G"), ("spearman", "rank correlation of influences"))
    ):
        axes.errorbar(
            sizes,
            [row[key] for row in rows],
            yerr=[row[f"{key}_sd"] for row in rows],
            capsize=4,
            color=OKABE_ITO[place],
            marker=MARKERS[place],
            linestyle=DASHES[place],
            label=label,
        )
    axes.set_ylim(top=1.05)
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("guidance rows")
    axes.set_ylabel(f"mean and s.d. over {rows[0]['repeats']} random subsets")
    axes.legend()
    return figure


def ends_figure(ranked: RankedSet, hours_per_step: float) -> Figure:
    """The series of highest and of lowest influence, channel by channel."""
    channels = min(ranked.data.num_channels, MOST_CHANNELS)
    columns = min(channels, 4)
    lines = -(-channels // columns)
    figure, panels = new_panels(3.0 * columns, 0.8 + 2.1 * lines, lines, columns, sharex=True)
    best, worst = ranked.ends()
    times, unit = time_axis(ranked.data.length, hours_per_step)
    for channel, axes in enumerate(panels.flat[:channels]):
        values = ranked.data.values[:, channel]
        for rows, end, colour, dash in ((best, "highest", 1, "-"), (worst, "lowest", 5, "--")):
            look: dict[str, Any] = {"color": OKABE_ITO[colour], "linestyle": dash, "alpha": 0.8}
            drawn = axes.plot(times, values[rows["row"]].T, linewidth=1, **look)
            drawn[0].set_label(f"{len(rows)} {end} influence")
        axes.set_title(ranked.data.feature_names[channel], fontsize=9)
        axes.set_xlabel(unit if channel >= channels - columns else "", fontsize=9)
    for axes in panels.flat[channels:]:
        axes.set_visible(False)
    figure.suptitle(f"{ranked.name}: which series help and which harm", fontsize=11)
    shared_legend(figure, panels[0, 0])
    return figure
