"""The one loss of the task: training, influence and evaluation all read logits through this file.

A classifier of two classes has one logit (the log-odds of class 1), one of K > 2 classes has K.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def num_outputs(num_classes: int) -> int:
    """Logits per series: 1 for two classes, else one per class.

    Raises:
        ValueError: fewer than two classes.
    """
    if num_classes < 2:
        raise ValueError(f"num_classes is {num_classes}, expected at least 2")
    return 1 if num_classes == 2 else num_classes


def per_sample_loss(
    logits: Float[Tensor, "batch out"], y: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Negative log-likelihood of each label in nats, unreduced.

    One logit: binary cross-entropy; several: softmax cross-entropy. Row i depends on row i only,
    so the gradient of the sum with respect to the input holds each series' own gradient.
    """
    if logits.shape[1] == 1:
        return F.binary_cross_entropy_with_logits(
            logits[:, 0], y.to(logits.dtype), reduction="none"
        )
    return F.cross_entropy(logits, y, reduction="none")


def class_probabilities(logits: Float[Tensor, "batch out"]) -> Float[Tensor, "batch classes"]:
    """Probability of every class; each row sums to 1."""
    if logits.shape[1] == 1:
        # sigmoid(-z) keeps its digits where 1 - sigmoid(z) would round to 0.
        return torch.cat([torch.sigmoid(-logits), torch.sigmoid(logits)], dim=1)
    return torch.softmax(logits, dim=1)
