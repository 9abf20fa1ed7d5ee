"""GuidedDenoiser: THE SHIFT of a reverse step, x0_hat + gain * grad score.

Two gains. Tilt, the default, targets the density tilted by exp(U), U = m * score / s with s the
unguided standard deviation of the score and m dimensionless: the denoised estimate moves by
kappa^2 grad U(x0_hat), kappa^2 = sigma^2 the posterior variance of a unit-variance series
(docs/method.md); kappa -> 0 at the clean end, so nothing is left unscheduled in the result.
Algorithm1 is the paper's algorithm as printed (tardiff/guidance/algorithm1.py). Any solver that
consumes x0_hat takes the shifted one.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import astuple, dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from configs.runtime.errors import ConfigError
from tardiff.diffusion.denoiser import Denoiser
from tardiff.diffusion.noise_schedule import Labels, Levels, Series, alpha_sigma
from tardiff.guidance.directions import Direction

# (log_snr, y) -> the factor of the gradient, one per series.
Gain = Callable[[Levels, Labels], Float[Tensor, " batch"]]


class Tilt:
    """m / s * sigma^2: the gain of the tilted density.

    Args:
        multiplier: m per class; negative values lower the score.
        scale: s per class, the unguided standard deviation of the score.

    Raises:
        ValueError: a scale that is not positive.
    """

    def __init__(self, multiplier: Float[Tensor, " k"], scale: Float[Tensor, " k"]) -> None:
        if not (scale > 0).all():
            raise ValueError(f"scale must be positive for every class, got {scale.tolist()}")
        self.strength = multiplier.double() / scale.double()

    def __call__(self, log_snr: Levels, y: Labels) -> Float[Tensor, " batch"]:
        """The factor of the gradient, one per series."""
        _, kappa = alpha_sigma(log_snr)
        return self.strength.to(log_snr)[y] * kappa**2


@dataclass(frozen=True, kw_only=True)
class Guidance:
    """What moves the estimate, how far and when.

    Attributes:
        direction: score and gradient.
        active: (lowest, highest) log-SNR at which guidance acts.
        trust: rms(shift) <= trust * sigma for every series; longer shifts are shortened.
        at_noisy: evaluate the direction at x_t, as Algorithm 1 prints it, not at x0_hat.
    """

    direction: Direction
    gain: Gain
    active: tuple[float, float] = (-math.inf, math.inf)
    trust: float = math.inf
    at_noisy: bool = False


@dataclass(frozen=True)
class GuidanceStats:
    """What guidance did, summed over series and guided steps; stats of two batches add up.

    Attributes:
        shift_square, calls: sum of the mean squared shift of a series; number of summands.
        step_square, step_calls: likewise of the change of x0_hat since the step before, without
            guidance.
        clipped: how often the trust region shortened a shift.
    """

    shift_square: float = 0.0
    step_square: float = 0.0
    calls: int = 0
    step_calls: int = 0
    clipped: int = 0

    def __add__(self, other: "GuidanceStats") -> "GuidanceStats":
        return GuidanceStats(*map(operator.add, astuple(self), astuple(other)))

    @property
    def shift_rms(self) -> float:
        """Root mean square of the shifts, model-space units."""
        return (self.shift_square / self.calls) ** 0.5 if self.calls else 0.0

    @property
    def relative_to_step(self) -> float:
        """rms of the shift over rms of the denoiser's own step; 0 means guidance is dead."""
        if not self.step_calls or not self.step_square:
            return 0.0
        return self.shift_rms / (self.step_square / self.step_calls) ** 0.5


class GuidedDenoiser:
    """The Denoiser of one batch on its way from noise to series, moved by `guidance`.

    Args:
        denoiser: the unguided one (classifier-free guidance, if any, is inside it).
        guidance: None: the estimate is left as it is.

    Attributes:
        stats: of the calls so far.
    """

    def __init__(self, denoiser: Denoiser, guidance: Guidance | None) -> None:
        self.denoiser = denoiser
        self.guidance = guidance
        self.stats = GuidanceStats()
        self._previous: Tensor | None = None

    def __call__(self, x_t: Series, log_snr: Levels, y: Labels) -> Series:
        """x0_hat + shift; exactly x0_hat outside the interval or where every gain is 0."""
        x0_hat, guidance = self.denoiser(x_t, log_snr, y), self.guidance
        if guidance is None or not guidance.active[0] <= float(log_snr[0]) <= guidance.active[1]:
            return x0_hat
        gain = guidance.gain(log_snr, y)[:, None, None]
        shift, clipped = torch.zeros_like(x0_hat), gain.new_zeros(len(y), dtype=torch.bool)
        if gain.any():
            _, gradient = guidance.direction(x_t if guidance.at_noisy else x0_hat, y)
            _, kappa = alpha_sigma(log_snr[:, None, None])
            shift, clipped = limit(gain * gradient.to(x0_hat), guidance.trust * kappa)
        self._count(x0_hat, shift, clipped)
        return x0_hat + shift

    def _count(self, x0_hat: Series, shift: Series, clipped: Tensor) -> None:
        step = 0.0 if self._previous is None else _energy(x0_hat - self._previous)
        self.stats += GuidanceStats(
            shift_square=_energy(shift),
            step_square=step,
            calls=len(shift),
            step_calls=0 if self._previous is None else len(shift),
            clipped=int(clipped.sum()),
        )
        self._previous = x0_hat


def _energy(series: Series) -> float:
    return float(series.square().mean(dim=(1, 2)).sum())


def limit(shift: Series, bound: Float[Tensor, "batch 1 1"]) -> tuple[Series, Tensor]:
    """The shift, shortened where its rms exceeds the bound, and which rows were shortened."""
    rms = shift.square().mean(dim=(1, 2), keepdim=True).sqrt()
    factor = (bound / rms.clamp(min=1e-12)).clamp(max=1.0)
    return shift * factor, (factor < 1).flatten()


def active_levels(
    levels: Float[Tensor, " step"], interval: tuple[float, float]
) -> tuple[float, float]:
    """Log-SNR bounds of the steps in `interval`, shares of the steps from the noisy end."""
    last = len(levels) - 1
    positions = torch.arange(len(levels)) / max(1, last)
    inside = levels[(positions >= interval[0] - 1e-9) & (positions <= interval[1] + 1e-9)]
    if len(inside) == 0:
        raise ConfigError(
            f"guidance.interval={list(interval)} holds none of the {len(levels)} sampling steps; "
            "widen it or raise sampler.num_steps"
        )
    # float32 levels reach the denoiser: leave room for their rounding.
    return float(inside.min()) - 1e-4, float(inside.max()) + 1e-4
