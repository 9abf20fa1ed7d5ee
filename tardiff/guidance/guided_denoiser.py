"""GuidedDenoiser: the one owner of strength, interval and trust region.

Target: the density tilted by exp(U), U = m * score / s with s the natural standard deviation of
the score and m dimensionless. The denoised estimate then moves by
x0_hat' = x0_hat + kappa^2 grad U(x0_hat), kappa^2 = sigma^2 the posterior variance of a
unit-variance series (docs/method.md). kappa -> 0 at the clean end, so nothing is left
unscheduled in the result. Any solver that consumes x0_hat takes the shifted one.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from tardiff.diffusion.denoiser import Denoiser
from tardiff.diffusion.noise_schedule import Labels, Levels, Series, alpha_sigma
from tardiff.guidance.directions import Direction

EVALUATION_POINTS = ("x0hat", "xt")


@dataclass
class GuidanceStats:
    """What guidance did, accumulated over all guided steps of a run.

    Attributes:
        shift_square, calls: sum over series and steps of the mean squared shift; its count.
        step_square: likewise for the change of x0_hat between steps, without guidance.
        clipped: how often the trust region shortened a shift.
    """

    shift_square: float = 0.0
    step_square: float = 0.0
    calls: int = 0
    step_calls: int = 0
    clipped: int = 0
    _previous: Tensor | None = field(default=None, repr=False)

    def add_shift(self, shift: Series, clipped: Tensor) -> None:
        """Counts one guided denoiser call."""
        self.shift_square += float(shift.square().mean(dim=(1, 2)).sum())
        self.clipped += int(clipped.sum())
        self.calls += len(shift)

    def add_estimate(self, x0_hat: Series) -> None:
        """Counts the move of the unguided estimate since the previous step of this batch."""
        if self._previous is not None and self._previous.shape == x0_hat.shape:
            change = x0_hat - self._previous
            self.step_square += float(change.square().mean(dim=(1, 2)).sum())
            self.step_calls += len(change)
        self._previous = x0_hat

    def new_batch(self) -> None:
        """Forgets the previous estimate: the next call starts another trajectory."""
        self._previous = None

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
    """A Denoiser whose estimate is moved along a Direction.

    Args:
        denoiser: the unguided one (classifier-free guidance, if any, is inside it).
        direction: score and gradient.
        multiplier: m per class; negative values lower the score.
        scale: s per class, the natural standard deviation of the score.
        active: (lowest, highest) log-SNR at which guidance acts.
        trust: rms(shift) <= trust * kappa for every series; longer shifts are shortened.
        at: evaluate the direction at "x0hat" or, as Algorithm 1 prints it, at "xt".
    """

    def __init__(
        self,
        denoiser: Denoiser,
        direction: Direction,
        *,
        multiplier: Float[Tensor, " k"],
        scale: Float[Tensor, " k"],
        active: tuple[float, float],
        trust: float,
        at: str = "x0hat",
    ) -> None:
        if at not in EVALUATION_POINTS:
            raise ValueError(f"at={at!r}, expected one of {EVALUATION_POINTS}")
        if not (scale > 0).all():
            raise ValueError(f"scale must be positive for every class, got {scale.tolist()}")
        self.denoiser = denoiser
        self.direction = direction
        self.strength = multiplier.double() / scale.double()
        self.active = active
        self.trust = trust
        self.at = at
        self.stats = GuidanceStats()

    def __call__(self, x_t: Series, log_snr: Levels, y: Labels) -> Series:
        """x0_hat + shift; exactly x0_hat outside the interval or at strength 0."""
        x0_hat = self.denoiser(x_t, log_snr, y)
        if not self.active[0] <= float(log_snr[0]) <= self.active[1]:
            return x0_hat
        self.stats.add_estimate(x0_hat)
        if not self.strength.any():
            return x0_hat
        _, gradient = self.direction(x0_hat if self.at == "x0hat" else x_t, y)
        _, kappa = alpha_sigma(log_snr[:, None, None])
        strength = self.strength.to(x0_hat)[y][:, None, None]
        shift, clipped = limit(strength * kappa**2 * gradient.to(x0_hat), self.trust * kappa)
        self.stats.add_shift(shift, clipped)
        return x0_hat + shift


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
        raise ValueError(
            f"guidance.interval={list(interval)} holds none of the {len(levels)} sampling steps; "
            "widen it or raise sampler.num_steps"
        )
    # float32 levels reach the denoiser: leave room for their rounding.
    return float(inside.min()) - 1e-4, float(inside.max()) + 1e-4
