"""The guidance gradient G, the gradient of the guidance set's loss by the classifier's parameters.

Sign, from first principles: one SGD step on z = (x, y) moves phi by -eta grad_phi loss(z), so the
guidance loss changes by -eta <G, grad_phi loss(z)> to first order. Training on a series with a
higher score lowers the guidance loss more; guidance raises I, along J = +grad_x I (TarDiff
eq. 23 with G as in Algorithm 1). docs/method.md says where the paper's signs disagree.
"""

import torch
from torch import Tensor, nn

from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.parameter_space import trainable


def guidance_gradient(
    model: nn.Module,
    x: Series,
    y: Labels,
    loss: GuidanceLoss,
    *,
    batch_size: int = 512,
) -> dict[str, Tensor]:
    """G: gradient of the guidance loss with respect to each trainable parameter.

    Two streaming passes: the logits of all rows give dL/dlogits, then one backward per batch adds
    J^T dL/dlogits. No graph outlives its batch, so memory does not grow with the number of rows,
    and the batch size changes memory only, not G.

    Raises:
        ValueError: model in training mode, no rows, or a class without rows.
    """
    if model.training:
        raise ValueError("the model is in training mode: dropout would make G random; call eval()")
    if len(y) == 0:
        raise ValueError("the guidance set is empty")
    weights = loss.gradient(all_logits(model, x, batch_size), y)
    return jacobian_transpose(model, x, weights, batch_size)


@torch.no_grad()
def all_logits(model: nn.Module, x: Series, batch_size: int) -> Tensor:
    """Logits of every row, without a graph."""
    return torch.cat([model(rows) for rows in x.split(batch_size)])


def jacobian_transpose(
    model: nn.Module, x: Series, weights: Tensor, batch_size: int
) -> dict[str, Tensor]:
    """sum_i J_i^T weights_i over all rows, by parameter name."""
    parameters = trainable(model)
    total = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for rows, part in zip(x.split(batch_size), weights.split(batch_size), strict=True):
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            scalar = (model(rows) * part).sum()
            found = torch.autograd.grad(scalar, list(parameters.values()), allow_unused=True)
        for name, gradient in zip(parameters, found, strict=True):
            if gradient is None:
                raise ValueError(
                    f"parameter {name} gets no gradient from the loss; freeze it "
                    "(requires_grad=False) or remove it from the model"
                )
            total[name] += gradient
    return total
