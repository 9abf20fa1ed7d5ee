"""Algorithm 1 as printed (compat=paper), for comparison: x_{t-1} ~ N(mu_t + w J(x_t, y), beta_t~).

The posterior mean is mu_t = w0 x0_hat + wt x_t (DDPM eq. 7), so

    mu_t + w J = w0 (x0_hat + w J / w0) + wt x_t,

and the algorithm is guided denoising with the gain w / w0 of the level, at every step of the
discrete linear schedule, with J taken at x_t and no trust region. Its G is that of the mean
negative log-likelihood, not preconditioned. docs/method.md says why the defaults differ.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from tardiff.diffusion.noise_schedule import Labels, Levels, alpha_sigma
from tardiff.guidance.directions import Direction
from tardiff.guidance.guided_denoiser import Guidance


class Algorithm1:
    """w / w0(level): the gain of the paper's shift of the posterior mean.

    Args:
        w: the paper's multiplier of J.
        levels: log-SNR of the steps of DDPM, noisy to clean.
    """

    def __init__(self, w: float, levels: Float[Tensor, " step"]) -> None:
        following = torch.cat([levels[1:].double(), levels.new_tensor([torch.inf]).double()])
        self.levels = levels.double()
        self.gains = w / weight_of_x0(self.levels, following)

    def __call__(self, log_snr: Levels, y: Labels) -> Float[Tensor, " batch"]:
        """The factor of the gradient, the same for every series."""
        # Levels reach a denoiser in the precision of the series: the nearest is the step's own.
        step = (self.levels - float(log_snr[0])).abs().argmin()
        return self.gains[step].to(log_snr).expand(len(y))


def algorithm1(direction: Direction, w: float, levels: Float[Tensor, " step"]) -> Guidance:
    """The guidance of the paper's algorithm; `levels` and `w` as in `Algorithm1`."""
    return Guidance(direction=direction, gain=Algorithm1(w, levels), at_noisy=True)


def paper_levels(
    trained: Sequence[float] | None, configured: Float[Tensor, " beta"]
) -> Float[Tensor, " step"]:
    """The discrete schedule, noisy to clean: the one trained on, else the configured betas.

    A model trained on the cosine schedule knows every level, so it can walk this grid too.

    Args:
        configured: log-SNR of the configured betas, least noisy first (`linear_log_snr`).
    """
    table = configured if trained is None else torch.tensor(trained, dtype=torch.float64)
    return table.flip(0)


def weight_of_x0(
    level: Float[Tensor, "..."], following: Float[Tensor, "..."]
) -> Float[Tensor, "..."]:
    """w0 of the posterior mean w0 x_0 + wt x_t of q(x_{t-1} | x_t, x_0), any two levels (DDPM
    eq. 7); a `following` level of infinity is the clean end, where it is 1."""
    alpha, sigma = alpha_sigma(level)
    alpha_next, _ = alpha_sigma(following)
    return alpha_next * (1 - (alpha / alpha_next) ** 2) / sigma**2
