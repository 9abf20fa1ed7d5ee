"""compat=paper: Algorithm 1 as printed, for comparison.

x_{t-1} ~ N(mu_t + w J(x_t, y), beta_tilde_t) over every step of the discrete linear schedule,
with the raw guidance gradient of the mean negative log-likelihood, J taken at the noisy x_t, and
no scaling of any kind. docs/method.md says why the defaults differ.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from configs.schema.experiment import DiffusionConfig
from tardiff.diffusion.noise_schedule import linear_log_snr
from tardiff.guidance.directions import Direction
from tardiff.guidance.guided_denoiser import GuidanceStats


def paper_levels(
    diffusion: DiffusionConfig, trained: Sequence[float] | None
) -> Float[Tensor, " step"]:
    """The discrete schedule, noisy to clean: the one trained on, else the configured betas.

    A model trained on the cosine schedule knows every level, so it can walk this grid too.
    """
    if trained is not None:
        return torch.tensor(trained, dtype=torch.float64).flip(0)
    table = linear_log_snr(diffusion.num_steps, diffusion.beta_start, diffusion.beta_end)
    return table.flip(0)


class PaperShift:
    """w J(x_t, y), the shift of the posterior mean."""

    def __init__(self, direction: Direction, w: float) -> None:
        self.direction = direction
        self.w = w
        self.stats = GuidanceStats()

    def __call__(self, x_t: Tensor, y: Tensor) -> Tensor:
        """The shift at one step; statistics relate it to the trajectory's own move."""
        shift = self.w * self.direction(x_t, y)[1].to(x_t)
        self.stats.add_estimate(x_t)
        self.stats.add_shift(shift, torch.zeros(len(x_t), dtype=torch.bool))
        return shift
