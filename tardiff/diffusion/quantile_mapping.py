"""MarginalMap: gives drawn series the marginal distributions of the training series, by channel.

A denoiser that is a little too smooth draws too few values at the ends of a scale and measurements
a little too often. Quantile mapping, as climate models are corrected for bias, undoes that: a
monotone map per value channel takes the quantiles of a pilot of unguided draws to those of the
training series, and a threshold per mask channel and grid point gives the training share of
measurements there. Fitted once, after training, and part of the model: a series' values depend on
that series alone, and guided series go through the map of the unguided ones, so what guidance moved
stays moved. (The map of clinical units to model space is data_preprocess/model_space/.)
"""

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy.stats import norm
from torch import Tensor, nn

from data_preprocess.model_space.channel_transforms import interpolate
from tardiff.diffusion.noise_schedule import Series

# Quantiles at even normal scores: beyond 2.5 (0.6 % of the entries) a pilot tells too little.
OUTERMOST = 2.5
KNOTS = 121  # at most 1.7 % of the entries lie between two
LEAST_GAP = 1e-4  # between knots: every slope stays finite, and not zero


class MarginalMap(nn.Module):
    """Model-space series as drawn -> with corrected marginals; static channels stay as they are.

    Args:
        channels: value channels.
        length: grid points.
        masks: one mask channel per value channel follows them.
        knots: quantiles that are matched per channel.
    """

    source: Tensor
    target: Tensor
    threshold: Tensor

    def __init__(self, channels: int, length: int, *, masks: bool, knots: int = KNOTS) -> None:
        super().__init__()
        same = torch.linspace(-1, 1, knots + 2, dtype=torch.float64).repeat(channels, 1)
        self.register_buffer("source", same)
        self.register_buffer("target", same.clone())
        self.register_buffer("threshold", torch.zeros(channels * masks, length))

    def forward(self, x: Series) -> Series:
        """The corrected series."""
        num_values, num_masks = len(self.source), len(self.threshold)
        values = [
            interpolate(x[:, c].double(), tuple(source), tuple(target)).to(x)
            for c, (source, target) in enumerate(
                zip(self.source.tolist(), self.target.tolist(), strict=True)
            )
        ]
        masks = x[:, num_values : num_values + num_masks] - self.threshold.to(x)
        rest = x[:, num_values + num_masks :]
        return torch.cat([torch.stack(values, dim=1), masks, rest], dim=1)

    @torch.no_grad()
    def fit(
        self,
        drawn: Float[Tensor, "n channel time"],
        train: Float[Tensor, "m channel time"],
        measured: Bool[Tensor, "m value time"],
    ) -> None:
        """Takes the map from a pilot and the training series, both in model space.

        Args:
            drawn: unguided, with the class shares of `train`.
            train: charted values dithered (Normaliser.dithered), or what is rounded again later
                comes out as a comb.
            measured: entries of `train` whose values count; of `drawn` those count whose mask is on
                once its threshold is set, or all without masks.
        """
        num_values, num_masks = len(self.source), len(self.threshold)
        counted = torch.ones_like(drawn[:, :num_values], dtype=torch.bool)
        if num_masks:
            masks = drawn[:, num_values : num_values + num_masks]
            shares = (train[:, num_values : num_values + num_masks] > 0).double().mean(dim=0)
            for c, t in np.ndindex(num_masks, self.threshold.shape[1]):
                self.threshold[c, t] = _exceeded_by(masks[:, c, t], float(shares[c, t]))
            counted = masks > self.threshold
        else:
            measured = torch.ones_like(train[:, :num_values], dtype=torch.bool)
        scores = np.linspace(-OUTERMOST, OUTERMOST, self.source.shape[1] - 2)
        probabilities = torch.from_numpy(norm.cdf(scores))
        for c in range(num_values):
            made = drawn[:, c][counted[:, c]].double()
            real = train[:, c][measured[:, c]].double()
            if min(len(made), len(real)) >= len(scores):
                self.source[c] = _knots(made, probabilities)
                self.target[c] = _knots(real, probabilities)


def _exceeded_by(values: Float[Tensor, " entry"], share: float) -> float:
    """A number that `share` of the values exceed; beyond all of them for a share of 0 or 1."""
    ordered = values.double().sort(descending=True).values
    position = round(share * len(ordered))
    if position == 0:
        return float(ordered[0]) + 1.0
    if position == len(ordered):
        return float(ordered[-1]) - 1.0
    return float(ordered[position - 1] + ordered[position]) / 2


def _knots(values: Tensor, probabilities: Tensor) -> Tensor:
    """Rising quantiles, with a knot at distance 1 beyond each end: slope 1 out there."""
    # numpy's quantile has no limit of size, torch's has.
    inner = torch.from_numpy(np.quantile(values.numpy(), probabilities.numpy()))
    steps = inner.diff().clamp(min=LEAST_GAP)
    rising = torch.cat([inner[:1], inner[:1] + steps.cumsum(0)])
    return torch.cat([rising[:1] - 1.0, rising, rising[-1:] + 1.0])
