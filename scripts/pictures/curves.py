"""ROC, precision-recall and reliability curves of real-only and synthetic-only training."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from sklearn.metrics import precision_recall_curve, roc_curve

from scripts.pictures.styles import Styles, new_panels, shared_legend
from scripts.utility.metrics import (
    CALIBRATION_BINS,
    Predictions,
    calibration_bins,
    confidence_and_truth,
)
from scripts.utility.protocols import REAL, Fit

GRID = np.linspace(0, 1, 201)


def training_sources(
    predictions: Mapping[Fit, Predictions], model: str
) -> dict[str, list[Predictions]]:
    """What `model` says about the real test series, seed by seed: trained on real series alone,
    and on each set alone (TSTR)."""
    found: dict[str, list[Predictions]] = {}
    for fit, each in predictions.items():
        if fit.model == model and fit.protocol in ("TRTR", "TSTR"):
            found.setdefault(fit.generator, []).append(each)
    return found


def reliability(
    per_seed: Sequence[Predictions],
) -> tuple[Float[np.ndarray, " bins"], Float[np.ndarray, " bins"]]:
    """Mean predicted probability and observed share per calibration bin, averaged over the seeds
    that have the bin: equal confidences share one, and leave others empty."""
    predicted, observed = np.full((2, len(per_seed), CALIBRATION_BINS), np.nan)
    for seed, predictions in enumerate(per_seed):
        confidence, truth = confidence_and_truth(predictions)
        bins = calibration_bins(confidence)
        for b in np.unique(bins):
            predicted[seed, b] = confidence[bins == b].mean()
            observed[seed, b] = truth[bins == b].mean()
    filled = ~np.isnan(predicted).all(axis=0)
    return np.nanmean(predicted[:, filled], axis=0), np.nanmean(observed[:, filled], axis=0)


def average_curves(
    per_seed: Sequence[Predictions],
) -> tuple[Float[np.ndarray, " grid"], Float[np.ndarray, " grid"]]:
    """True positive rate at each false positive rate of GRID, and precision at each recall.

    Seeds are averaged vertically; with more than two classes, so are the one-vs-rest curves.
    """
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


def curve_figure(
    sources: Mapping[str, Sequence[Predictions]], model: str, styles: Styles
) -> Figure:
    """ROC and precision-recall curves on the real test series: real-only and synthetic-only."""
    figure, panels = new_panels(10.0, 5.2, columns=2)
    roc, pr = panels[0]
    for generator, per_seed in sources.items():
        style = styles.dashed(generator) | {"label": _source_name(generator)}
        true_rate, precision = average_curves(per_seed)
        roc.plot(GRID, true_rate, **style)
        pr.plot(GRID[1:], precision[1:], **style)
    roc.plot([0, 1], [0, 1], color="0.6", linewidth=0.8, label="chance")
    first = next(iter(sources.values()))[0]
    prevalence, num_classes = float((first.labels == 1).mean()), first.probabilities.shape[1]
    chance = prevalence if first.is_binary else 1 / num_classes  # precision of guessing
    pr.axhline(chance, color="0.6", linewidth=0.8)
    for axes, x, y in (
        (roc, "false positive rate", "true positive rate"),
        (pr, "recall", "precision"),
    ):
        axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
    title = f"ROC and precision-recall on real test series, downstream model {model}"
    if not first.is_binary:
        title += "\n(each class against all others, mean over classes)"
    figure.suptitle(title, fontsize=12, fontweight="bold")
    shared_legend(figure, roc)
    return figure


def reliability_figure(
    sources: Mapping[str, Sequence[Predictions]], model: str, styles: Styles
) -> Figure:
    """Observed share of the outcome against the predicted probability, ten bins of equal size.

    More than two classes: share of right answers against the probability of the answer.
    """
    figure, panels = new_panels(6.0, 5.6)
    axes = panels[0, 0]
    top = 0.0
    for generator, per_seed in sources.items():
        curve = reliability(per_seed)
        axes.plot(*curve, "o", markersize=4, color=styles.colour(generator))
        axes.plot(*curve, label=_source_name(generator), **styles.dashed(generator))
        top = max(top, *map(np.max, curve))
    limits = (0, min(1.0, 1.05 * top))
    axes.plot(limits, limits, color="0.6", linewidth=0.8, label="perfectly calibrated")
    axes.set(xlim=limits, ylim=limits, xlabel="mean predicted probability", ylabel="observed share")
    if not next(iter(sources.values()))[0].is_binary:
        axes.set(xlabel="mean probability of the answer", ylabel="share of right answers")
    axes.set_aspect("equal")
    title = f"Calibration on real test series,\ndownstream model {model}"
    figure.suptitle(title, fontweight="bold")
    shared_legend(figure, axes, columns=2)
    return figure


def _source_name(generator: str) -> str:
    return "real only" if generator == REAL else generator
