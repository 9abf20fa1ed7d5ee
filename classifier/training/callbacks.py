"""What fit_classifier hangs into the Trainer: the best weights, a progress bar, and quiet."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor

from classifier.metrics import HIGHER_IS_BETTER
from configs.runtime.progress import Progress

log = logging.getLogger("tardiff.classifier")

_LOGGERS = ("pytorch_lightning", "lightning_fabric")
_HARMLESS = (
    "GPU available but not used",  # the data decide where to train
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning 2.6 on torch 2.13
)


class BestWeights(Callback):
    """Keeps, in memory, the weights of the epoch with the best selection score.

    Args:
        select_by: "auroc", "auprc" or "loss".

    Attributes:
        mode: "max" or "min", as EarlyStopping takes it.
        weights: state of the model in the best epoch.
        epoch: 0-based number of the best epoch, the earliest of equals.
        score: its score.
    """

    def __init__(self, select_by: str) -> None:
        self.select_by = select_by
        self.mode = "max" if HIGHER_IS_BETTER[select_by] else "min"
        self.weights: dict[str, Tensor] = {}
        self.epoch = -1
        self.score = float("-inf") if self.mode == "max" else float("inf")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compares the epoch that has just been scored."""
        module: Any = pl_module
        row = module.history[-1]
        score = row[self.select_by]
        if score > self.score if self.mode == "max" else score < self.score:
            self.score, self.epoch = score, row["epoch"]
            self.weights = {k: v.detach().clone() for k, v in module.model.state_dict().items()}


class EpochBar(Callback):
    """One bar over all batches of all epochs: loss, score and the time left at the most."""

    def __init__(self, select_by: str) -> None:
        self.select_by = select_by
        self.bar: Progress | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Opens the bar."""
        total = (trainer.max_epochs or 1) * int(trainer.num_training_batches)
        self.bar = Progress("classifier", total, "batches")

    def on_train_batch_end(self, *args: Any, **kwargs: Any) -> None:
        """Moves it."""
        assert self.bar is not None
        self.bar.update(1)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Shows the scores of the epoch."""
        module: Any = pl_module
        row = module.history[-1]
        if self.bar is not None:
            loss, score = row["train_loss"], row[self.select_by]
            self.bar.show(
                f"epoch {row['epoch'] + 1}, loss {loss:.3f}, {self.select_by} {score:.3f}"
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Closes it, and says why it stopped short."""
        self._close()
        if self.bar is not None and trainer.current_epoch < (trainer.max_epochs or 1):
            log.info(
                "classifier: stopped early after %d of %s epochs, %s on val_select no longer rises",
                trainer.current_epoch,
                trainer.max_epochs,
                self.select_by,
            )

    def on_exception(self, *args: Any, **kwargs: Any) -> None:
        """Closes it on an error or Ctrl-C too."""
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """No banner about devices, and none of the warnings that a user can do nothing about."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for message in _HARMLESS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
