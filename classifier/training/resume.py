"""Resume: an unfinished training of stage 2 on disk, after every epoch, and how it goes on.

A resumed training draws the batches and the dropout that the interrupted one would have drawn, so
it ends with the same weights. The fits of stage 4 do without: they take seconds, and a fit
is what is kept there.
"""

import logging
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, EarlyStopping

from classifier.training.callbacks import BestWeights
from classifier.training.module import ClassifierModule
from configs.runtime.errors import DataError
from configs.runtime.torch_files import load_plain

log = logging.getLogger("tardiff.classifier")


class Resume(Checkpoint):
    """Saves the training to `path` after every epoch.

    A Checkpoint, since Lightning calls those after early stopping and all others before it.

    Args:
        key: says which training this is (data, settings, seed, device).
        module, generator, best: what holds the state that Lightning does not know.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        *,
        module: ClassifierModule,
        generator: torch.Generator,
        best: BestWeights,
    ) -> None:
        self.path, self.key = path, key
        self._module, self._generator, self._best = module, generator, best
        self._random: dict[str, torch.Tensor] = {}

    def found(self) -> str | None:
        """The file to go on from; None if there is none, or one of another training."""
        if not self.path.is_file():
            return None
        try:
            content = load_plain(self.path, "unfinished training")
            key = content["callbacks"][self.state_key]["key"]
        except (DataError, KeyError, TypeError) as error:
            log.warning("%s cannot be read (%s); training begins anew", self.path, error)
            return None
        if key != self.key:
            log.info("%s is of another training; this one begins anew", self.path)
            return None
        log.info("continuing from %s", self.path)
        return str(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Everything besides weights and optimiser that decides how the training goes on."""
        best = self._best
        return {
            "key": self.key,
            "history": self._module.history,
            "best": {"weights": best.weights, "epoch": best.epoch, "score": best.score},
            "random": _random_state(self._generator, self._module.device),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict` gave; the random states wait for the next epoch."""
        self._module.history[:] = state_dict["history"]
        for name, value in state_dict["best"].items():
            setattr(self._best, name, value)
        self._random = state_dict["random"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stops where the last epoch had: a kill can come between it and the end."""
        stop = next(c for c in trainer.callbacks if isinstance(c, EarlyStopping))  # type: ignore[attr-defined]
        trainer.should_stop = trainer.should_stop or stop.wait_count >= stop.patience

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The random states of the interrupted training, once."""
        if self._random:
            _set_random_state(self._random, self._generator, pl_module.device)
            self._random = {}

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Saves, after early stopping has seen the epoch."""
        trainer.save_checkpoint(self.path)


def _random_state(generator: torch.Generator, device: torch.device) -> dict[str, torch.Tensor]:
    states = {"batches": generator.get_state(), "cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_random_state(
    states: dict[str, torch.Tensor], generator: torch.Generator, device: torch.device
) -> None:
    generator.set_state(states["batches"])
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
