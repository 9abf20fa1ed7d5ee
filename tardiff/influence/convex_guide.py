"""ConvexGuide: logistic regression on fixed features, whose influence is exact.

With features phi(x), the head theta minimises the mean loss of the training series plus
(penalty / 2) |theta|^2. The problem is convex and fitted to convergence, so what influence
functions assume of a classifier, and what a recurrent network stopped early does not give, is true:
raising the weight of series z by d changes the guidance loss L by -(d / n) I(z) + O(d^2), with

    I(z) = < v, grad_theta l(z) >,   v = H^-1 G,   G = grad_theta L,

H the Hessian of the training problem. grad_theta l(z) = phi(x) (p - y)^T, so I and its gradient in
x need one pass through the features.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from classifier.losses import num_outputs, per_sample_loss
from configs.runtime.errors import DataError
from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.influence.guidance_losses import GuidanceLoss, residual
from tardiff.influence.series_features import CHUNK, SeriesFeatures

Design = Float[Tensor, "n feature"]
Head = Float[Tensor, "feature out"]
RowWeights = Float[Tensor, " n"]

FREE_BIAS = 1e-6  # penalty of the intercepts: none but what keeps H invertible
CONVERGED = 1e-12  # of the Newton decrement
NEWTON_STEPS, CHORD_STEPS, HESSIANS = 50, 30, 5


@torch.no_grad()
def design(features: SeriesFeatures, x: Series) -> Design:
    """Features of any number of series with a column of ones, float64 on the CPU."""
    device = features.mean.device
    found = torch.cat([features(rows.to(device)).cpu() for rows in x.split(CHUNK)]).double()
    return torch.cat([found, torch.ones(len(found), 1, dtype=torch.float64)], 1)


@dataclass(frozen=True)
class LabelledDesign:
    """What a guide sees of rows that it is not trained on, their labels, and their patients where
    known.

    Attributes:
        rows: design matrix; of boosted trees the leaves.
    """

    rows: Tensor
    y: Labels
    subject_ids: Int[np.ndarray, " n"] | None = None

    def where(self, keep: Bool[Tensor, " n"]) -> "LabelledDesign":
        """The rows that are True in `keep`."""
        subjects = None if self.subject_ids is None else self.subject_ids[keep.numpy()]
        return LabelledDesign(self.rows[keep], self.y[keep], subjects)


@dataclass(frozen=True)
class ConvexGuide:
    """A head fitted to convergence.

    Attributes:
        rows, y: design matrix and labels of the training series.
        penalty: of the squared weights, against the mean loss.
        theta: the head; no column for two classes but one logit.
        factor: Cholesky factor of the Hessian over theta, flattened.
        response: as of BoostedGuide.
    """

    rows: Design
    y: Labels
    penalty: float
    theta: Head
    factor: Float[Tensor, "parameter parameter"]

    response: ClassVar[float] = 1.0  # assumed: its strengths were tried out so (docs/results.md)

    def gradient(self, guidance: LabelledDesign, loss: GuidanceLoss) -> Head:
        """G, the derivative of the loss of the guidance rows with respect to theta."""
        return guidance.rows.T @ loss.gradient(guidance.rows @ self.theta, guidance.y)

    def toward(self, gradient: Head) -> Head:
        """H^-1 of a gradient: v of G, Newton's step of the objective's."""
        return _solved(self.factor, gradient)

    def influence(self, toward: Head) -> Float[Tensor, " n"]:
        """I of the training series."""
        return influence_of(self.rows, self.y, self.theta, toward)

    def influence_on(self, guidance: LabelledDesign, loss: GuidanceLoss) -> Float[Tensor, " n"]:
        """I of the training series, for the guidance loss of other rows."""
        return self.influence(self.toward(self.gradient(guidance, loss)))

    def loss_on(
        self, guidance: LabelledDesign, loss: GuidanceLoss, head: Head | None = None
    ) -> float:
        """The guidance loss of other rows; `head` in place of theta."""
        return loss.value(guidance.rows @ (self.theta if head is None else head), guidance.y)

    def refitted(self, weights: RowWeights) -> Head:
        """The head of the same series with these weights.

        Steps with the Hessian of equal weights: one product each, where Newton's would cost a
        factorisation. Where that is too far off to converge, it is taken anew.
        """
        objective = _Objective(self.rows, self.y, self.penalty, weights)
        theta, factor = self.theta, self.factor
        for _ in range(HESSIANS):
            for _ in range(CHORD_STEPS):
                theta, decrement = objective.step(theta, _solved(factor, objective.gradient(theta)))
                if decrement < CONVERGED:
                    return theta
            factor = objective.factor(theta)
        return theta


def require_classes(y: Labels, num_classes: int) -> None:
    """Raises DataError where a class has fewer than two series, which tell a guide nothing."""
    counts = torch.bincount(y, minlength=num_classes).tolist()
    if min(counts) < 2:
        raise DataError(
            f"a guide cannot be trained on {counts} series of the {num_classes} classes: expected "
            "two of each at least; ask for more (generation.counts or generation.ratio)"
        )


def fit_guide(rows: Design, y: Labels, *, num_classes: int, penalty: float) -> ConvexGuide:
    """Newton's method with step halving, to convergence. Raises DataError as `require_classes`."""
    require_classes(y, num_classes)
    objective = _Objective(rows, y, penalty, torch.ones(len(rows), dtype=rows.dtype))
    theta = torch.zeros(rows.shape[1], num_outputs(num_classes), dtype=rows.dtype)
    guide = ConvexGuide(rows, y, penalty, theta, objective.factor(theta))
    for _ in range(NEWTON_STEPS):
        theta, decrement = objective.step(theta, guide.toward(objective.gradient(theta)))
        guide = ConvexGuide(rows, y, penalty, theta, objective.factor(theta))
        if decrement < CONVERGED:
            break
    return guide


def _solved(factor: Tensor, gradient: Head) -> Head:
    return torch.cholesky_solve(gradient.T.reshape(-1, 1), factor).view(gradient.T.shape).T


def influence_of(rows: Design, y: Labels, theta: Head, toward: Head) -> Float[Tensor, " n"]:
    """<toward, grad_theta loss> of every row."""
    return (residual(rows @ theta, y) * (rows @ toward)).sum(1)


class ConvexInfluence:
    """A Direction: the influence of a series on the guidance loss, and its gradient, exactly.

    Args:
        features, theta: of the fitted guide.
        toward: v, see `ConvexGuide.toward`.
    """

    def __init__(self, features: SeriesFeatures, theta: Head, toward: Head) -> None:
        self._features = features
        heads = torch.cat([theta, toward], 1).float().to(features.mean.device)
        self._weights, self._biases = heads[:-1], heads[-1]
        self._outputs = theta.shape[1]

    def __call__(self, x: Series, y: Labels) -> tuple[Tensor, Series]:
        """(I, grad_x I), detached."""
        with torch.enable_grad():
            leaf = x.detach().float().requires_grad_()
            score = self._influence(leaf, y)
            gradient = torch.autograd.grad(score.sum(), leaf)[0]
        return score.detach(), gradient

    @torch.no_grad()
    def score(self, x: Series, y: Labels) -> Tensor:
        """I of every series, (batch,)."""
        return self._influence(x.float(), y)

    def _influence(self, x: Series, y: Labels) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            both = self._features(x) @ self._weights + self._biases
            logits, change = both[:, : self._outputs], both[:, self._outputs :]
            return (residual(logits, y) * change).sum(1)


class _Objective:
    """mean of weights * loss + (penalty / 2) |theta|^2, intercepts free."""

    def __init__(self, rows: Design, y: Labels, penalty: float, weights: RowWeights) -> None:
        self.rows, self.y = rows, y
        self.weights = weights / len(rows)
        self.ridge = torch.full((rows.shape[1], 1), penalty, dtype=rows.dtype)
        self.ridge[-1] = FREE_BIAS

    def value(self, theta: Head) -> float:
        losses = per_sample_loss(self.rows @ theta, self.y)
        return float(self.weights @ losses + (self.ridge * theta.square()).sum() / 2)

    def gradient(self, theta: Head) -> Head:
        pull = self.weights[:, None] * residual(self.rows @ theta, self.y)
        return self.rows.T @ pull + self.ridge * theta

    def factor(self, theta: Head) -> Tensor:
        """Cholesky factor of the Hessian, in blocks of outputs."""
        logits = self.rows @ theta
        outputs = theta.shape[1]
        if outputs == 1:
            p = torch.sigmoid(logits)
            curvature = (p * (1 - p))[:, :, None]
        else:
            p = functional.softmax(logits, 1)
            curvature = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
        blocks = [
            torch.cat(
                [
                    self.rows.T @ ((self.weights * curvature[:, o, q])[:, None] * self.rows)
                    for q in range(outputs)
                ],
                1,
            )
            for o in range(outputs)
        ]
        hessian = torch.cat(blocks) + torch.diag(self.ridge.repeat(outputs, 1)[:, 0])
        return torch.linalg.cholesky(hessian)

    def step(self, theta: Head, direction: Head) -> tuple[Head, float]:
        """theta minus as much of `direction` as lowers the objective; the decrement."""
        decrement = float((self.gradient(theta) * direction).sum())
        start, length = self.value(theta), 1.0
        while length > 1e-4 and self.value(theta - length * direction) > start + 1e-14:
            length /= 2
        return theta - length * direction, decrement
