"""Clipping and noise: what a guidance gradient needs before it may leave the data custodian.

The Gaussian mechanism on one weighted sum: every series' gradient is clipped to a norm C, so
replacing one series by another moves sum_i w_i g_i by at most 2 C max_i w_i, and normal noise in
proportion to that bound makes the sum (epsilon, delta)-differentially private. The relation
between noise and (epsilon, delta) is the exact one of Balle & Wang 2018, taken from the
dp-accounting library. All that is computed from the noised sum afterwards (H^-1 G included) costs
no privacy.
"""

import secrets
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from configs.runtime.errors import UserError
from tardiff.influence.convex_guide import Head, LabelledDesign
from tardiff.influence.guidance_losses import residual


@dataclass(frozen=True)
class ClippedSum:
    """sum_i w_i g_i min(1, C / ||g_i||) and how much was clipped.

    Attributes:
        gradient: the sum.
        sensitivity: the most it can move when one series is replaced by another.
        share_clipped: of the series with a weight; says something about them, so it stays with the
            data custodian.
    """

    gradient: Head
    sensitivity: float
    share_clipped: float


def gradient_norms(known: LabelledDesign, theta: Head) -> Float[Tensor, " n"]:
    """||g_i||, the norm of the gradient phi(x_i) (p_i - y_i)^T of every series."""
    return known.rows.norm(dim=1) * residual(known.rows @ theta, known.y).norm(dim=1)


def clipped_sum(
    known: LabelledDesign, theta: Head, *, weights: Float[Tensor, " n"], clip: float
) -> ClippedSum:
    """The weighted sum of the clipped gradients of single series.

    Args:
        theta: the head of the guide.
        weights: non-negative weight of each series.
        clip: C.
    """
    # A series whose gradient is not finite would make the whole sum nan and so be betrayed by it.
    odd = ~gradient_norms(known, theta).isfinite()
    known = LabelledDesign(known.rows.masked_fill(odd[:, None], 0.0), known.y)
    factors = (clip / gradient_norms(known, theta).clamp(min=1e-300)).clamp(max=1.0)
    pull = (weights * factors)[:, None] * residual(known.rows @ theta, known.y)
    share = float((factors < 1)[weights > 0].double().mean())
    return ClippedSum(known.rows.T @ pull, 2 * clip * float(weights.max()), share)


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


def add_noise(gradient: Head, sd: float) -> Head:
    """`gradient` plus independent N(0, sd^2) noise in every entry.

    Its 128 bits of entropy come from the operating system and are not kept: whoever knew them could
    take the noise away again. numpy's generator, since torch's uses 32 bits of a seed on the CPU,
    few enough to try them all.
    """
    noise = np.random.default_rng(secrets.randbits(128)).normal(0.0, sd, tuple(gradient.shape))
    return gradient + torch.from_numpy(noise)
