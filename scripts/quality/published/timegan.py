"""Discriminative and predictive score as TimeGAN defines them (Yoon et al. 2019, section 5).

Series are scaled to [0, 1] by the range of the training series, channel by channel. A recurrent
network learns to tell training from synthetic series: |0.5 - accuracy| on a fifth that it did not
see. Another one learns on synthetic series to forecast the last channel one step ahead from the
others: mean absolute error on the training series. `_reference` puts held-out series in the place
of the synthetic ones. docs/metrics.md says why `discriminative_auc` and `predictive_ratio` decide
instead.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from scripts.quality.common.comparison import Comparison, Side
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import PUBLISHED, metric

LAYERS = 2
BATCH = 128
LEARNING_RATE = 1e-3
DISCRIMINATIVE_STEPS, PREDICTIVE_STEPS = 2000, 5000
TEST_SHARE = 0.2
MAX_ROWS = 3000

Scaled = Float[Tensor, "n time channel"]


class _Recurrent(nn.Module):
    """A GRU of half as many units as there are channels, and one output per grid point."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, hidden, LAYERS, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Scaled) -> Float[Tensor, "n time"]:
        return self.head(self.gru(x)[0])[:, :, 0]


@metric(PUBLISHED)
def timegan_report(
    comparison: Comparison,
    *,
    seed: int,
    steps: tuple[int, int] = (DISCRIMINATIVE_STEPS, PREDICTIVE_STEPS),
) -> MetricReport:
    """Both scores and their references; 0 is best, for the predictive score the reference is.

    Args:
        steps: optimiser steps of the discriminator and of the forecaster.
    """
    size = min(MAX_ROWS, comparison.matched_size)
    train = comparison.train.data.values
    low, high = (torch.from_numpy(end) for end in (train.min((0, 2)), train.max((0, 2))))

    def scaled(side: Side) -> Scaled:
        rows = torch.from_numpy(side.draw(size, seed).data.values).transpose(1, 2).float()
        return (rows - low) / (high - low).clamp(min=1e-7)

    real, values = scaled(comparison.train), {}
    for suffix, side in (("", comparison.synthetic), ("_reference", comparison.holdout)):
        other = scaled(side)
        values[f"timegan_discriminative{suffix}"] = _discriminative(real, other, steps[0], seed)
        values[f"timegan_predictive{suffix}"] = _predictive(real, other, steps[1], seed)
    return MetricReport(values=values)


def _discriminative(real: Scaled, other: Scaled, steps: int, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(real), generator=generator)
    count = max(1, round(TEST_SHARE * len(real)))
    unseen, seen = order[:count], order[count:]
    x = torch.cat([real[seen], other[seen]])
    y = torch.cat([torch.ones(len(seen)), torch.zeros(len(seen))])
    network = _network(x.shape[2], x.shape[2], seed)
    loss = nn.BCEWithLogitsLoss()
    _fit(network, lambda rows: loss(network(x[rows])[:, -1], y[rows]), len(x), steps, generator)
    with torch.no_grad():
        right = [(network(real[unseen])[:, -1] > 0), (network(other[unseen])[:, -1] <= 0)]
    return abs(0.5 - float(torch.cat(right).float().mean()))


def _predictive(real: Scaled, other: Scaled, steps: int, seed: int) -> float:
    generator = torch.Generator().manual_seed(seed)
    channels = real.shape[2]
    inputs = slice(0, max(1, channels - 1))
    network = _network(max(1, channels - 1), channels, seed)

    def error(x: Scaled) -> Tensor:
        forecast = torch.sigmoid(network(x[:, :-1, inputs]))
        return (forecast - x[:, 1:, -1]).abs().mean()

    _fit(network, lambda rows: error(other[rows]), len(other), steps, generator)
    with torch.no_grad():
        return float(error(real))


def _network(inputs: int, channels: int, seed: int) -> _Recurrent:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _Recurrent(inputs, max(1, channels // 2))


def _fit(
    network: nn.Module,
    loss: Callable[[Tensor], Tensor],
    count: int,
    steps: int,
    generator: torch.Generator,
) -> None:
    optimiser = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    for _ in range(steps):
        rows = torch.randint(count, (min(BATCH, count),), generator=generator)
        optimiser.zero_grad()
        loss(rows).backward()
        optimiser.step()
