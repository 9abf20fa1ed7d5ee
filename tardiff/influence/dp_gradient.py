"""Clipping: what a guidance gradient needs before noise may make it private.

The Gaussian mechanism on one weighted sum: every series' gradient is clipped to a norm C, so
replacing one series by another moves sum_i w_i g_i by at most 2 C max_i w_i, and normal noise in
proportion to that bound (tardiff/privacy/noise.py) makes the sum (epsilon, delta)-differentially
private. All that is computed from the noised sum afterwards (H^-1 G included) costs no privacy.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

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


def gradient_norms(guidance: LabelledDesign, theta: Head) -> Float[Tensor, " n"]:
    """||g_i||, the norm of the gradient phi(x_i) (p_i - y_i)^T of every series."""
    return guidance.rows.norm(dim=1) * residual(guidance.rows @ theta, guidance.y).norm(dim=1)


def clipped_sum(
    guidance: LabelledDesign, theta: Head, *, weights: Float[Tensor, " n"], clip: float
) -> ClippedSum:
    """The weighted sum of the clipped gradients of single series.

    Args:
        theta: the head of the guide.
        weights: non-negative weight of each series.
        clip: C.
    """
    # A series whose gradient is not finite would make the whole sum nan and so be betrayed by it.
    odd = ~gradient_norms(guidance, theta).isfinite()
    guidance = LabelledDesign(guidance.rows.masked_fill(odd[:, None], 0.0), guidance.y)
    factors = (clip / gradient_norms(guidance, theta).clamp(min=1e-300)).clamp(max=1.0)
    pull = (weights * factors)[:, None] * residual(guidance.rows @ theta, guidance.y)
    share = float((factors < 1)[weights > 0].double().mean())
    return ClippedSum(guidance.rows.T @ pull, 2 * clip * float(weights.max()), share)
