"""Losses of the guidance set as functions of all its logits at once.

A guidance loss L maps the logits of the whole guidance set to one number. Only its derivative
with respect to the logits is needed: G = sum_i J_i^T dL/df_i, where J_i is the Jacobian of row
i's logits with respect to the parameters, so G streams over rows whatever L couples.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from torch import Tensor
from torch.nn import functional

from configs.runtime.errors import ConfigError, DataError
from tardiff.diffusion.noise_schedule import Labels

Logits = Float[Tensor, "batch out"]

LOG_SCALES = (-4.0, 4.0)  # of the best scale of logits; its ends stand for none, and for a step
ROWS_PER_CLASS = 500  # that find the scale: the loss is of all pairs of rows
# Entries of the (positive, negative) pair matrix held at a time.
PAIR_BLOCK = 1_000_000
# Losses through `row_weights`, which heeds influence.classes; any other refuses it.
OF_CLASSES = ("balanced", "nll")
KINDS = ("rank", *OF_CLASSES)


@dataclass(frozen=True)
class GuidanceLoss:
    """A loss of the guidance set.

    Attributes:
        kind: "nll": mean over rows; "balanced": mean of the class means; "rank": mean over
            (positive, negative) pairs of softplus(-(f+ - f-)), a smooth 1 - AUROC that no change of
            prevalence moves (with more than two classes: the mean over classes of one-against-rest
            ranks); "auto" becomes rank for binary tasks, balanced otherwise.
        classes: the rows of these classes only; None: all.

    Raises:
        ConfigError: an unknown loss, one outside OF_CLASSES of some classes only, or a class that
            the task has not.
    """

    kind: str
    num_classes: int
    classes: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.classes is not None and not set(self.classes) <= set(range(self.num_classes)):
            raise ConfigError(
                f"influence.classes={list(self.classes)}: the classes are 0 to "
                f"{self.num_classes - 1}"
            )
        if self.kind == "auto":
            object.__setattr__(self, "kind", "rank" if self.num_classes == 2 else "balanced")
        if self.kind not in OF_CLASSES and self.classes is not None:
            raise ConfigError(
                f"guidance loss {self.kind!r} compares classes: influence.classes must be empty; "
                "use balanced or nll for a class-specific guidance set"
            )
        if self.kind not in KINDS:
            raise ConfigError(
                f"guidance loss {self.kind!r}: expected one of auto, {', '.join(KINDS)} (KINDS in "
                "tardiff/influence/guidance_losses.py)"
            )

    def to_plain(self) -> dict[str, Any]:
        """What records say of it, JSON-able."""
        classes = None if self.classes is None else list(self.classes)
        return {"guidance_loss": self.kind, "classes": classes}

    @torch.no_grad()
    def value(self, logits: Logits, y: Labels) -> float:
        """The loss of all rows together; logits (n, 1) for binary tasks, else (n, num_classes).

        Raises:
            DataError: a class that the loss needs has no row.
        """
        if self.kind == "rank":
            pairs = zip(_margins(logits).T, self._sides(y), strict=True)
            losses = [_pair_loss(scores, positive) for scores, positive in pairs]
            return sum(losses) / len(losses)
        both = torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
        losses = functional.cross_entropy(both, y, reduction="none")
        return float((self.row_weights(y) * losses.double()).sum())

    def gradient(self, logits: Logits, y: Labels) -> Logits:
        """dL/dlogits, one row per series; arguments and errors as in `value`."""
        if self.kind != "rank":
            return self.row_weights(y).to(logits.dtype)[:, None] * residual(logits, y)
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            margins = _margins(leaf)
        pairs = zip(margins.detach().T, self._sides(y), strict=True)
        slopes = [_pair_gradient(scores, positive) for scores, positive in pairs]
        weights = torch.stack(slopes, 1) / len(slopes)
        return torch.autograd.grad(margins, leaf, weights)[0]

    def best_scale(self, logits: Logits, y: Labels) -> float:
        """The number that makes the loss smallest when the logits are multiplied by it; 1 for
        losses of probabilities and not of an order alone.

        "rank" falls when the same order is said with larger logits, and how large the logits of a
        model are follows from how many trees or which penalty it has, not from its training series.
        """
        if self.kind != "rank":
            return 1.0
        some = _some_of_each_class(y)
        logits, y = logits[some], y[some]

        def value(log_scale: float) -> float:
            return self.value(logits * math.exp(log_scale), y)

        best = minimize_scalar(value, bounds=LOG_SCALES, method="bounded", options={"xatol": 0.01})
        return math.exp(best.x)

    def row_weights(self, y: Labels) -> Float[Tensor, " batch"]:
        """Weight of each row's loss in "nll" and "balanced", which are weighted sums of them."""
        counts = torch.bincount(y, minlength=self.num_classes)
        used = torch.zeros(self.num_classes, dtype=torch.bool, device=y.device)
        used[list(self.classes) if self.classes is not None else slice(None)] = True
        if (counts[used] == 0).any() or not used.any():
            raise DataError(
                f"guidance loss {self.kind!r}: a class has no row (counts {counts.tolist()})"
            )
        share = used.double()
        if self.kind != "balanced":
            share = share * counts
        return (share / share.sum() / counts.clamp(min=1))[y]

    def _sides(self, y: Labels) -> list[Tensor]:
        """The positive rows of every comparison of "rank"; raises DataError if one has a side
        without rows."""
        sides = [y == k for k in range(1 if self.num_classes == 2 else 0, self.num_classes)]
        if any(not positive.any() or positive.all() for positive in sides):
            raise DataError("guidance loss 'rank': every class needs at least one guidance row")
        return sides


def _some_of_each_class(y: Labels) -> Int[Tensor, " m"]:
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(y)))
    return torch.cat([order[y[order] == k][:ROWS_PER_CLASS] for k in y.unique()])


def residual(logits: Logits, y: Labels) -> Logits:
    """d per-sample loss / d logits: sigmoid(f) - y, or softmax(f) - onehot(y)."""
    if logits.shape[1] == 1:
        return torch.sigmoid(logits) - y[:, None]
    return torch.softmax(logits, 1) - functional.one_hot(y, logits.shape[1])


def _margins(logits: Logits) -> Logits:
    """log p_k / (1 - p_k), one against the rest; of two classes the one logit."""
    if logits.shape[1] == 1:
        return logits
    log_p = torch.log_softmax(logits, 1)
    return log_p - torch.log1p(-log_p.exp().clamp(max=1 - 1e-6))


def _pair_loss(scores: Float[Tensor, " batch"], positive: Tensor) -> float:
    """Mean softplus(s- - s+) over all pairs."""
    plus, minus = scores[positive], scores[~positive]
    blocks = plus.split(max(1, PAIR_BLOCK // len(minus)))
    pairs = (functional.softplus(minus[None] - block[:, None]).double().sum() for block in blocks)
    return float(sum(pairs)) / (len(plus) * len(minus))


def _pair_gradient(scores: Float[Tensor, " batch"], positive: Tensor) -> Float[Tensor, " batch"]:
    """Derivative of mean softplus(s- - s+) over all pairs with respect to each score."""
    plus, minus = scores[positive], scores[~positive]
    gradient, of_minus, of_plus = torch.zeros_like(scores), torch.zeros_like(minus), []
    for block in plus.split(max(1, PAIR_BLOCK // len(minus))):
        slopes = torch.sigmoid(minus[None] - block[:, None]) / (len(plus) * len(minus))
        of_plus.append(-slopes.sum(1))
        of_minus += slopes.sum(0)
    gradient[positive], gradient[~positive] = torch.cat(of_plus), of_minus
    return gradient
