"""Influence against the truth: what one training step does to the guidance loss."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor, nn
from tqdm import tqdm

from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.influence.parameter_space import ParamGrads, inner, norm, row_gradients, trainable

NEAR_ZERO = 0.05  # share of the smallest predictions whose sign is not asked for


@dataclass(frozen=True)
class StepTest:
    """Predicted and measured fall of the guidance loss, one entry per series."""

    predicted: Float[Tensor, " batch"]
    measured: Float[Tensor, " batch"]

    @property
    def spearman(self) -> float:
        """Rank correlation of prediction and truth."""
        return rank_correlation(self.predicted, self.measured)

    @property
    def slope(self) -> float:
        """Of measured on predicted, through the origin; 1 is exact."""
        return float(self.predicted @ self.measured / (self.predicted @ self.predicted))

    @property
    def sign_agreement(self) -> float:
        """Share of equal signs where the prediction is not among the smallest 5 %."""
        size = self.predicted.abs()
        clear = size > size.quantile(NEAR_ZERO)
        return float((self.predicted.sign() == self.measured.sign())[clear].double().mean())


def rank_correlation(left: Float[Tensor, " batch"], right: Float[Tensor, " batch"]) -> float:
    """Spearman's."""
    ranks = torch.tensor(np.stack([rankdata(left), rankdata(right)]))
    return float(torch.corrcoef(ranks)[0, 1])


def one_step_test(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    x: Series,
    y: Labels,
    *,
    guide_gradient: ParamGrads,
    guide_loss: Callable[[nn.Module], float],
    step_norm: float,
    title: str | None = None,
) -> StepTest:
    """One SGD step on each series alone, from the same weights, in float64.

    The learning rate is set per series so that ||step|| = step_norm ||phi||: with a fixed rate,
    series with large gradients leave the range in which influence is linear.

    Args:
        guide_gradient: the gradient of `guide_loss`, not preconditioned (a step of SGD is not).
        guide_loss: guidance loss of a model in float64.
        title: of the progress bar; None shows none.
    """
    trial = copy.deepcopy(model).double().eval()
    start = {name: parameter.detach().clone() for name, parameter in trainable(trial).items()}
    before, size = guide_loss(trial), step_norm * norm(start)
    predicted, measured = [], []
    rows = row_gradients(trial, loss, x.double(), y)
    for part in tqdm(rows, total=len(y), desc=title, unit="step", disable=None if title else True):
        rate = size / norm(part)
        predicted.append(rate * inner(guide_gradient, part))
        _set(trial, start, part, -rate)
        measured.append(before - guide_loss(trial))
        _set(trial, start, part, 0.0)
    found = torch.tensor([predicted, measured], dtype=torch.float64)
    return StepTest(found[0], found[1])


@torch.no_grad()
def _set(model: nn.Module, start: ParamGrads, direction: ParamGrads, step: float) -> None:
    for name, parameter in trainable(model).items():
        parameter.copy_(start[name] + step * direction[name])
