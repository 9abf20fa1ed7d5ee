"""Stage 1 entry: trains the diffusion model of an experiment, or goes on where it stopped.

bash train.sh [config.yaml] [key=value ...]
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from classifier.train import require_buildable
from configs import from_sections
from configs.cli import run_stage
from configs.run_record import record_stage, require_same_settings, run_dir
from configs.runtime.atomic_files import make_writable
from configs.runtime.device import pick_device
from configs.runtime.errors import ConfigError, DataError
from configs.runtime.torch_files import load_plain
from configs.schema.experiment import DiffusionConfig, ExperimentConfig
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.dataset import EHRDataset, concatenate
from data_preprocess.model_space.encoding import encode, loss_weights
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits
from tardiff.diffusion.auto_batch_size import bytes_per_series, rows_that_fit
from tardiff.diffusion.noise_schedule import linear_log_snr
from tardiff.generation.fit_quantile_mapping import fit_marginals
from tardiff.networks.registry import build_network, network_arguments
from tardiff.privacy.accountant import Privacy, planned, promise_line
from tardiff.records_from_config import diffusion_settings
from tardiff.training.callbacks import BestCheckpoint, quiet
from tardiff.training.checkpoint import DiffusionModel, load_model, save_model
from tardiff.training.dp_sgd import PrivateDiffusionModule, patient_codes
from tardiff.training.module import DiffusionModule, Objective, SeriesBatch
from tardiff.training.more_steps import asks_for_more_steps, go_on
from tardiff.training.trainer import best_checkpoint, build_trainer

log = logging.getLogger(__name__)


def main(config: ExperimentConfig) -> None:
    """Trains on the train split, stops on val_select, writes runs/<experiment>/diffusion/."""
    make_writable(Path(config.runs_dir))
    ensure_built(config.data)
    splits = load_splits(config.data)
    require_buildable(config, splits)  # else found out only after this stage
    _network_arguments(config, splits)  # else found out with the settings written
    folder = run_dir(config) / "diffusion"
    path = folder / "settings.json"
    settings = {
        "diffusion": diffusion_settings(config),
        "seed": config.seed,
        "data_fingerprint": splits.fingerprint,
    }
    remedy = (
        f"Choose another experiment name, or remove {folder} to train anew; it goes on only where "
        "nothing but diffusion.max_steps is raised."
    )
    more = asks_for_more_steps(folder, settings)
    if more or not (folder / "model.pt").is_file():
        _require_plan(config, splits, folder)  # before a file says that this was asked for
    if (folder / "model.pt").is_file():
        load_model(folder / "model.pt", "bash train.sh")  # warns where the network's code is new
    if more:
        go_on(folder, settings)
    require_same_settings(path, settings, remedy)
    if (folder / "model.pt").is_file():
        log.info("diffusion model is up to date: %s", folder / "model.pt")
        return
    model = train(config, splits, folder)
    if model is None:
        return
    record_stage(config, "diffusion", {"data_fingerprint": splits.fingerprint} | model.facts)
    # Last: where the model stands, its record does too, whenever the process was killed.
    save_model(folder / "model.pt", model)
    log.info(
        "diffusion model: %s (held-out denoising loss %.4f at step %d)",
        folder / "model.pt",
        model.val_loss,
        model.step,
    )


def train(config: ExperimentConfig, splits: Splits, folder: Path) -> DiffusionModel | None:
    """The model of the best held-out evaluation; resumes from `folder`/last.ckpt if it exists.

    None on every rank of a distributed run but the first.

    Raises:
        ConfigError: a GPU is asked for and none is there.
        FloatingPointError: the loss became non-finite.
    """
    device = pick_device(config.accelerator)
    module, network_args = build_module(config, splits)
    best = best_checkpoint(folder)
    diffusion = config.diffusion
    # The private optimiser bounds gradients itself, stay by stay.
    clip = 0.0 if diffusion.private.epsilon is not None else diffusion.gradient_clip
    with quiet():
        trainer = from_sections(
            build_trainer,
            config,
            diffusion,
            folder=folder,
            best=best,
            accelerator=device.type,
            gradient_clip=clip,
        )
    last = folder / "last.ckpt"
    resume = str(last) if last.is_file() else None
    module.epoch_length = _epoch_length(diffusion, last)
    steps = DataLoader(range(module.epoch_length), batch_size=None)  # type: ignore[arg-type]
    if resume:
        log.info("continuing from %s", last)
    try:
        with quiet():
            trainer.fit(module, steps, DataLoader([0]), ckpt_path=resume, weights_only=True)  # type: ignore[arg-type]
    except SystemExit:  # Lightning's answer to Ctrl-C where it has a launcher
        if not trainer.interrupted:
            raise
    if trainer.interrupted:
        raise KeyboardInterrupt
    if not trainer.is_global_zero:
        return None
    model = _averaged_model(config, splits, module, network_args, best)
    if diffusion.marginal_rows == 0:
        return model
    log.info("drawing %d series to match the training marginals", diffusion.marginal_rows)
    model.network.to(device)
    fitted = fit_marginals(splits, model, device, rows=diffusion.marginal_rows, seed=config.seed)
    return dataclasses.replace(model, marginals=fitted)


def _require_plan(config: ExperimentConfig, splits: Splits, folder: Path) -> None:
    """Raises UserError where `train` would refuse the number of steps."""
    _epoch_length(config.diffusion, folder / "last.ckpt")
    if config.diffusion.private.epsilon is not None:
        _privacy_plan(config.diffusion, patient_codes(_train_set(config, splits).subject_ids))


def _epoch_length(diffusion: DiffusionConfig, last: Path) -> int:
    """Steps until the next held-out evaluation of a training that `last` goes on with."""
    done = load_plain(last, "training checkpoint")["global_step"] if last.is_file() else 0
    return evaluated_every(diffusion.max_steps, diffusion.val_every, done)


def evaluated_every(max_steps: int, val_every: int, done: int) -> int:
    """Steps between held-out evaluations: at most `val_every`, and the last step is evaluated, for
    only a model that was can be kept.

    Args:
        done: steps of a training that goes on.

    Raises:
        ConfigError: the steps cannot be divided so.
    """

    def largest(steps: int) -> int:
        return max(k for k in range(1, val_every + 1) if steps % k == 0)

    every = largest(max_steps)
    if done % every or 4 * every < min(val_every, max_steps):
        every = largest(max_steps - done)
    if 4 * every < min(val_every, max_steps - done):
        raise ConfigError(
            f"diffusion.max_steps={max_steps}: cannot be divided into evaluations about every "
            f"diffusion.val_every={val_every} steps; choose a multiple of it"
        )
    return every


def build_module(
    config: ExperimentConfig, splits: Splits
) -> tuple[DiffusionModule, dict[str, Any]]:
    """The untrained module for these splits, and the arguments of its network."""
    diffusion = config.diffusion
    network_args = _network_arguments(config, splits)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = build_network(network_args)
    train_set = _train_set(config, splits)
    train_rows, val_rows = (
        _model_space(part, splits.normaliser) for part in (train_set, splits.val_select)
    )
    if diffusion.private.epsilon is not None:
        module = _private_module(config, train_set.subject_ids, network, (train_rows, val_rows))
        return module, network_args
    size = micro_batch(config, network, train_rows.x.shape[1:])
    objective = objective_of(diffusion, micro_batch=size)
    return DiffusionModule(network, train_rows, val_rows, objective, seed=config.seed), network_args


def _train_set(config: ExperimentConfig, splits: Splits) -> EHRDataset:
    both = config.diffusion.include_guide
    return concatenate(splits.train, splits.val_guide) if both else splits.train


def _network_arguments(config: ExperimentConfig, splits: Splits) -> dict[str, Any]:
    return network_arguments(
        config.diffusion,
        in_channels=splits.normaliser.num_model_channels,
        num_classes=splits.train.num_classes,
    )


def _private_module(
    config: ExperimentConfig,
    subject_ids: np.ndarray,
    network: nn.Module,
    rows: tuple[SeriesBatch, SeriesBatch],
) -> PrivateDiffusionModule:
    """The module that keeps diffusion.private for the patients it trains on.

    Raises:
        DataError: training rows of unknown patients.
        UserError: opacus is not installed, or the budget cannot be kept.
    """
    diffusion, patients = config.diffusion, patient_codes(subject_ids)
    plan = _privacy_plan(diffusion, patients)
    log.info("%s", promise_line(plan))
    return PrivateDiffusionModule(
        network, *rows, objective_of(diffusion), seed=config.seed, patients=patients, plan=plan
    )


def _privacy_plan(diffusion: DiffusionConfig, patients: np.ndarray) -> Privacy:
    private = diffusion.private
    assert private.epsilon is not None
    return planned(
        epsilon=private.epsilon,
        delta=private.delta,
        max_grad_norm=private.max_grad_norm,
        batch_size=diffusion.batch_size,
        steps=diffusion.max_steps,
        patients=int(patients.max()) + 1,
    )


def micro_batch(config: ExperimentConfig, network: nn.Module, shape: Sequence[int]) -> int:
    """diffusion.micro_batch in series; "auto": of `shape` (channels, length), as many as fit."""
    diffusion = config.diffusion
    if diffusion.micro_batch != "auto":
        return int(diffusion.micro_batch)
    per_series = bytes_per_series(network, shape[0], shape[1])
    device = pick_device(config.accelerator)
    size = rows_that_fit(per_series, device, largest=diffusion.batch_size)
    if size < diffusion.batch_size:
        log.info(
            "a batch of %d series keeps %.1f GiB: going through it %d series at a time "
            "(diffusion.micro_batch)",
            diffusion.batch_size,
            diffusion.batch_size * per_series / 2**30,
            size,
        )
    return size


def level_table(diffusion: DiffusionConfig) -> torch.Tensor | None:
    """The levels of the linear schedule, least noisy first; None for the cosine schedule."""
    if diffusion.schedule == "cosine":
        return None
    return linear_log_snr(diffusion.num_steps, diffusion.beta_start, diffusion.beta_end)


def objective_of(diffusion: DiffusionConfig, **others: Any) -> Objective:
    """The objective of a config section, with `others` in place of its keys."""
    known = {"micro_batch": None, "level_table": level_table(diffusion)}
    return from_sections(Objective, diffusion, **known | others)


def _model_space(dataset: EHRDataset, normaliser: Normaliser) -> SeriesBatch:
    return SeriesBatch(
        encode(normaliser, dataset),
        loss_weights(normaliser, dataset),
        torch.from_numpy(dataset.labels),
    )


def _averaged_model(
    config: ExperimentConfig,
    splits: Splits,
    module: DiffusionModule,
    network_args: dict[str, Any],
    best: BestCheckpoint,
) -> DiffusionModel:
    if best.best_model_score is None or not torch.isfinite(best.best_model_score):
        raise DataError("training ended without one held-out evaluation; lower diffusion.val_every")
    content = load_plain(Path(best.best_model_path), "training checkpoint")
    module.load_state_dict(content["state_dict"])
    table = module.objective.level_table
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
        with_guide=config.diffusion.include_guide,
    )


if __name__ == "__main__":
    run_stage(main)
