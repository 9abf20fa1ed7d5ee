"""What guidance raises: a score per series, and for pushing the sampler its gradient."""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.influence.input_gradient import PerSampleLoss, loss_and_gradient
from tardiff.influence.parameter_space import moved_copy


@runtime_checkable
class Score(Protocol):
    """A score per series, which is enough to choose from a pool.

    Row i depends on row i of the inputs only: a series does not change with its batch.
    """

    def score(self, x: Series, y: Labels) -> Tensor:
        """(B,), detached."""
        ...


@runtime_checkable
class Direction(Protocol):
    """A score per series and the direction that raises it; rows as in `Score`."""

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

    def __init__(self, model: nn.Module, loss: PerSampleLoss) -> None:
        self._model = moved_copy(model, {}, 0.0)
        self._loss = loss

    def __call__(self, x: Series, y: Labels) -> tuple[Tensor, Series]:
        """(log p(y | x), its gradient)."""
        with torch.autocast(x.device.type, enabled=False):
            loss, gradient = loss_and_gradient(self._model, self._loss, x.float(), y)
        return -loss, -gradient

    def score(self, x: Series, y: Labels) -> Tensor:
        """log p(y | x)."""
        return self(x, y)[0]
