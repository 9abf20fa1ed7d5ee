"""Four ways to I(z) = <G, grad_phi loss(z)> and J = grad_x I, behind one signature.

Each builder takes (model, loss, G, objective, fd_step) and returns a function
(x, y) -> (I, J). Summing a per-series quantity over the batch before differentiating decouples
the series exactly, so no loop over rows and no vmap is needed.

- finite_difference: central difference in parameter space along G; two first-order passes, needs
  nothing second-order of the model (fused recurrent and attention kernels work). The default.
- double_backward: exact; the oracle of the tests.
- jvp: exact, forward over reverse; not available for LSTM on CPU.
- head: closed form of the last linear layer alone, one pass; ignores all other parameters.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp

from tardiff.guidance_losses import residual
from tardiff.parameters import (
    ParamGrads,
    finite_step,
    moved_copy,
    trainable,
)

ScoreAndGradient = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


def finite_difference(
    model: nn.Module, loss: Loss, direction: ParamGrads, objective: str, fd_step: float
) -> ScoreAndGradient:
    """I ~ [loss(phi + eG) - loss(phi - eG)] / 2e, and J from the input gradients of both."""
    step = finite_step(model, direction, fd_step)
    plus, minus = moved_copy(model, direction, step), moved_copy(model, direction, -step)
    centre = moved_copy(model, direction, 0.0)

    def compute(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        weight = None
        if objective == "residual_free":
            with torch.no_grad():
                weight = _unit_residual(centre(x), y)
        high, high_gradient = _value_and_gradient(plus, loss, x, y, weight)
        low, low_gradient = _value_and_gradient(minus, loss, x, y, weight)
        return (high - low) / (2 * step), (high_gradient - low_gradient) / (2 * step)

    return compute


def double_backward(
    model: nn.Module, loss: Loss, direction: ParamGrads, objective: str, fd_step: float
) -> ScoreAndGradient:
    """J exactly, by differentiating <G, grad_phi sum loss> with respect to the input."""

    def compute(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # cuDNN's recurrent layers have no second derivative.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            leaf = x.requires_grad_()
            values = _values(model, loss, leaf, y, objective)
            weights = torch.ones_like(values, requires_grad=True)
            parameters = trainable(model)
            gradients = torch.autograd.grad(
                values, list(parameters.values()), weights, create_graph=True
            )
            pairs = zip(parameters, gradients, strict=True)
            total = sum((direction[name].to(g) * g).sum() for name, g in pairs)
            assert isinstance(total, Tensor)
            # The derivative with respect to row i's weight is row i's influence.
            gradient, score = torch.autograd.grad(total, [leaf, weights])
        x.requires_grad_(False)
        return score, gradient

    return compute


def forward_over_reverse(
    model: nn.Module, loss: Loss, direction: ParamGrads, objective: str, fd_step: float
) -> ScoreAndGradient:
    """J exactly: the directional derivative along G of the input gradient."""
    parameters = {name: p.detach() for name, p in trainable(model).items()}
    tangent = {name: direction[name].to(p) for name, p in parameters.items()}

    def compute(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        def at(phi: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            def total(rows: Tensor) -> tuple[Tensor, Tensor]:
                values = _values(model, loss, rows, y, objective, phi)
                return values.sum(), values

            gradient, values = torch.func.grad(total, has_aux=True)(x)
            return values, gradient

        score, gradient = jvp(at, (parameters,), (tangent,))[1]
        return score, gradient

    return compute


def head(
    model: nn.Module, loss: Loss, direction: ParamGrads, objective: str, fd_step: float
) -> ScoreAndGradient:
    """(f'(loss)) (G_W h + G_b) for the last linear layer with input h; one backward pass.

    Raises:
        ValueError: the model has no linear layer, or its last one is not the logits.
    """
    name = _last_linear(model)
    frozen = moved_copy(model, direction, 0.0)
    inputs: list[Tensor] = []
    dict(frozen.named_modules())[name].register_forward_pre_hook(
        lambda module, arguments: inputs.append(arguments[0])
    )
    weight = direction[f"{name}.weight"]
    bias = direction.get(f"{name}.bias")

    def compute(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        inputs.clear()
        with torch.enable_grad():
            leaf = x.requires_grad_()
            logits = frozen(leaf)
            if inputs[-1].shape[:-1] != logits.shape[:1]:
                raise ValueError(f"influence.gradient=head: layer {name} does not make the logits")
            change = inputs[-1] @ weight.to(x).T + (0 if bias is None else bias.to(x))
            factor = residual(logits, y)
            if objective == "residual_free":
                factor = _unit_residual(logits, y)
            score = (factor * change).sum(1)
            gradient = torch.autograd.grad(score.sum(), leaf)[0]
        x.requires_grad_(False)
        return score, gradient

    return compute


METHODS = {
    "finite_difference": finite_difference,
    "double_backward": double_backward,
    "jvp": forward_over_reverse,
    "head": head,
}


def _value_and_gradient(
    model: nn.Module, loss: Loss, x: Tensor, y: Tensor, weight: Tensor | None
) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        logits = model(leaf)
        values = loss(logits, y) if weight is None else (weight * logits).sum(1)
        return values.detach(), torch.autograd.grad(values.sum(), leaf)[0]


def _values(
    model: nn.Module,
    loss: Loss,
    x: Tensor,
    y: Tensor,
    objective: str,
    parameters: dict[str, Tensor] | None = None,
) -> Tensor:
    logits = model(x) if parameters is None else functional_call(model, parameters, (x,))
    if objective == "residual_free":
        return (_unit_residual(logits, y) * logits).sum(1)
    return loss(logits, y)


def _unit_residual(logits: Tensor, y: Tensor) -> Tensor:
    """(p - y) scaled to length one and held constant: which way, not how wrong."""
    raw = residual(logits, y).detach()
    return raw / raw.norm(dim=1, keepdim=True).clamp(min=1e-12)


def _last_linear(model: nn.Module) -> str:
    layers = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    if not layers:
        raise ValueError("influence.gradient=head needs a classifier that ends in nn.Linear")
    return layers[-1]
