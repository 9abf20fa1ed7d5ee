"""Lightning's Trainer of stage 1, as a configuration asks for it."""

from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping

from configs.runtime.device import pick_device
from configs.runtime.errors import UserError
from configs.runtime.torch_files import WholeFiles
from configs.schema.experiment import ExperimentConfig
from tardiff.training.callbacks import BestCheckpoint, CSVLog, StepBar


def training_precision(config: ExperimentConfig) -> str:
    """diffusion.precision; "auto" is bf16-mixed on a GPU that computes in it, else 32-true."""
    if config.diffusion.precision != "auto":
        return config.diffusion.precision
    on_gpu = pick_device(config.accelerator).type == "cuda"
    return "bf16-mixed" if on_gpu and torch.cuda.is_bf16_supported() else "32-true"


def best_checkpoint(folder: Path) -> BestCheckpoint:
    """Keeps `folder`/best.ckpt, of the best held-out evaluation, and last.ckpt."""
    return BestCheckpoint(
        dirpath=folder,
        filename="best",
        monitor="val_loss",
        save_last=True,
        save_top_k=1,
        # Right after the evaluation, as early stopping judges: a checkpoint then holds both.
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


def build_trainer(config: ExperimentConfig, folder: Path, best: BestCheckpoint) -> pl.Trainer:
    """The trainer of `config`, which logs to `folder`.

    Raises:
        UserError: accelerator, devices and strategy do not go together on this machine.
    """
    diffusion = config.diffusion
    callbacks: list[pl.Callback] = [CSVLog(folder / "log.csv"), StepBar()]
    if diffusion.patience:
        callbacks.append(
            EarlyStopping("val_loss", patience=diffusion.patience, check_on_train_epoch_end=False)
        )
    try:
        return pl.Trainer(
            accelerator=config.accelerator,
            devices=config.devices if config.devices == "auto" else _devices(config.devices),
            num_nodes=config.num_nodes,
            strategy=config.strategy,
            precision=training_precision(config),  # type: ignore[arg-type]
            max_steps=diffusion.max_steps,
            max_epochs=-1,
            check_val_every_n_epoch=1,
            num_sanity_val_steps=0,
            # The loaders only count steps: every rank takes all of them, with rows of its own.
            use_distributed_sampler=False,
            # The private optimiser bounds gradients itself, stay by stay.
            gradient_clip_val=None
            if diffusion.private.epsilon is not None
            else diffusion.gradient_clip or None,
            callbacks=[*callbacks, best],
            plugins=WholeFiles(),
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"accelerator={config.accelerator} devices={config.devices} "
            f"strategy={config.strategy}: {error}"
        ) from error


def _devices(devices: str) -> int | list[int]:
    try:
        numbers = [int(part) for part in devices.strip("[]").split(",")]
    except ValueError as error:
        raise UserError(
            f"devices={devices!r}: expected auto, a number, or a list as 0,1"
        ) from error
    return numbers if "," in devices or devices.startswith("[") else numbers[0]
