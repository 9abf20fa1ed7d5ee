"""Noise levels: the variance-preserving process in terms of log-SNR, and the two schedules.

x_t = alpha x_0 + sigma eps with alpha^2 + sigma^2 = 1. A noise level is its log-SNR
lambda = log(alpha^2 / sigma^2): high is clean, low is noisy. Networks, losses and samplers speak
lambda only, so one trained model serves every sampler grid.
"""

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

Series = Float[Tensor, "batch channel time"]
Levels = Float[Tensor, " batch"]  # log-SNR of each series
Labels = Int[Tensor, " batch"]

# Training covers a little more than any sampler grid asks for.
LOG_SNR_MIN, LOG_SNR_MAX = -11.0, 11.0


def alpha_sigma(log_snr: Float[Tensor, "*shape"]) -> tuple[Tensor, Tensor]:
    """Signal and noise amplitudes of the levels; alpha^2 = sigmoid(lambda)."""
    return torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()


def add_noise(x_0: Series, log_snr: Levels, eps: Series) -> Series:
    """x_t = alpha x_0 + sigma eps, DDPM eq. 4."""
    alpha, sigma = alpha_sigma(log_snr[:, None, None])
    return alpha * x_0 + sigma * eps


def cosine_log_snr(t: Float[Tensor, "*shape"]) -> Tensor:
    """Level at time t in [0, 1] of alpha = cos(pi t / 2), bounded to the training range."""
    angle = (t.double() * (math.pi / 2)).clamp(1e-9, math.pi / 2 - 1e-9)
    return (-2 * torch.log(torch.tan(angle))).clamp(LOG_SNR_MIN, LOG_SNR_MAX).float()


def linear_log_snr(num_steps: int, beta_start: float, beta_end: float) -> Float[Tensor, " step"]:
    """Levels of the discrete schedule with betas rising linearly (DDPM; TarDiff appendix).

    Index 0 is the least noisy step. Accumulated and returned in float64.
    """
    betas = torch.linspace(beta_start, beta_end, num_steps, dtype=torch.float64)
    log_alpha_bar = torch.log1p(-betas).cumsum(0)
    return log_alpha_bar - torch.log(-torch.expm1(log_alpha_bar))


def log_snr_grid(num_steps: int, low: float, high: float) -> Float[Tensor, " step"]:
    """`num_steps` levels from noisy to clean, uniform in log-SNR, float64."""
    return torch.linspace(low, high, num_steps, dtype=torch.float64)


def generator_of(*key: int) -> torch.Generator:
    """A generator on the CPU for a tuple of non-negative numbers, such as (seed, step).

    SeedSequence mixes them into well separated streams; a sum would make (0, 1) equal to (1, 0).
    Zeros at the end of a key do not count (SeedSequence pads it to four numbers with them):
    training step n, key (seed, n, 0, 0), and series n, key (seed, n), share a stream. They use
    different parts of it, but for some of the numbers of long series. torch heeds 32 bits of a
    seed on the CPU, so among N keys about N^2 / 2^33 pairs share a stream by chance: of seed 0
    series 50699 and 55170 are the first.
    """
    mixed = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> 1))


def draw_levels(
    batch: int, *, table: Float[Tensor, " step"] | None, generator: torch.Generator
) -> Levels:
    """Levels of a training batch: stratified uniform time, cosine or one of `table`'s steps.

    Stratifying time over the batch leaves every marginal uniform and lowers the variance of the
    loss.
    """
    offsets = torch.rand(batch, generator=generator)
    t = (torch.randperm(batch, generator=generator) + offsets) / batch
    if table is None:
        return cosine_log_snr(t)
    return table[(t * len(table)).long().clamp(max=len(table) - 1)].float()
