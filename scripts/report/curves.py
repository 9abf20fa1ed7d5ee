"""Figures of the ROC, precision-recall and reliability curves."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from scripts.report.figures import Styles, shared_legend, tidy
from scripts.results.curves import GRID, Curves
from scripts.utility.protocols import REAL


def curve_figure(curves: Mapping[str, Curves], model: str, styles: Styles) -> Figure:
    """ROC and precision-recall curves on the real test series: real-only and synthetic-only."""
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    roc, pr = figure.subplots(1, 2)
    for generator, found in curves.items():
        style = {"color": styles.colour(generator), "linestyle": styles.dash(generator)}
        roc.plot(GRID, found.true_positive_rate, label=source_name(generator), **style)
        pr.plot(GRID[1:], found.precision[1:], label=source_name(generator), **style)
    roc.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, label="chance")
    pr.axhline(next(iter(curves.values())).chance, color="0.6", linewidth=0.8)
    for axes, x, y in (
        (roc, "false positive rate", "true positive rate"),
        (pr, "recall", "precision"),
    ):
        axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
        tidy(axes)
    title = f"ROC and precision-recall on real test series, downstream model {model}"
    figure.suptitle(title, fontsize=12, fontweight="bold")
    shared_legend(figure, roc)
    return figure


def reliability_figure(curves: Mapping[str, Curves], model: str, styles: Styles) -> Figure:
    """Observed share of the outcome against the predicted probability, ten bins of equal size.

    More than two classes: share of right answers against the probability of the answer.
    """
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.subplots()
    top = 0.0
    for generator, found in curves.items():
        colour = styles.colour(generator)
        axes.plot(found.predicted, found.observed, "o", markersize=4, color=colour)
        line: dict[str, Any] = {"color": colour, "linestyle": styles.dash(generator)}
        axes.plot(found.predicted, found.observed, label=source_name(generator), **line)
        top = max(top, found.predicted.max(), found.observed.max())
    limits = (0, min(1.0, 1.05 * top))
    axes.plot(limits, limits, color="0.6", linewidth=0.8, label="perfectly calibrated")
    axes.set(xlim=limits, ylim=limits, xlabel="mean predicted probability", ylabel="observed share")
    axes.set_aspect("equal")
    tidy(axes)
    title = f"Calibration on real test series,\ndownstream model {model}"
    figure.suptitle(title, fontweight="bold")
    shared_legend(figure, axes, columns=2)
    return figure


def source_name(generator: str) -> str:
    """How a training source is called in figures."""
    return "real only" if generator == REAL else generator
