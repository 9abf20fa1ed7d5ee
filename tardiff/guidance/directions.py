"""Directions of guidance: a score per series and its gradient."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.influence.parameter_space import moved_copy


@runtime_checkable
class Direction(Protocol):
    """A score per series and the direction that raises it.

    Row i depends on row i of the inputs only: a series does not change with its batch.
    """

    def __call__(self, x: Series, y: Labels) -> tuple[Tensor, Series]:
        """(score, gradient), (B,) and (B, C, T), detached."""
        ...


class ClassifierDirection:
    """log p(y | x) of a classifier and its input gradient: plain classifier guidance
    (Dhariwal & Nichol 2021), evaluated at x0_hat.

    Args:
        model: classifier in eval mode.
        loss: unreduced negative log-likelihood.
    """

    def __init__(self, model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        self._model = moved_copy(model, {}, 0.0)
        self._loss = loss

    def __call__(self, x: Series, y: Labels) -> tuple[Tensor, Series]:
        """(log p(y | x), its gradient)."""
        with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
            leaf = x.detach().float().requires_grad_()
            score = -self._loss(self._model(leaf), y)
            gradient = torch.autograd.grad(score.sum(), leaf)[0]
        return score.detach(), gradient
