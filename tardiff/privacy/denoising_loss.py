"""Denoising losses of given series: what a holder of the generator's weights can ask it about them.

A model that has memorised a series removes noise from it better than from a series it has
never seen, so its own training loss is a membership score (white-box attack; Matsumoto et al.
2023, Carlini et al. 2023).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tardiff.diffusion.denoiser import Denoiser
from tardiff.diffusion.noise_schedule import Labels, Series, add_noise, alpha_sigma

# Log-SNR at which the loss is taken: nearly all noise tells only the class, hardly any only the
# roundings; what is remembered shows in between.
LEVELS = (-3.0, -1.5, 0.0, 1.5, 3.0)


def denoising_losses(
    denoiser: Denoiser,
    x: Series,
    y: Labels,
    *,
    device: torch.device,
    levels: Sequence[float] = LEVELS,
    draws: int = 2,
    seed: int = 0,
    batch_size: int = 256,
) -> Float[Tensor, "n level"]:
    """Mean squared error of the model's v at each level, ||x0_hat - x_0||^2 / (C T sigma^2).

    Every series meets the same noise, so that a difference between two series is one of the
    series. Rows are independent of each other and of the batch size.

    Args:
        x: model-space series, (n, C, T); y: their labels.
        draws: noises per level, averaged.

    Returns:
        (n, level), on the CPU, float32.
    """
    noises = torch.randn(
        len(levels), draws, *x.shape[1:], generator=torch.Generator().manual_seed(seed)
    )
    parts = []
    for rows, labels in zip(x.split(batch_size), y.split(batch_size), strict=True):
        clean, classes = rows.to(device), labels.to(device)
        of_batch = [
            _mean_loss(denoiser, clean, classes, level, noise.to(device))
            for level, noise in zip(levels, noises, strict=True)
        ]
        parts.append(torch.stack(of_batch, dim=1).cpu())
    return torch.cat(parts)


def _mean_loss(
    denoiser: Denoiser, x: Tensor, y: Tensor, level: float, noises: Tensor
) -> Float[Tensor, " n"]:
    levels = torch.full((len(x),), level, device=x.device)
    variance = alpha_sigma(levels)[1].square()
    total = torch.zeros(len(x), device=x.device)
    for noise in noises:
        estimate = denoiser(add_noise(x, levels, noise.expand_as(x)), levels, y)
        total += (estimate - x).square().mean(dim=(1, 2)) / variance
    return total / len(noises)
