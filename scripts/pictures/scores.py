"""Pictures of the scores of one downstream model, each with a caption of the numbers drawn.

`rows` are always the summaries of that model.
"""

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.pictures.curves import curve_figure, reliability_figure, training_sources
from scripts.pictures.styles import Picture, Styles, new_panels, shared_legend
from scripts.quality.common.metric_report import interval_text
from scripts.utility.bootstrap import Difference
from scripts.utility.metrics import LOWER_IS_BETTER, METRICS, RANKING, Predictions
from scripts.utility.protocols import BASELINE, REAL, UPPER, Fit
from scripts.utility.summary import UNGUIDED, Summary, select

LEAST_RANGE = 0.005  # of an axis to either side; equal sets would have none
SOURCES = {"TSTR": "{}", "TSRTR": "real + {}", BASELINE: "real, no generator, {}"}


def score_pictures(
    rows: Sequence[Summary], predictions: Mapping[Fit, Predictions], styles: Styles
) -> list[Picture]:
    """All pictures of one downstream model, those of protocols that were left out excepted."""
    model, sets = rows[0].model, ", ".join(styles.sets) or "no set"
    sources = training_sources(predictions, model)
    protocols = {row.protocol for row in rows}
    found: list[Picture] = []

    def add(name: str, figure: Figure, alt: str, caption: str) -> None:
        found.append(Picture(f"{name}_{file_name(model)}", figure, alt, caption))

    alt = f"AUROC with intervals: real training series, {sets}, and both together"
    caption = " ".join(
        f"{SOURCES[s.protocol].format(s.generator)}: {s.vs_real} against real alone, "
        f"{reading(s.vs_real, lower_is_better=False)}."
        for s in headline_rows(rows)
        if s.vs_real is not None
    )
    add("auroc", headline_figure(rows, styles), alt, caption)
    mixed = select(rows, protocol="TSRTR", metric="auroc")
    most = max((s.ratio or 0.0 for s in mixed), default=0.0)
    if any(s.ratio != most for s in mixed):  # one amount is in the picture of AUROC
        alt = f"AUROC and AUPRC against the amount of synthetic data added: {sets}"
        add("tsrtr", tsrtr_figure(rows, styles), alt, _versus_real(select(mixed, ratio=most)))
    if protocols & {"TSTR", "TSRTR"}:
        alt = f"Paired differences with intervals, per protocol: {sets}"
        add("differences", difference_figure(rows, styles), alt, _how_many_clear(rows))
    alt = f"ROC and precision-recall curves of real-only and synthetic-only training: {sets}"
    add("roc_pr", curve_figure(sources, model, styles), alt, _levels(rows, ("auroc", "auprc")))
    alt = f"Observed share against predicted probability: real-only training and {sets}"
    losses = _versus_real(select(rows, protocol="TSTR", metric="brier"))
    caption = f"{_levels(rows, ('ece', 'brier'))} {losses}".strip()
    add("calibration", reliability_figure(sources, model, styles), alt, caption)
    return found


def file_name(model: str) -> str:
    """`model` with the characters that a file name should not hold replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", model)


def tsrtr_figure(rows: Sequence[Summary], styles: Styles) -> Figure:
    """AUROC and AUPRC against the amount of synthetic data added to real training data."""

    def draw(axes: Axes, metric: str) -> None:
        of_metric = select(rows, metric=metric)
        (real,) = select(of_metric, protocol="TRTR")
        axes.axhline(real.mean, color="black", linestyle=(0, (1, 1.5)), label="real only")
        mixed = select(of_metric, protocol="TSRTR")
        for generator in dict.fromkeys(row.generator for row in mixed):
            line = [real, *select(mixed, generator=generator)]
            ratios = [row.ratio or 0.0 for row in line]
            style = styles.line(generator)
            axes.plot(ratios, [row.mean for row in line], label=generator, **style)
            # Intervals stand side by side; bands over each other cannot be told apart.
            aside = 0.012 * ratios[-1] * (styles.sets.index(generator) - (len(styles.sets) - 1) / 2)
            for at, row in zip(ratios[1:], line[1:], strict=True):
                axes.plot([at + aside] * 2, [row.low, row.high], color=style["color"], alpha=0.7)
        axes.set_xlabel("synthetic : real training series")
        axes.set_ylabel(f"{METRICS[metric]} on real test series")
        low, high = axes.get_ylim()
        missing = max(0.0, LEAST_RANGE - (high - low) / 2)
        axes.set_ylim(low - missing, high + missing)
        axes.ticklabel_format(axis="y", useOffset=False)

    title = f"Real plus synthetic training data (TSRTR), downstream model {rows[0].model}"
    note = "mean over seeds; bars: interval over test series. Compare sets by paired differences."
    return _panels(title, note, draw)


def headline_figure(rows: Sequence[Summary], styles: Styles) -> Figure:
    """AUROC with its interval: real, synthetic, and real + the most synthetic; the true risk as a
    line where it is known."""
    shown = headline_rows(rows)
    figure, panels = new_panels(6.0, 1.5 + 0.36 * len(shown))
    axes = panels[0, 0]
    for place, row in enumerate(shown):
        known = row.protocol in ("TSTR", "TSRTR")
        colour = styles.colour(row.generator) if known else "black"
        axes.plot([row.low, row.high], [place, place], color=colour, linewidth=2.2)
        marker = styles.line(row.generator)["marker"] if known else "o"
        axes.plot(row.mean, place, marker=marker, color=colour, markersize=8, linestyle="none")
        above = {"xytext": (0, 6), "textcoords": "offset points", "ha": "center", "fontsize": 8}
        axes.annotate(f"{row.mean:.3f}", (row.mean, place), **above)
    for bound in select(rows, protocol=UPPER, metric="auroc"):
        label = f"true risk of the simulator, {bound.mean:.3f}: no model can expect more"
        axes.axvline(bound.mean, color="0.35", linestyle="--", linewidth=1.3, label=label)
        figure.legend(loc="outside lower center", fontsize=8)
    names = {
        "TRTR": "{set}",
        BASELINE: "real, no generator: {set}",
        "TSTR": "synthetic: {set}",
        "TSRTR": "real + {ratio:g} synthetic: {set}",
    }
    labels = [names[s.protocol].format(set=s.generator, ratio=s.ratio or 0.0) for s in shown]
    axes.set_yticks(range(len(shown)), labels)
    axes.set_ylim(len(shown) - 0.5, -0.7)
    axes.set_xlabel("AUROC on test series (0.5 is guessing)")
    axes.locator_params(axis="x", nbins=6)
    title = f"What models learn from each source ({rows[0].model})"
    figure.suptitle(title, fontweight="bold")
    return figure


def headline_rows(rows: Sequence[Summary]) -> list[Summary]:
    """AUROC of real, baselines, each set alone, and real + the most of each set."""
    rows = select(rows, metric="auroc")
    single = (select(rows, protocol=protocol) for protocol in ("TRTR", BASELINE, "TSTR"))
    mixed = select(rows, protocol="TSRTR")
    most = max((row.ratio or 0.0 for row in mixed), default=0.0)
    return [*itertools.chain(*single), *select(mixed, ratio=most)]


def difference_figure(rows: Sequence[Summary], styles: Styles) -> Figure:
    """Paired differences to the unguided set, or to real-only training if there is none."""
    reference, found = _drawn_differences(rows)
    to = f"the {UNGUIDED} set" if reference == "vs_unguided" else "real-only training"

    def draw(axes: Axes, metric: str) -> None:
        shown = [(s, d) for s, d in found if s.metric == metric]
        seen: set[str] = set()
        for place, (row, d) in enumerate(shown):
            style: dict[str, Any] = {**styles.line(row.generator), "linestyle": "none"}
            axes.plot([d.low, d.high], [place, place], color=style["color"], linewidth=1.6)
            label = None if row.generator in seen else row.generator
            face = style["color"] if d.excludes_zero else "white"
            axes.plot(d.mean, place, label=label, markerfacecolor=face, **style)
            seen.add(row.generator)
        axes.axvline(0, color="black", linewidth=0.8)
        names = [s.protocol + ("" if s.ratio is None else f" {s.ratio:g}") for s, _ in shown]
        axes.set_yticks(range(len(shown)), names)
        axes.invert_yaxis()
        axes.set_xlabel(f"difference in {METRICS[metric]} (right is better)")
        low, high = axes.get_xlim()
        axes.set_xlim(min(low, -LEAST_RANGE), max(high, LEAST_RANGE))
        axes.locator_params(axis="x", nbins=5)  # labels of small differences are long

    count = sum(s.metric == "auroc" for s, _ in found)
    title = f"Paired difference to {to}, downstream model {rows[0].model}"
    note = "interval over test series and seeds; filled: the interval excludes 0"
    return _panels(title, note, draw, height=2.2 + 0.28 * count)


def reading(difference: Difference, *, lower_is_better: bool) -> str:
    """ "better", "worse" or that no difference can be seen; the answer on usefulness does not count
    what the correction for the number of sets takes back, so that is said."""
    if not difference.excludes_zero:
        return "no difference can be seen"
    found = "better" if (difference.low > 0) != lower_is_better else "worse"
    if difference.survives_correction:
        return found
    return f"{found}, but not surely: corrected p = {difference.corrected_p:.3f}"


def _panels(
    title: str, note: str, draw: Callable[[Axes, str], None], *, height: float = 4.2
) -> Figure:
    """One panel per metric of RANKING under a title and a note, and one shared legend."""
    figure, panels = new_panels(10.0, height, columns=len(RANKING))
    for panel, metric in zip(panels[0], RANKING, strict=True):
        draw(panel, metric)
    figure.suptitle(f"{title}\n", fontsize=12, fontweight="bold")
    figure.text(0.5, 0.99 - 0.3 / height, note, ha="center", va="top", fontsize=9, color="0.3")
    shared_legend(figure, panels[0, 0])
    return figure


def _drawn_differences(rows: Iterable[Summary]) -> tuple[str, list[tuple[Summary, Difference]]]:
    """The reference, and the differences to it of AUROC and AUPRC."""
    drawn = [s for s in rows if s.protocol in ("TSTR", "TSRTR") and s.metric in RANKING]
    reference = "vs_unguided" if any(s.vs_unguided for s in drawn) else "vs_real"
    return reference, [(s, d) for s in drawn if (d := getattr(s, reference)) is not None]


def _how_many_clear(rows: Sequence[Summary]) -> str:
    found = [difference for _, difference in _drawn_differences(rows)[1]]
    clear = sum(d.excludes_zero for d in found)
    kept = sum(d.survives_correction for d in found)
    return (
        f"Intervals that exclude 0: {clear} of {len(found)}; p below 0.05 after Holm's correction: "
        f"{kept}."
    )


def _versus_real(rows: Iterable[Summary]) -> str:
    """One sentence per set: its difference to real-only training."""
    return " ".join(
        f"{s.generator}: {METRICS[s.metric]} {s.vs_real} against real data alone, "
        f"{reading(s.vs_real, lower_is_better=s.metric in LOWER_IS_BETTER)}"
        + (f" (synthetic : real {s.ratio:g})." if s.ratio else ".")
        for s in rows
        if s.vs_real is not None
    )


def _levels(rows: Iterable[Summary], metrics: Sequence[str]) -> str:
    """The metrics of real-only and synthetic-only training."""
    by_set: dict[str, list[str]] = {}
    for s in rows:
        if s.protocol in ("TRTR", "TSTR") and s.metric in metrics:
            name = "real only" if s.generator == REAL else s.generator
            text = f"{METRICS[s.metric]} {interval_text(s.mean, s.low, s.high)}"
            by_set.setdefault(name, []).append(text)
    return "; ".join(f"{name}: {', '.join(texts)}" for name, texts in by_set.items()) + "."
