"""Figures of the scores: AUROC of every source, mixtures, paired differences."""

import itertools
import re
from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.pictures.styles import Styles, shared_legend, tidy
from scripts.results.tables import TITLES, WITH_INTERVAL
from scripts.utility.bootstrap import Difference
from scripts.utility.protocols import BASELINE, REAL, STEPS, UPPER
from scripts.utility.summary import UNGUIDED, Summary


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
            # Intervals stand side by side; bands over each other cannot be told apart.
            aside = 0.012 * ratios[-1] * (styles.place(generator) - (len(styles) - 1) / 2)
            for at, row in zip(ratios[1:], rows[1:], strict=True):
                axes.plot([at + aside] * 2, [row.low, row.high], color=style["color"], alpha=0.7)
        axes.set_xlabel("synthetic : real training series")
        axes.set_ylabel(f"{TITLES[metric]} on real test series")

    title = f"Real plus synthetic training data (TSRTR), downstream model {model}"
    note = "mean over seeds; bars: interval over test series. Compare sets by paired differences."
    return _panels(title, note, draw)


def headline_figure(summaries: Sequence[Summary], model: str, styles: Styles) -> Figure:
    """AUROC with its interval: real, synthetic, and real + the most synthetic; the true risk as a
    line where it is known."""
    rows = headline_rows(summaries, model)
    figure = Figure(figsize=(6.0, 1.5 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    for place, row in enumerate(rows):
        known = row.protocol in ("TSTR", "TSRTR")
        colour = styles.colour(row.generator) if known else "black"
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2.2)
        marker = styles.line(row.generator)["marker"] if known else "o"
        axes.plot(row.mean, place, marker=marker, color=colour, markersize=8, linestyle="none")
        above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 8}
        axes.annotate(f"{row.mean:.3f}", (row.mean, place), **above)
    for bound in _pick(summaries, UPPER, model, "auroc"):
        label = f"true risk of the simulator, {bound.mean:.3f}: no model can expect more"
        axes.axvline(bound.mean, color="0.35", linestyle="--", linewidth=1.3, label=label)
        figure.legend(loc="outside lower center", fontsize=8)
    axes.set_yticks(range(len(rows)), [_headline_name(row) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.7)
    axes.set_xlabel("AUROC on test series (0.5 is guessing)")
    tidy(axes)
    figure.suptitle(f"What models learn from each source ({model})", fontweight="bold")
    return figure


def headline_rows(summaries: Sequence[Summary], model: str) -> list[Summary]:
    """AUROC of real, baselines, each set alone, and real + the most of each set."""
    mixed = _pick(summaries, "TSRTR", model, "auroc")
    most = max((row.ratio or 0.0 for row in mixed), default=0.0)
    single = (_pick(summaries, kind, model, "auroc") for kind in ("TRTR", BASELINE, "TSTR"))
    return [*itertools.chain(*single), *(row for row in mixed if row.ratio == most)]


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
) -> Figure:
    """One panel per metric of WITH_INTERVAL under a title and a note, and one shared legend."""
    figure = Figure(figsize=(10, height), layout="constrained")
    axes = figure.subplots(1, len(WITH_INTERVAL))
    for panel, metric in zip(axes, WITH_INTERVAL, strict=True):
        draw(panel, metric)
        tidy(panel)
    figure.suptitle(f"{title}\n", fontsize=12, fontweight="bold")
    figure.text(0.5, 0.99 - 0.3 / height, note, ha="center", va="top", fontsize=9, color="0.3")
    shared_legend(figure, axes[0])
    return figure


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


def _headline_name(row: Summary) -> str:
    name = f"real + {row.ratio:g} synthetic: " if row.protocol == "TSRTR" else "synthetic: "
    if row.protocol in ("TRTR", BASELINE):
        name = "" if row.protocol == "TRTR" else "real, no generator: "
    return name + row.generator


def _protocol_name(summary: Summary) -> str:
    return summary.protocol if summary.ratio is None else f"{summary.protocol} {summary.ratio:g}"
