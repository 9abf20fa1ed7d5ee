"""The toy of docs/method.md: short series whose rare outcome is hard to learn from 400 of them.

Holds the task, an MLP, and a trainer that fits many copies of it at once (one matrix product for
all), so that a retraining experiment takes seconds.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from tests.support.oracles import Logistic

CHANNELS, LENGTH, PREVALENCE = 3, 24, 0.12


class Task(NamedTuple):
    """One data set: (x, y) of each split; x (n, channel, time), unit variance."""

    train: tuple[Tensor, Tensor]
    guide: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    more: tuple[Tensor, Tensor]


class Mlp(nn.Module):
    """One hidden layer over the flattened series."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(CHANNELS * LENGTH, hidden)
        self.head = nn.Linear(hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.hidden(x.flatten(1))))


def make_task(seed: int, *, train=400, guide=600, test=4000, more=0) -> Task:
    """Smooth noise; the log-odds of the outcome are a level plus a product of two patterns."""
    generator = torch.Generator().manual_seed(seed)
    t = torch.arange(LENGTH, dtype=torch.float64)
    kernel = 0.8 * torch.exp(-((t[:, None] - t) ** 2) / 50) + 0.2 * torch.eye(LENGTH)
    patterns = torch.randn(3, CHANNELS * LENGTH, generator=generator, dtype=torch.float64)
    n = train + guide + test + more
    noise = torch.randn(n, CHANNELS, LENGTH, generator=generator, dtype=torch.float64)
    x = noise @ torch.linalg.cholesky(kernel).T
    level, left, right = (scores / scores.std() for scores in patterns @ x.flatten(1).T)
    risk = 1.5 * (level + left * right)
    y = torch.rand(n, generator=generator, dtype=torch.float64) < torch.sigmoid(risk + shift(risk))
    x, y = x.float(), y.long()
    bounds = torch.tensor([0, train, guide, test, more]).cumsum(0).tolist()
    parts = [(x[low:high], y[low:high]) for low, high in zip(bounds[:-1], bounds[1:], strict=True)]
    return Task(*parts)


def shift(risk: Tensor) -> Tensor:
    """The intercept that gives the prevalence, by bisection."""
    low, high = -10.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if torch.sigmoid(risk + middle).mean() < PREVALENCE else (low, middle)
        )
    return torch.tensor(low)


def train_many(
    x: Tensor,
    y: Tensor,
    weights: Tensor,
    seeds: list[int],
    *,
    hidden: int,
    steps: int = 200,
    rate: float = 0.02,
    decay: float = 3e-2,
) -> list[Tensor]:
    """Stacked weights of one model per row of `weights` ((models, n), the weight of every series).

    Full-batch Adam on the weighted mean loss + decay / 2 ||phi||^2. Model m starts from
    seeds[m]; hidden = 0 is logistic regression, started from zero.
    """
    rows, features = x.flatten(1), CHANNELS * LENGTH
    starts = [initial(seed, hidden) for seed in seeds]
    phi = [torch.stack(parts).requires_grad_() for parts in zip(*starts, strict=True)]
    share = weights / weights.sum(1, keepdim=True)
    adam = torch.optim.Adam(phi, lr=rate)
    anneal = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    assert rows.shape[1] == features
    for _ in range(steps):
        losses = functional.binary_cross_entropy_with_logits(
            logits_of(phi, rows), y.float().expand(len(seeds), -1), reduction="none"
        )
        penalty = sum((part**2).sum() for part in phi)
        adam.zero_grad()
        ((share * losses).sum() + decay / 2 * penalty).backward()
        adam.step()
        anneal.step()
    return [part.detach() for part in phi]


def initial(seed: int, hidden: int) -> list[Tensor]:
    """Fresh weights of one model."""
    features = CHANNELS * LENGTH
    if not hidden:
        return [torch.zeros(features), torch.zeros(())]
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(hidden, features, generator=generator) / features**0.5
    last = torch.randn(hidden, generator=generator) / hidden**0.5
    return [first, torch.zeros(hidden), last, torch.zeros(())]


def logits_of(phi: list[Tensor], rows: Tensor) -> Tensor:
    """(models, n) logits of flattened series."""
    if len(phi) == 2:
        return (rows @ phi[0].T + phi[1]).T
    first, bias, last, intercept = phi
    models, hidden, features = first.shape
    states = (rows @ first.reshape(-1, features).T).view(-1, models, hidden) + bias
    return ((torch.tanh(states) * last).sum(2) + intercept).T


def member(phi: list[Tensor], m: int) -> nn.Module:
    """Model m as a module in float64, in eval mode."""
    hidden = phi[0].shape[1] if len(phi) == 4 else 0
    model = Mlp(hidden) if hidden else Logistic(CHANNELS * LENGTH)
    with torch.no_grad():
        for parameter, part in zip(model.parameters(), phi, strict=True):
            parameter.copy_(part[m].reshape(parameter.shape))
    return model.double().eval()


def rank_loss(scores: Tensor, y: Tensor) -> Tensor:
    """Mean softplus(s- - s+) over pairs, per row of `scores` (models, n)."""
    plus, minus = scores[:, y == 1], scores[:, y == 0]
    return functional.softplus(minus[:, None] - plus[:, :, None]).mean((1, 2))


def auroc(scores: Tensor, y: Tensor) -> Tensor:
    """Per row of `scores` (models, n), by ranks."""
    ranks = scores.argsort(1).argsort(1).double() + 1
    positive = int((y == 1).sum())
    total = ranks[:, y == 1].sum(1) - positive * (positive + 1) / 2
    return total / (positive * (len(y) - positive))
