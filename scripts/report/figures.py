"""Figures of an evaluation, one PNG each.

Colours are those of Okabe and Ito, told apart under every common colour blindness; a set also
keeps its own marker and line style, so no figure relies on colour alone. Real data are black.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from configs.runtime.atomic_files import atomic_path
from scripts.results.tables import TITLES, WITH_INTERVAL
from scripts.utility.bootstrap import Difference
from scripts.utility.protocols import REAL, STEPS
from scripts.utility.summary import UNGUIDED, Summary

OKABE_ITO = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
MARKERS = "osD^vPX"
DASHES = ("-", "--", "-.", ":")
DPI = 110


class Styles:
    """The same colour, marker and line for a set in every figure.

    Args:
        generators: the sets, in the order of the tables.
    """

    def __init__(self, generators: Sequence[str]) -> None:
        self._index = {name: index for index, name in enumerate(generators)}

    def colour(self, generator: str) -> str:
        """Black for real data, else the set's colour."""
        return "black" if generator == REAL else self._pick(OKABE_ITO, generator)

    def line(self, generator: str) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot` for a line with markers."""
        return {
            "color": self.colour(generator),
            "marker": self._pick(MARKERS, generator),
            "linestyle": self._pick(DASHES, generator),
        }

    def dash(self, generator: str) -> str:
        """Line style alone; solid for real data."""
        return "-" if generator == REAL else self._pick(DASHES[1:] + DASHES[:1], generator)

    def _pick(self, options: Sequence[str], generator: str) -> str:
        return options[self._index[generator] % len(options)]


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")


def file_name(model: str) -> str:
    """`model` with the characters that a file name should not hold replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", model)


def tsrtr_figure(summaries: Sequence[Summary], model: str, styles: Styles) -> Figure:
    """AUROC and AUPRC against the amount of synthetic data added to real training data."""

    def draw(axes: Axes, metric: str) -> None:
        real = _one(summaries, "TRTR", model, metric, REAL)
        axes.axhline(real.mean, color="black", linestyle=(0, (1, 1.5)), label="real only")
        control = _pick(summaries, STEPS, model, metric)
        if control:
            ratios = [row.ratio or 0.0 for row in control]
            means = [row.mean for row in control]
            axes.plot(ratios, means, color="0.45", marker="x", label="real only, same steps")
        for generator in _generators(summaries, "TSRTR"):
            rows = [real, *_pick(summaries, "TSRTR", model, metric, generator)]
            ratios = [row.ratio or 0.0 for row in rows]
            style = styles.line(generator)
            axes.plot(ratios, [row.mean for row in rows], label=generator, **style)
            low, high = [row.low for row in rows], [row.high for row in rows]
            axes.fill_between(ratios, low, high, color=style["color"], alpha=0.15, linewidth=0)
        axes.set_xlabel("synthetic : real training series")
        axes.set_ylabel(f"{TITLES[metric]} on real test series")

    title = f"Real plus synthetic training data (TSRTR), downstream model {model}"
    note = "line: mean over seeds; band: interval over test series. Compare sets by their paired "
    return _panels(title, note + "differences, not by overlapping bands.", draw)


def tstr_figure(summaries: Sequence[Summary], model: str, styles: Styles) -> Figure:
    """AUROC and AUPRC of models that saw synthetic data only, beside real-only training."""

    def draw(axes: Axes, metric: str) -> None:
        rows = _pick(summaries, "TRTR", model, metric) + _pick(summaries, "TSTR", model, metric)
        floor = _axis_floor([row.low for row in rows])
        for place, row in enumerate(rows):
            colour = styles.colour(row.generator)
            axes.barh(place, row.mean - floor, left=floor, color=colour, alpha=0.65)
            errors = [[row.mean - row.low], [row.high - row.mean]]
            axes.errorbar(row.mean, place, xerr=errors, color="black", capsize=4, linewidth=1.2)
        axes.set_yticks(range(len(rows)), [_trained_on(row.generator) for row in rows])
        axes.invert_yaxis()
        axes.set_xlim(left=floor)
        axes.set_xlabel(f"{TITLES[metric]} on real test series (axis starts at {floor:g})")

    title = f"Trained on one source only (TRTR and TSTR), downstream model {model}"
    count = len(_pick(summaries, "TSTR", model, "auroc")) + 1
    note = "bar: mean over seeds; line: interval over test series"
    return _panels(title, note, draw, height=1.9 + 0.45 * count, legend=False)


def difference_figure(summaries: Sequence[Summary], model: str, styles: Styles) -> Figure:
    """Paired differences to the unguided set, or to real-only training if there is none."""
    chosen = [s for s in summaries if s.model == model and s.protocol in ("TSTR", "TSRTR")]
    to_unguided = any(s.vs_unguided for s in chosen)
    reference = f"the {UNGUIDED} set" if to_unguided else "real-only training"

    def difference(summary: Summary) -> Difference | None:
        return summary.vs_unguided if to_unguided else summary.vs_real

    def draw(axes: Axes, metric: str) -> None:
        rows = [(s, d) for s in chosen if s.metric == metric and (d := difference(s))]
        seen: set[str] = set()
        for place, (row, d) in enumerate(rows):
            style: dict[str, Any] = {**styles.line(row.generator), "linestyle": "none"}
            axes.plot([d.low, d.high], [place, place], color=style["color"], linewidth=1.6)
            label = None if row.generator in seen else row.generator
            face = style["color"] if d.excludes_zero else "white"
            axes.plot(d.mean, place, label=label, markerfacecolor=face, **style)
            seen.add(row.generator)
        axes.axvline(0, color="black", linewidth=0.8)
        axes.set_yticks(range(len(rows)), [_protocol_name(row) for row, _ in rows])
        axes.invert_yaxis()
        axes.set_xlabel(f"difference in {TITLES[metric]} (right is better)")
        axes.locator_params(axis="x", nbins=5)  # labels of small differences are long

    count = sum(1 for s in chosen if s.metric == "auroc" and difference(s))
    title = f"Paired difference to {reference}, downstream model {model}"
    note = "interval over test series and seeds; filled: the interval excludes 0"
    return _panels(title, note, draw, height=2.2 + 0.28 * count)


def _panels(
    title: str,
    note: str,
    draw: Callable[[Axes, str], None],
    *,
    height: float = 4.2,
    legend: bool = True,
) -> Figure:
    """One panel per metric of WITH_INTERVAL under a title and a note, and one shared legend."""
    figure = Figure(figsize=(10, height), layout="constrained")
    axes = figure.subplots(1, len(WITH_INTERVAL))
    for panel, metric in zip(axes, WITH_INTERVAL, strict=True):
        draw(panel, metric)
        tidy(panel)
    figure.suptitle(f"{title}\n", fontsize=12, fontweight="bold")
    figure.text(0.5, 0.99 - 0.3 / height, note, ha="center", va="top", fontsize=9, color="0.3")
    if legend:
        shared_legend(figure, axes[0])
    return figure


def shared_legend(figure: Figure, axes: Axes, *, columns: int = 4) -> None:
    """The legend of `axes` below all panels."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), columns))


def time_axis(length: int, hours_per_step: float) -> tuple[np.ndarray, str]:
    """Times of the grid points in a readable unit, and its name."""
    unit, per_hour = ("hours", 1.0) if length * hours_per_step >= 1 else ("seconds", 3600.0)
    return np.arange(length) * hours_per_step * per_hour, unit


def tidy(axes: Axes) -> None:
    """A light grid and no box."""
    axes.grid(True, color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _pick(
    summaries: Sequence[Summary],
    protocol: str,
    model: str,
    metric: str,
    generator: str | None = None,
) -> list[Summary]:
    wanted = (protocol, model, metric)
    rows = [s for s in summaries if (s.protocol, s.model, s.metric) == wanted]
    return [s for s in rows if generator in (None, s.generator)]


def _one(
    summaries: Sequence[Summary], protocol: str, model: str, metric: str, generator: str
) -> Summary:
    (row,) = _pick(summaries, protocol, model, metric, generator)
    return row


def _generators(summaries: Sequence[Summary], protocol: str) -> list[str]:
    return list(dict.fromkeys(s.generator for s in summaries if s.protocol == protocol))


def _axis_floor(values: Sequence[float]) -> float:
    """A round number below all values, so that bars leave room for their differences."""
    return max(0.0, int((min(values) - 0.02) * 20) / 20)


def _trained_on(generator: str) -> str:
    return "real only" if generator == REAL else generator


def _protocol_name(summary: Summary) -> str:
    return summary.protocol if summary.ratio is None else f"{summary.protocol} {summary.ratio:g}"
