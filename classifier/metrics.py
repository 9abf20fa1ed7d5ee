"""Scores of logits against labels, for choosing an epoch and for the record of a training.

Ranking scores come first: with 8-14 % positives, accuracy crowns the model that never alarms.
"""

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import norm
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score
from torch import Tensor

from classifier.losses import class_probabilities, per_sample_loss

Z95 = float(norm.ppf(0.975))  # standard errors to either side, of a normal 95 % interval


def selection_scores(logits: Float[Tensor, "n out"], y: Int[Tensor, " n"]) -> dict[str, float]:
    """AUROC, AUPRC and mean loss (nats); macro one-vs-rest means for more than two classes.

    Every class must be present in `y`.
    """
    logits, y = logits.detach().cpu().double(), y.cpu()
    probabilities, onehot = _one_vs_rest(logits, y)
    return {
        "auroc": float(roc_auc_score(onehot, probabilities, average="macro")),
        "auprc": float(average_precision_score(onehot, probabilities, average="macro")),
        "loss": float(per_sample_loss(logits, y).mean()),
    }


def report_scores(logits: Float[Tensor, "n out"], y: Int[Tensor, " n"]) -> dict[str, float]:
    """`selection_scores` and F1.

    Binary: F1 of class 1 at the threshold that maximises it on these very series (reported as
    `f1_threshold`), hence optimistic. More classes: macro F1 of the most probable class.
    """
    scores = selection_scores(logits, y)
    probabilities = class_probabilities(logits.detach().cpu().double()).numpy()
    labels = y.cpu().numpy()
    if probabilities.shape[1] > 2:
        predicted = probabilities.argmax(axis=1)
        return scores | {"f1": float(f1_score(labels, predicted, average="macro"))}
    threshold, f1 = best_f1_threshold(probabilities[:, 1], labels)
    return scores | {"f1": f1, "f1_threshold": threshold}


def best_f1_threshold(
    probabilities: Float[np.ndarray, " n"], labels: Int[np.ndarray, " n"]
) -> tuple[float, float]:
    """The threshold (positive where probability >= threshold) of the largest F1, and that F1."""
    precision, recall, thresholds = precision_recall_curve(labels, probabilities)
    # The last point of the curve (recall 0) has no threshold.
    f1 = 2 * precision[:-1] * recall[:-1] / np.maximum(precision[:-1] + recall[:-1], 1e-12)
    best = int(f1.argmax())
    return float(thresholds[best]), float(f1[best])


def _one_vs_rest(logits: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
    probabilities, labels = class_probabilities(logits).numpy(), y.numpy()
    if probabilities.shape[1] == 2:
        # Rank by the logit: sigmoid rounds large logits to the same 1.0 and would tie them.
        return logits[:, 0].numpy(), labels
    return probabilities, (labels[:, None] == np.arange(probabilities.shape[1])).astype(int)
