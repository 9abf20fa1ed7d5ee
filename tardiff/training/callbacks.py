"""Progress bar with ETA, the CSV log of stage 1, and quiet."""

import csv
import logging
import math
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from configs.runtime.atomic_files import atomic_path
from configs.runtime.progress import Progress

# The loaders only count steps, since the series lie on the device; the averaged network is meant
# to be in eval mode; resuming finds its own folder.
IRRELEVANT_WARNINGS = (
    ".*does not have many workers.*",
    ".*Checkpoint directory .* exists.*",
    ".*number of training batches.*",
    r".*module\(s\) in eval mode.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    # A step draws its rows from (seed, step): there is no loader whose place could be lost.
    ".*resuming from a checkpoint that ended before the epoch ended.*",
    # Gradients of 1 x 1 convolutions; a copy of a few kilobytes a step.
    r".*Grad strides do not match bucket view strides.*",
    # Opacus hooks the first layer, whose input needs no gradient.
    ".*Full backward hook is firing.*",
    # CUDA graphs record gradients on a stream of their own, by the first thread to call cuBLAS.
    ".*AccumulateGrad node's stream.*",
    ".*no current CUDA context.*",
    # A Mac's, or that of a machine where accelerator=cpu is asked for.
    ".*GPU available but not used.*",
)

PATHS_OF_BEST = ("best_model_path", "kth_best_model_path", "last_model_path")

COLUMNS: tuple[str, ...] = ("step", "train_loss", "val_loss", "learning_rate", "seconds")


class StepBar(pl.Callback):
    """One bar over all training steps, with the loss and the time left."""

    def __init__(self) -> None:
        self.bar: Progress | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Opens the bar at the step a resumed run starts from."""
        if trainer.is_global_zero:
            self.bar = Progress("diffusion", trainer.max_steps, "steps", done=trainer.global_step)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Advances the bar."""
        if self.bar is not None:
            self.bar.update(1)
            if trainer.global_step % 10 == 0:
                losses = shown_losses(trainer.callback_metrics, pl_module.last_loss)
                self.bar.show(", ".join(f"{name}={loss}" for name, loss in losses.items()))

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Closes the bar."""
        if self.bar is not None:
            self.bar.close()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Leaves the terminal on a fresh line."""
        self.on_train_end(trainer, pl_module)


class CSVLog(pl.Callback):
    """One row per held-out evaluation. Rows behind a resumed run's step are dropped first."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []
        self.started = 0.0
        self.losses: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Reads what an interrupted run has written up to its checkpoint."""
        if self.path.is_file():
            with self.path.open(newline="") as handle:
                rows = [{key: float(row[key]) for key in COLUMNS} for row in csv.DictReader(handle)]
            self.rows = [row for row in rows if row["step"] <= trainer.global_step]
        elapsed = self.rows[-1]["seconds"] if self.rows else 0.0
        self.started = time.monotonic() - elapsed

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Collects the step's loss."""
        self.losses.append(pl_module.last_loss)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Adds the evaluation's row and writes the log."""
        if not trainer.is_global_zero or not self.losses:
            return
        self.rows.append(
            {
                "step": float(trainer.global_step),
                "train_loss": sum(self.losses) / len(self.losses),
                "val_loss": float(trainer.callback_metrics["val_loss"]),
                "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]),
                "seconds": round(time.monotonic() - self.started, 2),
            }
        )
        self.losses = []
        with atomic_path(self.path) as temporary, temporary.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows)


@contextmanager
def quiet() -> Iterator[None]:
    """None of the warnings that a user can do nothing about, and no remarks of Lightning, which
    has a handler of its own where nobody else logs yet."""
    remarks = logging.getLogger("pytorch_lightning")
    level = remarks.level
    remarks.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in IRRELEVANT_WARNINGS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        remarks.setLevel(level)


def shown_losses(metrics: Mapping[str, Tensor], last_loss: float) -> dict[str, str]:
    """What the bar says beside the time: `loss` of the last step, unless training is private and
    tells none, and `val` of the last evaluation."""
    shown: dict[str, str] = {}
    if math.isfinite(last_loss):
        shown["loss"] = f"{last_loss:.4f}"
    if "val_loss" in metrics:
        shown["val"] = f"{float(metrics['val_loss']):.4f}"
    return shown


class BestCheckpoint(ModelCheckpoint):
    """A ModelCheckpoint that remembers its best also after its folder was moved or copied."""

    @property
    def state_key(self) -> str:
        """Lightning's own, as in every checkpoint so far: under another one a training that goes on
        would forget its best score."""
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__, 1)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Lightning forgets the best score where the folder has another name: a worse model would
        then take the place of the best."""

        def here(path: str) -> str:
            return str(Path(str(self.dirpath)) / Path(path).name) if path else path

        if Path(here(state_dict["best_model_path"])).is_file():
            kept = {here(path): score for path, score in state_dict["best_k_models"].items()}
            moved = {name: here(state_dict[name]) for name in PATHS_OF_BEST}
            state_dict = state_dict | moved | {"best_k_models": kept, "dirpath": self.dirpath}
        super().load_state_dict(state_dict)
