"""train_for: a denoising network trained for a number of CPU seconds, watched on the way.

Part of benchmarks/denoisers.py. Seconds are those of the training steps alone (drawing, forward,
backward, optimiser), of one thread.
"""

import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader

from configs.schema.experiment import ExperimentConfig
from data_preprocess.splits import Splits
from scripts.quality.common.comparison import draw
from tardiff.diffusion.denoiser import training_target
from tardiff.diffusion.noise_schedule import add_noise, draw_levels
from tardiff.train import build_module, level_table
from tardiff.training.callbacks import quiet
from tardiff.training.module import DiffusionModule, SeriesBatch

TIMED_STEPS = 10  # per turn
TURNS = 3
EVALUATIONS = 4  # of the losses, evenly spaced, the last at the end
LOSS_DRAWS = 2  # noise levels per series


@dataclass(frozen=True)
class Trained:
    """What a training left behind.

    Attributes:
        networks: averaged weights by decay, the config's own first.
        curve: (step, loss on as many training rows, loss on held-out rows) of the config's decay.
        seconds: CPU seconds of the steps.
    """

    networks: dict[float, nn.Module]
    curve: list[tuple[int, float, float]]
    seconds: float


@dataclass(frozen=True)
class Losses:
    """The denoising loss of a network, on training rows and on held-out rows."""

    config: ExperimentConfig
    train: SeriesBatch
    held_out: SeriesBatch

    def of(self, network: nn.Module) -> tuple[float, float]:
        """Mean over as many training rows as there are held-out rows, and over held-out rows."""
        size = len(self.held_out.y)
        rows = torch.from_numpy(draw(len(self.train.y), size, seed=0))
        some = SeriesBatch(self.train.x[rows], self.train.observed[rows], self.train.y[rows])
        return self._mean(network, some), self._mean(network, self.held_out)

    @torch.no_grad()
    def _mean(self, network: nn.Module, data: SeriesBatch) -> float:
        """The same levels and noise at every call, so that losses can be compared."""
        diffusion, total = self.config.diffusion, 0.0
        for number in range(LOSS_DRAWS):
            generator = torch.Generator().manual_seed(number)
            for rows in torch.arange(len(data.y)).split(256):
                x, y = data.x[rows], data.y[rows]
                table = level_table(diffusion)
                levels = draw_levels(len(y), table=table, generator=generator)
                eps = torch.randn(x.shape, generator=generator)
                target = training_target(x, eps, levels, diffusion.prediction)
                errors = (network(add_noise(x, levels, eps), levels, y) - target).square()
                weight = torch.ones_like(x) if not diffusion.observed_only else data.observed[rows]
                total += float(((errors * weight).sum((1, 2)) / weight.sum((1, 2))).sum())
        return total / (LOSS_DRAWS * len(data.y))


def seconds_per_step(configs: Mapping[str, ExperimentConfig], splits: Splits) -> dict[str, float]:
    """Median CPU seconds of a step in the fastest of three turns, in which all configs take part:
    a busy machine then slows all of them down alike."""
    turns: dict[str, list[float]] = {name: [] for name in configs}
    for _ in range(TURNS):
        for name, config in configs.items():
            watch = _Watch()
            _fit(config, splits, TIMED_STEPS, watch)
            turns[name].append(median(watch.seconds))
    return {name: min(found) for name, found in turns.items()}


def train_for(
    config: ExperimentConfig,
    splits: Splits,
    losses: Losses,
    *,
    steps: int,
    decays: Sequence[float] = (),
) -> Trained:
    """`steps` steps with the learning-rate schedule scaled to them, without early stop.

    Args:
        decays: further EMA lengths to average the same weights over.
    """
    watch = _Watch(losses, every=max(1, steps // EVALUATIONS), decays=decays)
    module = _fit(config, splits, steps, watch)
    networks: dict[float, nn.Module] = {config.diffusion.ema_decay: module.ema}
    curve = [*watch.curve, (steps, *losses.of(module.ema))]
    return Trained(networks | watch.averages, curve, sum(watch.seconds))


class _Watch(pl.Callback):
    """Times every step; averages over other lengths and follows the losses outside that time."""

    def __init__(
        self, losses: Losses | None = None, *, every: int = 0, decays: Sequence[float] = ()
    ) -> None:
        self.losses, self.every, self.decays = losses, every, decays
        self.averages: dict[float, nn.Module] = {}
        self.curve: list[tuple[int, float, float]] = []
        self.seconds: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Starts the other averages where the module's own starts."""
        self.averages = {decay: copy.deepcopy(pl_module.ema) for decay in self.decays}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Starts the clock."""
        self._started = time.process_time()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stops the clock, then looks."""
        self.seconds.append(time.process_time() - self._started)
        step = trainer.global_step
        for decay, average in self.averages.items():
            _average(average, pl_module.network, min(decay, (1 + step) / (10 + step)))
        last = step + self.every > trainer.max_steps
        if self.losses and step % self.every == 0 and not last:
            self.curve.append((step, *self.losses.of(pl_module.ema)))


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """As DiffusionModule averages."""
    for averaged, current in zip(average.parameters(), network.parameters(), strict=True):
        averaged.lerp_(current, 1 - decay)


def _fit(config: ExperimentConfig, splits: Splits, steps: int, watch: _Watch) -> DiffusionModule:
    module, _ = build_module(config, splits)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        gradient_clip_val=config.diffusion.gradient_clip or None,
        limit_val_batches=0,
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with quiet():
        trainer.fit(module, DataLoader(range(steps), batch_size=None), DataLoader([0]))  # type: ignore[arg-type]
    return module
