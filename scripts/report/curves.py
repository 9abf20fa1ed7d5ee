"""ROC, precision-recall and reliability curves of real-only and synthetic-only training."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from scripts.report.figures import Styles, shared_legend, tidy
from scripts.utility.metrics import Predictions, calibration_bins, confidence_and_truth
from scripts.utility.protocols import REAL, Cell

GRID = np.linspace(0, 1, 201)


def curve_figure(results: Mapping[Cell, Predictions], model: str, styles: Styles) -> Figure:
    """ROC and precision-recall curves on the real test stays: real-only and synthetic-only.

    Curves of the seeds are averaged vertically. More than two classes: also averaged over the
    one-vs-rest curves of the classes.
    """
    groups = _by_source(results, model)
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    roc, pr = figure.subplots(1, 2)
    for generator, per_seed in groups.items():
        style = {"color": styles.colour(generator), "linestyle": styles.dash(generator)}
        label = _name(generator)
        true_positive_rate, precision = average_curves(per_seed)
        roc.plot(GRID, true_positive_rate, label=label, **style)
        pr.plot(GRID[1:], precision[1:], label=label, **style)
    roc.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, label="chance")
    pr.axhline(_chance_precision(next(iter(groups.values()))[0]), color="0.6", linewidth=0.8)
    for axes, x, y in (
        (roc, "false positive rate", "true positive rate"),
        (pr, "recall", "precision"),
    ):
        axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
        tidy(axes)
    figure.suptitle(
        f"ROC and precision-recall on real test stays, downstream model {model}",
        fontsize=12,
        fontweight="bold",
    )
    shared_legend(figure, roc)
    return figure


def reliability_figure(results: Mapping[Cell, Predictions], model: str, styles: Styles) -> Figure:
    """Share of stays with the outcome against the predicted probability, ten bins of equal size.

    More than two classes: share of right answers against the probability of the answer.
    """
    figure = Figure(figsize=(6, 5.6), layout="constrained")
    axes = figure.subplots()
    top = 0.0
    for generator, per_seed in _by_source(results, model).items():
        predicted, observed = reliability(per_seed)
        style: dict[str, Any] = {
            "color": styles.colour(generator),
            "linestyle": styles.dash(generator),
        }
        axes.plot(predicted, observed, "o", markersize=4, color=style["color"])
        axes.plot(predicted, observed, label=_name(generator), **style)
        top = max(top, predicted.max(), observed.max())
    limits = (0, min(1.0, 1.05 * top))
    axes.plot(limits, limits, color="0.6", linewidth=0.8, label="perfectly calibrated")
    axes.set(xlim=limits, ylim=limits, xlabel="mean predicted probability", ylabel="observed share")
    axes.set_aspect("equal")
    tidy(axes)
    figure.suptitle(f"Calibration on real test stays,\ndownstream model {model}", fontweight="bold")
    shared_legend(figure, axes, columns=2)
    return figure


def reliability(
    per_seed: Sequence[Predictions],
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Mean predicted probability and observed share per calibration bin, seeds averaged."""
    predicted, observed = [], []
    for predictions in per_seed:
        confidence, truth = confidence_and_truth(predictions)
        bins = calibration_bins(confidence)
        members = [bins == b for b in np.unique(bins)]
        predicted.append([confidence[rows].mean() for rows in members])
        observed.append([truth[rows].mean() for rows in members])
    return np.mean(predicted, axis=0), np.mean(observed, axis=0)


def average_curves(
    per_seed: Sequence[Predictions],
) -> tuple[Float[np.ndarray, " grid"], Float[np.ndarray, " grid"]]:
    """True positive rate at each false positive rate of GRID, and precision at each recall."""
    rates, precisions = [], []
    for predictions in per_seed:
        p, y = predictions.probabilities, predictions.labels
        for k in [1] if predictions.is_binary else range(p.shape[1]):
            false_rate, true_rate, _ = roc_curve(y == k, p[:, k])
            precision, recall, _ = precision_recall_curve(y == k, p[:, k])
            rates.append(np.interp(GRID, false_rate, true_rate))
            # A step to the right: the precision reached with at least this recall.
            reached = np.searchsorted(recall[::-1], GRID, side="left")
            precisions.append(precision[::-1][reached])
    return np.mean(rates, axis=0), np.mean(precisions, axis=0)


def _by_source(results: Mapping[Cell, Predictions], model: str) -> dict[str, list[Predictions]]:
    """Predictions per training source: real only, and each set of TSTR."""
    groups: dict[str, list[Predictions]] = {}
    for cell, predictions in results.items():
        if cell.model == model and cell.protocol in ("TRTR", "TSTR"):
            groups.setdefault(cell.generator, []).append(predictions)
    return groups


def _name(generator: str) -> str:
    return "real only" if generator == REAL else generator


def _chance_precision(predictions: Predictions) -> float:
    classes = predictions.probabilities.shape[1]
    return float((predictions.labels == 1).mean()) if classes == 2 else 1 / classes
