"""I(z) = <G, grad_phi loss(z)> of a series z = (x, y), and its input gradient J = grad_x I.

Guidance raises I, along J = +grad_x I; guidance_gradient.py derives the sign.

J is exact, by double backward. A difference of two input gradients at phi +- e G would cost half,
but where the classifier takes a maximum over time the two can be of different grid points, and
their gap over 2e was up to several hundred times J for 1 to 12 % of series (docs/method.md).
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from configs.runtime.errors import DataError
from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.influence.parameter_space import ParamGrads, require_direction, trainable

PerSampleLoss = Callable[[Tensor, Tensor], Tensor]


class InfluenceDirection:
    """Scores series by influence and gives the direction in which each score rises.

    Args:
        model: classifier (B, C, T) -> (B, out) in eval mode whose rows are independent and whose
            layers have second derivatives.
        loss: unreduced loss, (logits, y) -> (B,).
        guide_gradient: G, or the preconditioned G.

    Raises:
        ValueError: model in training mode, or its parameter names differ from G's.
        DataError: G is zero or not finite.
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
        require_direction(guide_gradient)
        self._loss = loss
        self._model = copy.deepcopy(model)
        parameters = trainable(self._model)
        self._parameters = list(parameters.values())
        self._along = [guide_gradient[name].to(part) for name, part in parameters.items()]

    def __call__(self, x: Series, y: Labels) -> tuple[Tensor, Series]:
        """(I, J): the score of each series, (B,), and its gradient, (B, C, T), both detached.

        Always in the precision of the classifier, without TF32.

        Raises:
            DataError: a layer of the classifier has no second derivative.
        """
        with torch.autocast(x.device.type, enabled=False), _second_derivatives(self._model):
            leaf = x.detach().to(self._parameters[0].dtype).requires_grad_()
            values = self._loss(self._model(leaf), y)
            # dI_i = d total / d weight_i: a weight a row gives all scores in one pass.
            weights = torch.ones_like(values, requires_grad=True)
            try:
                parts = torch.autograd.grad(values, self._parameters, weights, create_graph=True)
                pairs = zip(self._along, parts, strict=True)
                total = torch.stack([(along * part).sum() for along, part in pairs]).sum()
                _require_whole_graph(total)
                gradient, score = torch.autograd.grad(total, [leaf, weights])
            except RuntimeError as error:
                if "is not implemented" not in str(error):
                    raise
                raise DataError(
                    "a layer of the classifier has no second derivative, which the gradient of "
                    f"influence needs ({error}); use influence.estimator=convex"
                ) from error
        return score.detach(), gradient.detach()

    def score(self, x: Series, y: Labels) -> Tensor:
        """I of each series, (B,)."""
        return self(x, y)[0]


def loss_and_gradient(
    model: nn.Module, loss: PerSampleLoss, x: Series, y: Labels
) -> tuple[Tensor, Series]:
    """The loss of each series and its gradient with respect to the series, detached."""
    # Summing over the batch before differentiating decouples the series exactly.
    with torch.enable_grad():
        leaf = x.detach().requires_grad_()
        values = loss(model(leaf), y)
        return values.detach(), torch.autograd.grad(values.sum(), leaf)[0]


def _require_whole_graph(value: Tensor) -> None:
    """Raises RuntimeError where the graph of `value` ends at a Function marked
    @once_differentiable, past which torch would not look, and say nothing."""
    seen, open_nodes = set(), [value.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() == "torch::autograd::Error":
            raise RuntimeError(
                "the derivative of a once_differentiable Function is not implemented"
            )
        open_nodes += [before for before, _ in node.next_functions]


@contextmanager
def _second_derivatives(model: nn.Module) -> Iterator[None]:
    """Kernels that have them: not cuDNN's recurrent layers, nor fused attention.

    TF32 would round the factors of float32 products to ten bits.
    """
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    with ExitStack() as stack:
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.backends.cudnn.flags(enabled=not recurrent, allow_tf32=False))
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        yield
