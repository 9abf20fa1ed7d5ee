"""Many recurrent classifiers (one LSTM layer) trained at once, each on rows of its own.

One program trains hundreds of them in the time of a few, on a GPU above all. The recipe is that of
`classifier/training.py`: AdamW, shuffled batches, the epoch that scores best on the selection rows.
The random numbers are others than in a training of one.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from classifier.models.networks import RNNClassifier
from classifier.training import FitRecipe

HIDDEN = 32
ON_ONE_SIDE = ("input", "hidden", "bias")  # an axis of two directions comes first
MOST_ROWS = 120_000  # models x series that are scored at a time: 32-bit indices end at 2^31

Weights = dict[str, Tensor]
Series = Float[Tensor, "n channel time"]
Labels = Int[Tensor, " n"]


def initial(models: int, channels: int, generator: torch.Generator) -> Weights:
    """Weights drawn as torch draws those of nn.LSTM and nn.Linear."""

    def uniform(*shape: int, bound: float) -> Tensor:
        drawn = torch.rand(*shape, generator=generator, device=generator.device)
        return (2 * drawn - 1) * bound

    cell, head = HIDDEN**-0.5, (4 * HIDDEN) ** -0.5
    gates, bias = 4 * HIDDEN, (2, models, 1, 4 * HIDDEN)
    return {
        "input": uniform(2, models, channels, gates, bound=cell),
        "hidden": uniform(2, models, HIDDEN, gates, bound=cell),
        "bias": uniform(*bias, bound=cell) + uniform(*bias, bound=cell),
        "head": uniform(models, 4 * HIDDEN, 1, bound=head),
        "head_bias": uniform(models, 1, 1, bound=head),
    }


def logits(weights: Weights, x: Float[Tensor, "model n channel time"]) -> Tensor:
    """(model, n): what every model says of its own series."""
    steps = x.transpose(2, 3)
    both = torch.stack([steps, steps.flip(2)]).flatten(0, 1)
    states = _states(both, *(weights[name].flatten(0, 1) for name in ON_ONE_SIDE))
    states = states.unflatten(0, (2, len(x)))
    mean, most = states.mean(3), states.amax(3)
    seen = torch.cat([mean[0], mean[1], most[0], most[1]], -1)
    return (torch.bmm(seen, weights["head"]) + weights["head_bias"])[..., 0]


def _states(x: Tensor, into: Tensor, hidden: Tensor, bias: Tensor) -> Tensor:
    side, rows, length, channels = x.shape
    given = torch.baddbmm(bias, x.reshape(side, rows * length, channels), into)
    given = given.view(side, rows, length, -1).unbind(2)
    state, cell, states = x.new_zeros(side, rows, HIDDEN), x.new_zeros(side, rows, HIDDEN), []
    for now in given:
        gates = (now + torch.bmm(state, hidden)).chunk(4, -1)
        keep, forget, new, out = gates[0].sigmoid(), gates[1].sigmoid(), gates[2], gates[3]
        cell = forget * cell + keep * new.tanh()
        state = out.sigmoid() * cell.tanh()
        states.append(state)
    return torch.stack(states, 2)


@torch.no_grad()
def predict(weights: Weights, x: Series) -> Float[Tensor, "model n"]:
    """Logits of all series by every model."""
    models = len(weights["head"])
    parts = x.split(max(16, MOST_ROWS // models))
    return torch.cat([logits(weights, part.expand(models, *part.shape)) for part in parts], 1)


def auroc(scores: Float[Tensor, "model n"], y: Labels) -> Float[Tensor, " model"]:
    """Area under the curve of every model; equal scores in the order of the rows."""
    ranks = scores.argsort(1).argsort(1).double() + 1
    ones = int(y.sum())
    return (ranks[:, y == 1].sum(1) - ones * (ones + 1) / 2) / (ones * (len(y) - ones))


def train(
    x: Series,
    y: Labels,
    rows: Int[Tensor, "model size"],
    select: tuple[Series, Labels],
    recipe: FitRecipe,
    *,
    seed: int,
) -> Weights:
    """Weights of each model in its best epoch; `rows` are those of `x` that it is trained on."""
    models, size = rows.shape
    generator = torch.Generator(x.device).manual_seed(seed)
    weights = initial(models, x.shape[1], generator)
    best = {name: value.clone() for name, value in weights.items()}
    score = torch.full((models,), -1.0, device=x.device, dtype=torch.double)
    epoch_of = torch.zeros(models, device=x.device)
    steps = math.ceil(size / recipe.batch_size)
    patience = max(recipe.patience, math.ceil(recipe.patience_steps / steps))
    running = torch.arange(models, device=x.device)
    optimiser = torch.optim.AdamW(
        [value.requires_grad_() for value in weights.values()],
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
    )
    for epoch in range(recipe.max_epochs):
        order = torch.rand(len(running), size, device=x.device, generator=generator).argsort(1)
        for batch in torch.gather(rows[running], 1, order).split(recipe.batch_size, 1):
            _step(optimiser, weights, x[batch], y[batch].float())
        now = auroc(predict(weights, select[0]), select[1])
        better = now > score[running]
        for name, value in best.items():
            _put(name, value, running[better], _of(name, weights[name], better))
        score[running[better]], epoch_of[running[better]] = now[better], float(epoch)
        going = epoch - epoch_of[running] < patience
        if not going.any():
            break
        if going.sum() < 0.75 * len(running):  # the others are trained on: their best is kept
            running = running[going]
            _keep(optimiser, weights, going)
    return best


def _step(optimiser: torch.optim.Optimizer, weights: Weights, x: Tensor, y: Tensor) -> None:
    losses = functional.binary_cross_entropy_with_logits(logits(weights, x), y, reduction="none")
    optimiser.zero_grad()
    losses.mean(1).sum().backward()  # each model's mean loss has a gradient in its own weights only
    optimiser.step()


def _keep(optimiser: torch.optim.Optimizer, weights: Weights, models: Tensor) -> None:
    """Lets the other models go."""
    for name, value in weights.items():
        moments = optimiser.state[value]
        for moment in ("exp_avg", "exp_avg_sq"):
            moments[moment] = _of(name, moments[moment], models).clone()
        value.grad, value.data = None, _of(name, value, models).clone()


def _of(name: str, value: Tensor, models: Tensor) -> Tensor:
    return value.detach()[:, models] if name in ON_ONE_SIDE else value.detach()[models]


def _put(name: str, value: Tensor, models: Tensor, new: Tensor) -> None:
    if name in ON_ONE_SIDE:
        value[:, models] = new
    else:
        value[models] = new


def as_classifier(weights: Weights, number: int, length: int) -> RNNClassifier:
    """One of the models as the project's own class, in eval mode, on the CPU."""
    found = {
        name: _of(name, value, torch.tensor([number])).cpu() for name, value in weights.items()
    }
    model = RNNClassifier(found["input"].shape[2], length, 1, cell="lstm", hidden=HIDDEN, layers=1)
    state = {"head.weight": found["head"][0].T, "head.bias": found["head_bias"][0, 0]}
    for side, suffix in enumerate(("", "_reverse")):
        state[f"rnn.weight_ih_l0{suffix}"] = found["input"][side, 0].T
        state[f"rnn.weight_hh_l0{suffix}"] = found["hidden"][side, 0].T
        state[f"rnn.bias_ih_l0{suffix}"] = found["bias"][side, 0, 0]
        state[f"rnn.bias_hh_l0{suffix}"] = torch.zeros_like(found["bias"][side, 0, 0])
    model.load_state_dict(state)
    return model.eval()
