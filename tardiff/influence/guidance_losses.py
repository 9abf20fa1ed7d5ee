"""Losses of the guidance set as functions of all its logits at once.

A guidance loss L maps the logits of the whole guidance set to one number. Only its derivative
with respect to the logits is needed: G = sum_i J_i^T dL/df_i, where J_i is the Jacobian of row
i's logits with respect to the parameters, so G streams over rows whatever L couples.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from tardiff.diffusion.noise_schedule import Labels

Logits = Float[Tensor, "batch out"]
KINDS = ("rank", "balanced", "nll")

# Entries of the (positive, negative) pair matrix held at a time.
PAIR_BLOCK = 1_000_000


def resolve_kind(kind: str, num_classes: int) -> str:
    """The loss that "auto" stands for: rank for binary tasks, balanced otherwise."""
    if kind == "auto":
        return "rank" if num_classes == 2 else "balanced"
    return kind


def logit_gradient(
    logits: Logits, y: Labels, *, kind: str, num_classes: int, classes: Sequence[int] | None = None
) -> Logits:
    """dL/dlogits of the guidance loss, one row per series.

    Args:
        logits: of the whole guidance set, (n, 1) for binary tasks, else (n, num_classes).
        kind: "nll": mean over rows; "balanced": mean of the class means; "rank": mean over
            (positive, negative) pairs of softplus(-(f+ - f-)), a smooth 1 - AUROC that no change of
            prevalence moves. With more than two classes: the mean over classes of one-against-rest
            ranks.
        classes: use the rows of these classes only; None uses all.

    Raises:
        ValueError: a class that the loss needs has no row.
    """
    if kind == "rank":
        if classes is not None:
            raise ValueError(
                "guidance loss 'rank' compares classes, so influence.classes must be empty; "
                "use balanced or nll for a class-specific guidance set"
            )
        return _rank_gradient(logits, y, num_classes)
    weights = row_weights(y, kind, num_classes, classes).to(logits.dtype)
    return weights[:, None] * residual(logits, y)


@torch.no_grad()
def guidance_loss(
    logits: Logits, y: Labels, *, kind: str, num_classes: int, classes: Sequence[int] | None = None
) -> float:
    """The guidance loss itself, whose derivative `logit_gradient` gives; arguments as there."""
    if kind == "rank":
        columns = logits if logits.shape[1] == 1 else _margins(logits)
        positive = [y == 1] if columns.shape[1] == 1 else [y == k for k in range(num_classes)]
        losses = [_pair_loss(s, mine) for s, mine in zip(columns.T, positive, strict=True)]
        return sum(losses) / len(losses)
    both = torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
    losses = functional.cross_entropy(both, y, reduction="none")
    return float((row_weights(y, kind, num_classes, classes) * losses.double()).sum())


def residual(logits: Logits, y: Labels) -> Logits:
    """d per-sample loss / d logits: sigmoid(f) - y, or softmax(f) - onehot(y)."""
    if logits.shape[1] == 1:
        return torch.sigmoid(logits) - y[:, None]
    return torch.softmax(logits, 1) - functional.one_hot(y, logits.shape[1])


def row_weights(
    y: Labels, kind: str, num_classes: int, classes: Sequence[int] | None
) -> Float[Tensor, " batch"]:
    """Weight of each row in a guidance loss that is a weighted sum of losses (not "rank")."""
    counts = torch.bincount(y, minlength=num_classes)
    used = torch.zeros(num_classes, dtype=torch.bool, device=y.device)
    used[list(classes) if classes is not None else slice(None)] = True
    if (counts[used] == 0).any() or not used.any():
        raise ValueError(f"guidance loss {kind!r}: a class has no row (counts {counts.tolist()})")
    share = used.double()
    if kind != "balanced":
        share = share * counts
    return (share / share.sum() / counts.clamp(min=1))[y]


def _rank_gradient(logits: Logits, y: Labels, num_classes: int) -> Logits:
    if logits.shape[1] == 1:
        return _pair_gradient(logits[:, 0], y == 1)[:, None]
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        margins = _margins(leaf)
    weights = [_pair_gradient(margins[:, k].detach(), y == k) for k in range(num_classes)]
    stacked = torch.stack(weights, 1) / num_classes
    return torch.autograd.grad(margins, leaf, stacked)[0]


def _margins(logits: Logits) -> Logits:
    """log p_k / (1 - p_k), one against the rest."""
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
    if not len(plus) or not len(minus):
        raise ValueError("guidance loss 'rank': every class needs at least one guidance row")
    gradient = torch.zeros_like(scores)
    minus_gradient = torch.zeros_like(minus)
    plus_gradient = []
    for block in plus.split(max(1, PAIR_BLOCK // len(minus))):
        slopes = torch.sigmoid(minus[None] - block[:, None]) / (len(plus) * len(minus))
        plus_gradient.append(-slopes.sum(1))
        minus_gradient += slopes.sum(0)
    gradient[positive] = torch.cat(plus_gradient)
    gradient[~positive] = minus_gradient
    return gradient
