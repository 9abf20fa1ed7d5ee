"""Lightning's Trainer of stage 1."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO

from configs.runtime.errors import UserError
from configs.runtime.torch_files import load_plain, save_plain
from tardiff.training.callbacks import BestCheckpoint, CSVLog, StepBar
from tardiff.training.more_steps import Patience


class WholeFiles(TorchCheckpointIO):
    """Checkpoints through save_plain and load_plain.

    Lightning's own writer goes through the system's temporary folder, which may be on another
    disk: its last step is then a copy, and a kill in the middle of it leaves half a checkpoint
    under the final name.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Writes the checkpoint whole or not at all."""
        save_plain(Path(path), checkpoint)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Tensors and built-in types only, on the CPU; Lightning moves them."""
        return load_plain(Path(path), "training checkpoint (remove it to begin anew)")


def best_checkpoint(folder: Path) -> BestCheckpoint:
    """Keeps `folder`/best.ckpt, of the best held-out evaluation, and last.ckpt."""
    return BestCheckpoint(
        dirpath=folder,
        filename="best",
        monitor="val_loss",
        save_last=True,
        save_top_k=1,
        # Right after the evaluation, as early stopping does: a checkpoint then holds both.
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


def build_trainer(
    folder: Path,
    best: BestCheckpoint,
    *,
    accelerator: str,
    devices: str,
    num_nodes: int,
    strategy: str,
    precision: str,
    max_steps: int,
    patience: int,
    gradient_clip: float,
) -> pl.Trainer:
    """The trainer, which logs to `folder`.

    Args:
        accelerator: "cpu" or "cuda".
        devices, num_nodes, strategy, precision: as Lightning's Trainer takes them; devices as text.
        patience: held-out evaluations without improvement before stopping; 0: never.
        gradient_clip: bound of the gradient's norm; 0: none.

    Raises:
        UserError: accelerator, devices and strategy do not go together on this machine.
    """
    callbacks: list[pl.Callback] = [CSVLog(folder / "log.csv"), StepBar()]
    if patience:
        callbacks.append(
            Patience(
                "val_loss",
                patience=patience,
                check_on_train_epoch_end=False,
                max_steps=max_steps,
            )
        )
    try:
        return pl.Trainer(
            accelerator=accelerator,
            devices="auto" if devices == "auto" else _devices(devices),
            num_nodes=num_nodes,
            strategy=strategy,
            precision=precision,  # type: ignore[arg-type]
            max_steps=max_steps,
            max_epochs=-1,
            check_val_every_n_epoch=1,
            num_sanity_val_steps=0,
            # The loaders only count steps: every rank takes all of them, with rows of its own.
            use_distributed_sampler=False,
            gradient_clip_val=gradient_clip or None,
            callbacks=[*callbacks, best],
            plugins=WholeFiles(),
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"accelerator={accelerator} devices={devices} strategy={strategy}: {error}"
        ) from error


def _devices(devices: str) -> int | list[int]:
    try:
        numbers = [int(part) for part in devices.strip("[]").split(",")]
    except ValueError as error:
        raise UserError(
            f"devices={devices!r}: expected auto, a number, or a list as 0,1"
        ) from error
    return numbers if "," in devices or devices.startswith("[") else numbers[0]
