"""Clipping and noise: what a guidance gradient needs before it may leave the data custodian.

The Gaussian mechanism on one weighted sum: every series' gradient is clipped to a norm C, so
replacing one series by another moves sum_i w_i g_i by at most 2 C max_i w_i, and normal noise in
proportion to that bound makes the sum (epsilon, delta)-differentially private. The relation
between noise and (epsilon, delta) is the exact one of Balle & Wang 2018, taken from the
dp-accounting library. All that is computed from the noised sum afterwards (preconditioning
included) costs no privacy.
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from configs.runtime.errors import UserError
from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.influence.parameter_space import ParamGrads, norm, row_gradients, trainable


@dataclass(frozen=True)
class ClippedSum:
    """sum_i w_i g_i min(1, C / ||g_i||) and how much was clipped.

    Attributes:
        vector: by parameter name, float64.
        sensitivity: the most it can move when one series is replaced by another.
        share_clipped: of the series with a weight; says something about the series, so it stays
            with the data custodian.
    """

    vector: dict[str, Tensor]
    sensitivity: float
    share_clipped: float


def clipped_sum(
    model: nn.Module,
    loss: Callable[[Tensor, Tensor], Tensor],
    x: Series,
    y: Labels,
    *,
    weights: Float[Tensor, " batch"],
    clip: float,
    title: str | None = None,
) -> ClippedSum:
    """The weighted sum of the clipped gradients of single series.

    Args:
        model: classifier in eval mode.
        loss: unreduced loss, (logits, y) -> (B,).
        weights: non-negative weight of each series; rows of weight 0 are left out.
        clip: C.
        title: of the progress bar; None shows none.
    """
    used = weights > 0
    total = {name: torch.zeros_like(p).double() for name, p in trainable(model).items()}
    clipped = 0
    rows = row_gradients(model, loss, x[used], y[used])
    bar = tqdm(
        rows, total=int(used.sum()), desc=title, unit="series", disable=None if title else True
    )
    for weight, part in zip(weights[used].tolist(), bar, strict=True):
        factor = min(1.0, clip / max(norm(part), 1e-300))
        clipped += factor < 1.0
        for name in total:
            total[name] += weight * factor * part[name].double()
    share = clipped / max(1, int(used.sum()))
    return ClippedSum(total, 2 * clip * float(weights.max()), share)


def noise_multiplier(epsilon: float, delta: float) -> float:
    """Standard deviation of the noise per unit of sensitivity, for one release.

    Raises:
        UserError: dp-accounting is not installed.
    """
    try:
        get_sigma = import_module("dp_accounting").get_sigma_gaussian
    except ModuleNotFoundError as error:
        if error.name != "dp_accounting":
            raise  # one of its own dependencies
        raise UserError(
            "export.epsilon needs the dp-accounting package, which is not installed: "
            "pip install -c constraints.txt -e '.[dp]'"
        ) from error
    return float(get_sigma(epsilon, delta))


def add_noise(vector: ParamGrads, sd: float) -> dict[str, Tensor]:
    """`vector` plus independent N(0, sd^2) noise in every entry.

    The seed comes from the operating system and is not kept: whoever knew it could take the
    noise away again.
    """
    generator = torch.Generator().manual_seed(secrets.randbits(63))
    return {
        name: part + sd * torch.randn(part.shape, generator=generator, dtype=part.dtype)
        for name, part in vector.items()
    }
