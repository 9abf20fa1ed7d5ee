"""Vectors over a model's parameters, and gradients per sample."""

import copy
import hashlib
import math
from collections.abc import Callable, Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from configs.runtime.errors import DataError
from tardiff.diffusion.noise_schedule import Labels, Series

ParamGrads = Mapping[str, Tensor]


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters influence looks at, by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def inner(left: ParamGrads, right: ParamGrads) -> float:
    """<left, right>, accumulated in float64."""
    return float(sum((left[name].double() * right[name].double()).sum() for name in left))


def norm(vector: ParamGrads) -> float:
    """Euclidean norm."""
    return math.sqrt(inner(vector, vector))


def combine(left: ParamGrads, factor: float, right: ParamGrads) -> dict[str, Tensor]:
    """left + factor * right."""
    return {name: left[name] + factor * right[name] for name in left}


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 of a model's weights and their names, whatever device they are on."""
    digest = hashlib.sha256()
    for name, part in model.state_dict().items():
        digest.update(name.encode())
        digest.update(part.cpu().numpy().tobytes())
    return digest.hexdigest()


def require_direction(vector: ParamGrads) -> float:
    """The norm of a guidance gradient.

    Raises:
        DataError: it is zero or not finite.
    """
    size = norm(vector)
    if not math.isfinite(size) or size == 0.0:
        raise DataError(
            f"the guidance gradient has norm {size}; the guidance set gives no direction (is the "
            "classifier saturated on it, or the guidance set empty of errors?)"
        )
    return size


def finite_step(model: nn.Module, direction: ParamGrads, relative: float) -> float:
    """Step e = relative * ||phi|| / ||direction||, so that e * direction is small beside phi;
    raises as `require_direction`."""
    size = require_direction(direction)
    return relative * norm({k: p.detach() for k, p in trainable(model).items()}) / size


def moved_copy(model: nn.Module, direction: ParamGrads, step: float) -> nn.Module:
    """A frozen copy of `model` with parameters phi + step * direction, ready for input gradients.

    cuDNN's recurrent backward works in training mode only, so recurrent layers are put there with
    their dropout removed: their output stays that of eval mode.
    """
    moved = copy.deepcopy(model).eval()
    with torch.no_grad():
        for name, parameter in moved.named_parameters():
            if name in direction:
                parameter.add_(direction[name].to(parameter), alpha=step)
    moved.requires_grad_(False)
    return differentiable_rnn(moved)


def differentiable_rnn(model: nn.Module) -> nn.Module:
    """Puts recurrent layers in training mode without dropout, in place; see `moved_copy`."""
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.dropout = 0.0
            module.train()
            module.flatten_parameters()  # of a copy they lie apart, and cuDNN gathers them a call
    return model


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
