"""Stage 1 entry: trains the diffusion model of an experiment, or continues an interrupted run."""

import logging
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch.utils.data import DataLoader

from classifier.plain_file import load_plain
from configs import to_plain
from configs.entry import run_stage
from configs.errors import DataError, UserError
from configs.run_record import record_stage, require_same_settings, run_dir
from configs.schema import DiffusionConfig, ExperimentConfig
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space import encode, loss_weights
from data_preprocess.normaliser import Normaliser
from data_preprocess.splits import Splits
from tardiff.callbacks import CSVLog, StepBar, quiet
from tardiff.checkpoint import DiffusionModel, save_model
from classifier.checkpoint_io import WholeFiles
from tardiff.diffusion import DiffusionModule, Objective, SeriesBatch
from tardiff.linear_denoiser import LinearSkip
from tardiff.networks import build_network
from tardiff.private_setup import private_module
from tardiff.private_training import PrivateDiffusionModule
from tardiff.schedule import linear_log_snr

log = logging.getLogger(__name__)


def main(config: ExperimentConfig) -> None:
    """Trains on the train split, stops on val_select, writes runs/<experiment>/diffusion/."""
    ensure_built(config.data)
    splits = load_splits(config.data)
    folder = run_dir(config) / "diffusion"
    section = to_plain(config)["diffusion"]
    if config.diffusion.private.epsilon is None:
        section.pop("private")  # a model from before there was the key is the same
    settings = {
        "diffusion": section,
        "seed": config.seed,
        "data_fingerprint": splits.fingerprint,
    }
    remedy = f"Choose another experiment name, or remove {folder} to train anew."
    require_same_settings(folder / "settings.json", settings, remedy)
    if (folder / "model.pt").is_file():
        log.info("diffusion model is up to date: %s", folder / "model.pt")
        return
    model = train(config, splits, folder)
    facts = {"data_fingerprint": splits.fingerprint, **model.facts()}
    record_stage(config, "diffusion", facts)
    # Last: where the model stands, its record does too, whenever the process was killed.
    save_model(folder / "model.pt", model)
    log.info(
        "diffusion model: %s (held-out denoising loss %.4f at step %d)",
        folder / "model.pt",
        model.val_loss,
        model.step,
    )


def train(config: ExperimentConfig, splits: Splits, folder: Path) -> DiffusionModel:
    """The model of the best held-out evaluation; resumes from `folder`/last.ckpt if it exists.

    Raises:
        FloatingPointError: the loss became non-finite.
    """
    module, network_args = build_module(config, splits)
    best = _best_checkpoint(folder)
    trainer = _build_trainer(config, folder, best)
    steps = DataLoader(range(config.diffusion.val_every), batch_size=None)  # type: ignore[arg-type]
    last = folder / "last.ckpt"
    resume = str(last) if last.is_file() else None
    if resume:
        log.info("continuing from %s", last)
    with quiet():
        trainer.fit(module, steps, DataLoader([0]), ckpt_path=resume, weights_only=True)  # type: ignore[arg-type]
    if trainer.interrupted:
        raise KeyboardInterrupt
    return _averaged_model(config, splits, module, network_args, best)


def build_module(
    config: ExperimentConfig, splits: Splits
) -> tuple[DiffusionModule, dict[str, Any]]:
    """The untrained module for these splits, and the arguments of its network."""
    diffusion = config.diffusion
    network_args = {
        "in_channels": splits.normaliser.num_model_channels,
        "num_classes": splits.train.num_classes,
        "width": diffusion.width,
        "multipliers": list(diffusion.multipliers),
        "blocks_per_level": diffusion.blocks_per_level,
        "attention_levels": list(diffusion.attention_levels),
        "dropout": diffusion.dropout,
        **linear_arguments(config, splits),
    }
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = build_network(network_args)
    train_rows = _model_space(splits.train, splits.normaliser)
    if diffusion.include_guide:
        train_rows = train_rows.joined(_model_space(splits.val_guide, splits.normaliser))
    val_rows = _model_space(splits.val_select, splits.normaliser)
    parts = (network, train_rows, val_rows, _objective(diffusion))
    if diffusion.private.epsilon is not None:
        return private_module(parts, config, splits), network_args
    if isinstance(network, LinearSkip):
        network.fit(train_rows.x, train_rows.y)
    return DiffusionModule(*parts, seed=config.seed), network_args


def linear_arguments(config: ExperimentConfig, splits: Splits) -> dict[str, Any]:
    """What `build_network` needs for the linear denoiser; empty where there is none."""
    entries = splits.normaliser.num_model_channels * splits.train.length
    rank = min(config.diffusion.linear_rank, entries)
    if rank == 0:
        return {}
    prediction = config.diffusion.prediction
    return {"linear_rank": rank, "length": splits.train.length, "prediction": prediction}


def level_table(diffusion: DiffusionConfig) -> torch.Tensor | None:
    """The levels of the linear schedule, least noisy first; None for the cosine schedule."""
    if diffusion.schedule == "cosine":
        return None
    return linear_log_snr(diffusion.num_steps, diffusion.beta_start, diffusion.beta_end)


def _objective(diffusion: DiffusionConfig) -> Objective:
    return Objective(
        prediction=diffusion.prediction,
        loss=diffusion.loss,
        observed_only=diffusion.observed_only,
        label_dropout=diffusion.label_dropout,
        class_balanced=diffusion.class_balanced,
        batch_size=diffusion.batch_size,
        learning_rate=diffusion.learning_rate,
        weight_decay=diffusion.weight_decay,
        warmup_steps=diffusion.warmup_steps,
        ema_decay=diffusion.ema_decay,
        level_table=level_table(diffusion),
    )


def _model_space(dataset: EHRDataset, normaliser: Normaliser) -> SeriesBatch:
    return SeriesBatch(
        encode(normaliser, dataset),
        loss_weights(normaliser, dataset),
        torch.from_numpy(dataset.labels),
    )


def _best_checkpoint(folder: Path) -> ModelCheckpoint:
    return ModelCheckpoint(
        dirpath=folder,
        filename="best",
        monitor="val_loss",
        save_last=True,
        save_top_k=1,
        # Right after the evaluation, as early stopping judges: a checkpoint then holds both.
        save_on_train_epoch_end=False,
        enable_version_counter=False,
    )


def _build_trainer(config: ExperimentConfig, folder: Path, best: ModelCheckpoint) -> pl.Trainer:
    diffusion = config.diffusion
    private = diffusion.private.epsilon is not None
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
            precision=diffusion.precision,  # type: ignore[arg-type]
            max_steps=diffusion.max_steps,
            max_epochs=-1,
            check_val_every_n_epoch=1,
            num_sanity_val_steps=0,
            # The private optimiser bounds gradients itself, stay by stay.
            gradient_clip_val=None if private else diffusion.gradient_clip or None,
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


def _averaged_model(
    config: ExperimentConfig,
    splits: Splits,
    module: DiffusionModule,
    network_args: dict[str, Any],
    best: ModelCheckpoint,
) -> DiffusionModel:
    if best.best_model_score is None or not torch.isfinite(best.best_model_score):
        raise DataError("training ended without one held-out evaluation; lower diffusion.val_every")
    content = load_plain(Path(best.best_model_path), "training checkpoint")
    module.load_state_dict(content["state_dict"])
    table = level_table(config.diffusion)
    return DiffusionModel(
        network=module.ema,
        network_args=network_args,
        prediction=config.diffusion.prediction,
        level_table=None if table is None else table.tolist(),
        feature_names=splits.train.feature_names,
        label_names=splits.train.label_names,
        length=splits.train.length,
        normaliser=splits.normaliser.fingerprint(),
        data_fingerprint=splits.fingerprint,
        val_loss=float(best.best_model_score),
        step=int(content["global_step"]),
        privacy=module.spent() if isinstance(module, PrivateDiffusionModule) else None,
    )


if __name__ == "__main__":
    run_stage(main)
