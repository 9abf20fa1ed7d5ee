"""Parameter gradients of single series: what gradient norms, clipping and step tests need."""

from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tardiff.guidance_losses import Labels
from tardiff.parameters import norm, trainable
from tardiff.schedule import Series


def row_gradients(
    model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], x: Series, y: Labels
) -> Iterator[dict[str, Tensor]]:
    """grad_phi loss(z) of one series after the other, by parameter name.

    One backward pass a series: it works with any module (vmap does not cover recurrent layers),
    and holds one gradient at a time.

    Args:
        model: classifier in eval mode.
        loss: unreduced loss, (logits, y) -> (B,).
    """
    parameters = trainable(model)
    for row in range(len(y)):
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            value = loss(model(x[row : row + 1]), y[row : row + 1]).sum()
            parts = torch.autograd.grad(value, list(parameters.values()))
        yield dict(zip(parameters, parts, strict=True))


def gradient_norms(
    model: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], x: Series, y: Labels
) -> Float[Tensor, " batch"]:
    """||grad_phi loss(z)|| of every series."""
    return torch.tensor([norm(part) for part in row_gradients(model, loss, x, y)])
