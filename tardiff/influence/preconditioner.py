"""The cached guidance gradient times a damped inverse Gauss-Newton matrix, once, by CG.

Classical influence (Koh & Liang 2017) is G^T H^-1 grad loss(z). H is the Gauss-Newton matrix of
the training loss, H = (1/n) sum_i J_i^T S_i J_i with S_i the loss curvature in the logits; it is
positive semi-definite, and its product with a vector needs three forward passes (two for J v by
a central difference) and one backward pass (J^T u): nothing second-order of the model.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from configs.runtime.errors import DataError
from tardiff.diffusion.noise_schedule import Series
from tardiff.influence.guidance_gradient import all_logits, jacobian_transpose
from tardiff.influence.parameter_space import (
    ParamGrads,
    combine,
    finite_step,
    inner,
    moved_copy,
    norm,
)

log = logging.getLogger(__name__)

Product = Callable[[ParamGrads], dict[str, Tensor]]
POWER_ITERATIONS = 12
# Double precision has its best central difference near the cube root of its resolution.
FD_STEP = {torch.float32: 1e-3, torch.float64: 1e-5}


class GaussNewton:
    """The matrix-vector product of the Gauss-Newton matrix of the mean per-sample loss.

    Args:
        model: classifier in eval mode.
        x: training series, (n, channel, time).
        batch_size: rows per pass; changes memory only.
    """

    def __init__(self, model: nn.Module, x: Series, *, batch_size: int = 512) -> None:
        self.model = model
        self.x = x
        self.batch_size = batch_size
        self.logits = all_logits(model, x, batch_size)
        self.fd_step = FD_STEP[x.dtype]

    def __call__(self, vector: ParamGrads) -> dict[str, Tensor]:
        """H v, by parameter name."""
        step = finite_step(self.model, vector, self.fd_step)
        change = (self._logits_at(vector, step) - self._logits_at(vector, -step)) / (2 * step)
        curved = curvature(self.logits, change) / len(self.x)
        return jacobian_transpose(self.model, self.x, curved, self.batch_size)

    def _logits_at(self, vector: ParamGrads, step: float) -> Tensor:
        moved = moved_copy(self.model, vector, step)
        return all_logits(moved, self.x, self.batch_size)


def curvature(logits: Tensor, change: Tensor) -> Tensor:
    """S u per row: p(1-p) u for one logit, (diag(p) - p p^T) u for several."""
    if logits.shape[1] == 1:
        p = torch.sigmoid(logits)
        return p * (1 - p) * change
    p = torch.softmax(logits, 1)
    return p * (change - (p * change).sum(1, keepdim=True))


def largest_eigenvalue(product: Product, start: ParamGrads) -> float:
    """Largest eigenvalue of a positive semi-definite matrix, by power iteration."""
    vector = {name: part / norm(start) for name, part in start.items()}
    value = 0.0
    for _ in range(POWER_ITERATIONS):
        image = product(vector)
        value = norm(image)
        if value == 0.0:
            return 0.0
        vector = {name: part / value for name, part in image.items()}
    return value


def conjugate_gradient(
    product: Product, right: ParamGrads, *, damping: float, iterations: int
) -> tuple[dict[str, Tensor], float]:
    """Solution of (H + damping I) s = right, and its relative residual.

    Returns:
        (s, ||right - (H + damping I) s|| / ||right||), the residual as the recursion tracks it.
    """
    solution = {name: torch.zeros_like(part) for name, part in right.items()}
    residual = dict(right)
    search = dict(right)
    size = inner(residual, residual)
    target = size * 1e-12
    for _ in range(iterations):
        image = combine(product(search), damping, search)
        length = size / inner(search, image)
        solution = combine(solution, length, search)
        residual = combine(residual, -length, image)
        new_size = inner(residual, residual)
        if new_size < target:
            size = new_size
            break
        search = combine(residual, new_size / size, search)
        size = new_size
    return solution, (size / inner(right, right)) ** 0.5


def precondition(
    model: nn.Module,
    guide_gradient: ParamGrads,
    x: Series,
    *,
    damping: float,
    iterations: int,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """(H + lambda I)^-1 G with lambda = damping * largest eigenvalue of H.

    Args:
        x: training series that define H.

    Returns:
        The preconditioned G, and facts for the run record: largest eigenvalue and residual.

    Raises:
        DataError: H is zero (the classifier is saturated on every row).
    """
    product = GaussNewton(model, x)
    largest = largest_eigenvalue(product, guide_gradient)
    if largest == 0.0:
        raise DataError(
            "the Gauss-Newton matrix is zero: the classifier is certain on every training row; "
            "train it less (classifier.patience, weight_decay) or use influence.preconditioner=none"
        )
    solution, residual = conjugate_gradient(
        product, guide_gradient, damping=damping * largest, iterations=iterations
    )
    if residual > 1e-2:
        log.warning(
            "preconditioner: relative residual %.1e after %d CG iterations; raise "
            "influence.cg_iterations or influence.damping",
            residual,
            iterations,
        )
    return solution, {"largest_eigenvalue": largest, "cg_residual": residual}
