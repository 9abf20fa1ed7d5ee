"""Samplers: pure functions from starting noise and a denoiser to clean series.

Each walks `levels` (log-SNR, noisy to clean) and ends with the denoiser's estimate at the last
level, so no noise is left in the result. Guidance lives inside the denoiser
(guidance/guided_denoiser.py). Levels are best float64: scalars are then exact while the series keep
their own type.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from tardiff.diffusion.denoiser import Denoiser
from tardiff.diffusion.noise_schedule import Labels, Series, alpha_sigma

Steps = Float[Tensor, " step"]  # log-SNR of the sampling steps, noisy to clean
NoiseSource = Callable[[], Series]  # a fresh standard normal draw shaped like the batch


def sample_dpmpp_2m(
    denoiser: Denoiser,
    x: Series,
    y: Labels,
    levels: Steps,
) -> Series:
    """DPM-Solver++(2M), Lu et al. 2022 alg. 2, in x_0 form.

    Raises:
        FloatingPointError: a step produced a non-finite value; names the step and the series.
    """
    previous_x0, previous_h = None, None
    for step in range(len(levels) - 1):
        x0_hat = _denoise(denoiser, x, y, levels, step)
        h = (levels[step + 1] - levels[step]) / 2  # step in log(alpha / sigma)
        estimate = x0_hat
        if previous_x0 is not None and previous_h is not None:
            ratio = previous_h / h
            estimate = x0_hat + (x0_hat - previous_x0) / (2 * ratio)
        _, sigma = alpha_sigma(levels[step])
        alpha_next, sigma_next = alpha_sigma(levels[step + 1])
        x = sigma_next / sigma * x - alpha_next * torch.expm1(-h) * estimate
        previous_x0, previous_h = x0_hat, h
    return _denoise(denoiser, x, y, levels, len(levels) - 1)


def sample_ddim(
    denoiser: Denoiser,
    x: Series,
    y: Labels,
    levels: Steps,
    *,
    eta: float = 0.0,
    noise: NoiseSource | None = None,
) -> Series:
    """DDIM, Song et al. 2021 eqs. 12 and 16; `eta` > 0 needs `noise`. With eta = 1 it is the
    ancestral sampling of DDPM, Ho et al. 2020 eqs. 6-7."""
    for step in range(len(levels) - 1):
        x0_hat = _denoise(denoiser, x, y, levels, step)
        alpha, sigma = alpha_sigma(levels[step])
        alpha_next, sigma_next = alpha_sigma(levels[step + 1])
        eps_hat = (x - alpha * x0_hat) / sigma
        spread = eta * sigma_next / sigma * torch.sqrt(1 - (alpha / alpha_next) ** 2)
        x = alpha_next * x0_hat + torch.sqrt(sigma_next**2 - spread**2) * eps_hat
        if eta > 0 and noise is not None:
            x = x + spread * noise()
    return _denoise(denoiser, x, y, levels, len(levels) - 1)


def _denoise(denoiser: Denoiser, x: Tensor, y: Tensor, levels: Tensor, step: int) -> Tensor:
    return _require_finite(denoiser(x, levels[step].to(x).expand(len(x)), y), step)


def _require_finite(x: Tensor, step: int) -> Tensor:
    finite = torch.isfinite(x).flatten(1).all(1)
    if not finite.all():
        rows = torch.nonzero(~finite).flatten().tolist()
        raise FloatingPointError(
            f"sampling step {step}: non-finite values in {len(rows)} series of the batch, first in "
            f"its row {rows[0]}; the "
            "guidance may be too strong (lower guidance.w, or guidance.paper_w with compat=paper) "
            "or the denoiser may have diverged in training"
        )
    return x
