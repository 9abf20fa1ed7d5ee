"""DiffusionModule: the training objective of the denoising network, as a thin Lightning module.

Every random choice of a step (rows, levels, noise, label dropout) is drawn from a generator
seeded by (run seed, step, rank). Training is therefore a function of the step number: a run
resumed from a checkpoint continues exactly as if it had never stopped. On one GPU its passes replay
CUDA graphs (`replayed`).
"""

import copy
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from tardiff.diffusion.denoiser import training_target
from tardiff.diffusion.noise_schedule import (
    Labels,
    Levels,
    Series,
    add_noise,
    draw_levels,
    generator_of,
)

VALIDATION_DRAWS = 4  # noise levels per held-out series; fixed, so evaluations are comparable
VALIDATION_ROWS = 256  # series per network call


@dataclass(frozen=True, kw_only=True)
class Objective:
    """How the network is trained; fields as in configs.schema.experiment.DiffusionConfig.

    Attributes:
        micro_batch: series per pass of the network in training; None: the whole batch.
    """

    prediction: str
    observed_only: bool
    label_dropout: float
    class_balanced: bool
    batch_size: int
    learning_rate: float
    weight_decay: float
    warmup_steps: int
    ema_decay: float
    micro_batch: int | None = None
    level_table: Tensor | None = None  # levels of a discrete schedule; None: cosine


class SeriesBatch(NamedTuple):
    """Model-space series with their mask and labels; the whole of a split, kept on the device."""

    x: Series
    observed: Bool[Tensor, "batch channel time"]
    y: Labels


class DiffusionModule(pl.LightningModule):
    """Trains `network`; `ema` holds the averaged copy, which is validated and sampled from.

    Args:
        network: (x_t, log_snr, y) -> prediction.
        seed: of every random choice in training.

    Attributes:
        epoch_length: steps between held-out evaluations, set before a training goes on.
    """

    def __init__(
        self,
        network: nn.Module,
        train_data: SeriesBatch,
        val_data: SeriesBatch,
        objective: Objective,
        *,
        seed: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.ema = copy.deepcopy(network).requires_grad_(False).eval()
        self.objective = objective
        self.seed = seed
        self.train_data = train_data
        self.val_data = val_data
        # Rows ordered by class: class k's are class_rows[start_k : start_k + count_k].
        self.class_rows = torch.argsort(train_data.y, stable=True)
        self.class_counts = train_data.y.unique(return_counts=True)[1]
        self.last_loss = float("nan")
        self.epoch_length = 1

    def setup(self, stage: str) -> None:
        """Moves the series to the training device once; no loader copies them per step."""
        self.train_data, self.val_data = (
            SeriesBatch(*(part.to(self.device) for part in data))
            for data in (self.train_data, self.val_data)
        )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The epoch that it ends is over, whatever the length of those to come: Lightning would
        take their difference for what is left of it, and not evaluate the last step."""
        progress = checkpoint["loops"]["fit_loop"]["epoch_loop.batch_progress"]
        if progress["is_last_batch"]:
            counts = progress["current"]
            counts |= dict.fromkeys(counts, self.epoch_length)

    def on_fit_start(self) -> None:
        """On one GPU records the network's passes, which every step then replays."""
        size, micro = self.objective.batch_size, self.objective.micro_batch
        whole = micro is None or micro >= size
        alone = isinstance(self.trainer.strategy, SingleDeviceStrategy)
        if self.device.type == "cuda" and alone and whole:
            x = self.train_data.x[:1].expand(size, -1, -1).clone()
            self.network = replayed(self.network, x, str(self.trainer.precision))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """The loss of one drawn batch; `batch` only counts steps."""
        generator = self._generator(self.global_step)
        rows = self._draw_rows(generator).to(self.device)
        data = self.train_data
        y = self._drop_labels(data.y[rows], generator)
        losses = self._losses(self.network, data.x[rows], data.observed[rows], y, generator)
        loss = losses.mean()
        if not torch.isfinite(loss):
            raise FloatingPointError(
                f"training step {self.global_step}: the loss is {loss.item()}; lower "
                "diffusion.learning_rate or use diffusion.precision=32-true"
            )
        self.last_loss = loss.item()
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Moves the averaged weights; early steps average over a shorter past."""
        step = self.global_step
        decay = min(self.objective.ema_decay, (1 + step) / (10 + step))
        averaged, current = list(self.ema.parameters()), list(self.network.parameters())
        with torch.no_grad():
            # A public name that torch documents but does not export.
            torch._foreach_lerp_(averaged, current, 1 - decay)  # type: ignore

    @torch.no_grad()
    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Logs `val_loss`: the averaged network's loss on all held-out series, fixed noise.

        Ranks share the work; the noise is that of one process, so the loss is too.
        """
        data, total = self.val_data, 0.0
        chunks = torch.arange(len(data.y)).split(VALIDATION_ROWS)
        for draw in range(VALIDATION_DRAWS):
            for part, rows in enumerate(chunks):
                if (draw * len(chunks) + part) % self.trainer.world_size != self.global_rank:
                    continue
                generator = self._generator(-1 - draw * len(chunks) - part, rank=0)
                rows = rows.to(self.device)
                x, observed, y = data.x[rows], data.observed[rows], data.y[rows]
                total += self._losses(self.ema, x, observed, y, generator).sum().item()
        own = torch.tensor(total, dtype=torch.float64, device=self.device)
        mean = self.trainer.strategy.reduce(own, reduce_op="sum") / VALIDATION_DRAWS / len(data.y)
        self.log("val_loss", mean.float(), batch_size=1, sync_dist=True)  # equal on all ranks

    def configure_optimizers(self) -> Any:
        """AdamW with linear warm-up, then cosine decay to a tenth."""
        optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=self.objective.learning_rate,
            weight_decay=self.objective.weight_decay,
            fused=True,
        )
        total, warmup = int(self.trainer.max_steps), self.objective.warmup_steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: _learning_rate_factor(step, warmup, total)
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """By norm; Lightning's own refuses every fused optimiser in mixed precision."""
        if gradient_clip_val:
            nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clip_val)

    def _losses(
        self, network: nn.Module, x_0: Tensor, observed: Tensor, y: Tensor, generator: Any
    ) -> Float[Tensor, " batch"]:
        levels = self._draw_levels(len(x_0), generator).to(x_0)
        eps = torch.randn(x_0.shape, generator=_on_device(generator, x_0.device), device=x_0.device)
        target = training_target(x_0, eps, levels, self.objective.prediction)
        prediction = self._predict(network, add_noise(x_0, levels, eps), levels, y)
        errors = functional.mse_loss(prediction, target, reduction="none")
        if not self.objective.observed_only:
            return errors.mean(dim=(1, 2))
        weight = observed.to(errors)
        return (errors * weight).sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp(min=1)

    def _predict(self, network: nn.Module, x_t: Tensor, levels: Levels, y: Labels) -> Series:
        """The network's output; in training what a pass keeps in memory is bounded.

        A micro-batch is run again when its gradient is due instead of being kept (gradient
        checkpointing): so the optimiser, half precision and several ranks see one whole batch.
        """
        size = self.objective.micro_batch
        if size is None or len(y) <= size or not torch.is_grad_enabled():
            return network(x_t, levels, y)
        parts = zip(x_t.split(size), levels.split(size), y.split(size), strict=True)
        return torch.cat([checkpoint(network, *part, use_reentrant=False) for part in parts])

    def _draw_levels(self, count: int, generator: torch.Generator) -> Levels:
        return draw_levels(count, table=self.objective.level_table, generator=generator)

    def _draw_rows(self, generator: torch.Generator) -> Tensor:
        size = self.objective.batch_size
        if not self.objective.class_balanced:
            return torch.randint(len(self.train_data.y), (size,), generator=generator)
        classes = torch.arange(size) % len(self.class_counts)
        uniform = torch.rand(size, generator=generator)
        counts = self.class_counts[classes]
        starts = (self.class_counts.cumsum(0) - self.class_counts)[classes]
        return self.class_rows[starts + (uniform.double() * counts).long()]

    def _drop_labels(self, y: Tensor, generator: torch.Generator) -> Tensor:
        dropped = torch.rand(len(y), generator=generator) < self.objective.label_dropout
        return y.masked_fill(dropped.to(y.device), int(self.network.null_label))  # type: ignore[arg-type]

    def _generator(self, step: int, rank: int | None = None) -> torch.Generator:
        # Validation counts steps from -1 downwards; SeedSequence takes no negative numbers.
        key = [self.seed, abs(step), int(step < 0), self.global_rank if rank is None else rank]
        return generator_of(*key)


def replayed(network: nn.Module, x: Series, precision: str) -> nn.Module:
    """`network`, whose training passes on batches like `x` replay one CUDA graph each.

    The same kernels on the same weights, queued by one call: a small network otherwise waits for
    its host (benchmarks/results.md, "On a GPU"). Outside training mode nothing changes.

    Args:
        precision: of Lightning's trainer.
    """
    levels, y = torch.zeros_like(x[:, 0, 0]), torch.zeros_like(x[:, 0, 0], dtype=torch.long)
    mixed = precision == "bf16-mixed"
    # Without autocast's cache, which would hold copies of weights that later steps change.
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=mixed, cache_enabled=False):
        return torch.cuda.make_graphed_callables(network, (x, levels, y))  # type: ignore[return-value]


def _on_device(generator: torch.Generator, device: torch.device) -> torch.Generator:
    """`generator` itself on the CPU; elsewhere one of the device, which draws without a copy."""
    if device.type == "cpu":
        return generator
    return torch.Generator(device).manual_seed(generator.initial_seed())


def _learning_rate_factor(step: int, warmup: int, total: int) -> float:
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    return 0.1 + 0.9 * 0.5 * (1 + float(np.cos(np.pi * progress)))
