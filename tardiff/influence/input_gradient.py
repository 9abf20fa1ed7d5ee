"""I(z) = <G, grad_phi loss(z)> of a series z = (x, y), and its input gradient J = grad_x I.

Sign, from first principles: one SGD step on z moves phi by -eta grad_phi loss(z), so the guidance
loss changes by -eta <G, grad_phi loss(z)> to first order. Training on a series with a higher score
lowers the guidance loss more; guidance raises I, along J = +grad_x I (TarDiff eq. 23 with G as
in Algorithm 1). docs/method.md says where the paper's signs disagree.

J is a central difference in parameter space along G. It needs two first-order passes and nothing
second-order of the model, so fused recurrent and attention kernels work; the tests hold it against
exact double backward.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.influence.parameter_space import ParamGrads, finite_step, moved_copy, trainable

# Relative step of the finite difference: the parameters move by FD_STEP ||phi|| / ||G|| times G.
FD_STEP = 1e-4

PerSampleLoss = Callable[[Tensor, Tensor], Tensor]


class InfluenceDirection:
    """Scores series by influence and gives the direction in which each score rises.

    Args:
        model: classifier (B, C, T) -> (B, out) in eval mode whose rows are independent.
        loss: unreduced loss, (logits, y) -> (B,).
        guide_gradient: G, or the preconditioned G.

    Raises:
        ValueError: model in training mode, or its parameter names differ from G's.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: PerSampleLoss,
        guide_gradient: ParamGrads,
    ) -> None:
        if model.training:
            raise ValueError("the model is in training mode; call eval() first")
        names = set(trainable(model))
        if names != set(guide_gradient):
            odd = sorted(names ^ set(guide_gradient))
            raise ValueError(f"G belongs to another classifier: parameters differ at {odd[:4]}")
        self._loss = loss
        self._step = finite_step(model, guide_gradient, FD_STEP)
        self._plus = moved_copy(model, guide_gradient, self._step)
        self._minus = moved_copy(model, guide_gradient, -self._step)

    def __call__(self, x: Series, y: Labels) -> tuple[Tensor, Series]:
        """(I, J): the score of each series, (B,), and its gradient, (B, C, T), both detached.

        Always in float32 (or the input's higher precision): a finite difference has no digits
        left in half precision, nor in TF32.
        """
        with torch.autocast(x.device.type, enabled=False), _without_tf32():
            rows = x.detach().to(_at_least_float(x))
            high, high_gradient = loss_and_gradient(self._plus, self._loss, rows, y)
            low, low_gradient = loss_and_gradient(self._minus, self._loss, rows, y)
        return (high - low) / (2 * self._step), (high_gradient - low_gradient) / (2 * self._step)

    def score(self, x: Series, y: Labels, batch_size: int = 512) -> Tensor:
        """I of any number of series, (n,)."""
        pairs = zip(x.split(batch_size), y.split(batch_size), strict=True)
        return torch.cat([self(rows, labels)[0] for rows, labels in pairs])


def loss_and_gradient(
    model: nn.Module, loss: PerSampleLoss, x: Series, y: Labels
) -> tuple[Tensor, Series]:
    """The loss of each series and its gradient with respect to the series, detached."""
    # Summing over the batch before differentiating decouples the series exactly.
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        values = loss(model(leaf), y)
        return values.detach(), torch.autograd.grad(values.sum(), leaf)[0]


@contextmanager
def _without_tf32() -> Iterator[None]:
    """cuDNN rounds the factors of float32 products to ten bits unless it is told not to."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _at_least_float(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32
