"""ROC, precision-recall and reliability curves of real-only and synthetic-only training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from sklearn.metrics import precision_recall_curve, roc_curve

from scripts.utility.metrics import Predictions, calibration_bins, confidence_and_truth
from scripts.utility.protocols import Fit

GRID = np.linspace(0, 1, 201)


@dataclass(frozen=True)
class Curves:
    """The curves of one training source, on the real test series, averaged over seeds.

    Attributes:
        true_positive_rate: at each false positive rate of GRID.
        precision: at each recall of GRID.
        predicted, observed: per calibration bin, as `reliability` gives them.
        chance: precision of guessing.
    """

    true_positive_rate: Float[np.ndarray, " grid"]
    precision: Float[np.ndarray, " grid"]
    predicted: Float[np.ndarray, " bins"]
    observed: Float[np.ndarray, " bins"]
    chance: float


def training_curves(predictions: Mapping[Fit, Predictions]) -> dict[str, dict[str, Curves]]:
    """Per downstream model and training source: real only, and each set alone (TSTR)."""
    grouped: dict[str, dict[str, list[Predictions]]] = {}
    for fit, found in predictions.items():
        if fit.protocol in ("TRTR", "TSTR"):
            grouped.setdefault(fit.model, {}).setdefault(fit.generator, []).append(found)
    return {
        model: {name: _curves(per_seed) for name, per_seed in sources.items()}
        for model, sources in grouped.items()
    }


def _curves(per_seed: Sequence[Predictions]) -> Curves:
    first = per_seed[0]
    chance = (
        float((first.labels == 1).mean()) if first.is_binary else 1 / first.probabilities.shape[1]
    )
    return Curves(*average_curves(per_seed), *reliability(per_seed), chance)


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
