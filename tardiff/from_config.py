"""From a config to what stage 3 computes with: artefacts, checked once, and plain values.

Tuning, the matrix, the evaluation and the influence report use the same.
"""

import dataclasses
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from classifier.checkpoint_validation import require_match, trained_on
from classifier.train import checkpoint_path
from configs import from_sections
from configs.run_record import run_dir
from configs.runtime.device import pick_device
from configs.runtime.errors import ConfigError
from configs.runtime.processes import Processes
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import load_splits
from data_preprocess.dataset import concatenate
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.splits import Splits
from tardiff.diffusion.auto_batch_size import sampling_rows
from tardiff.diffusion.noise_schedule import linear_log_snr
from tardiff.generation.artefacts import requested_labels, sampler_levels
from tardiff.generation.pilot import GuidanceSettings
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.generation.session import GenerationSession
from tardiff.guidance.algorithm1 import paper_levels
from tardiff.guidance.direction_loader import DirectionLoader, LoadedDirection
from tardiff.guidance.guide_file import imported_estimate
from tardiff.guidance.pool_estimate import (
    PoolEstimate,
    PoolGuide,
    boosted_estimate,
    convex_estimate,
    fit_pool_guide,
)
from tardiff.influence.gradient_cache import InfluenceSettings
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.records_from_config import (
    TUNED,
    estimator_of,
    held_back,
    is_guided_by_pool,
    model_path,
    other_settings,
    with_tuned_strength,
)
from tardiff.training.checkpoint import DiffusionModel, load_model

AUTO = "auto"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """The artefacts of an experiment; `config` holds numbers where "tuned" stood."""

    config: ExperimentConfig
    splits: Splits
    model: DiffusionModel
    device: torch.device


def wanted_strength(
    config: ExperimentConfig, session: GenerationSession
) -> tuple[float, dict[str, Any]]:
    """The shift to ask for in every class, and the prediction that it rests on.

    Nothing is asked for where the retraining test says that a tilted set does not help.

    Raises:
        ConfigError: guidance.w=auto with an imported G that says no strength.
    """
    reason = held_back(config, session.splits.fingerprint)
    if reason is not None:
        log.warning("%s", reason)
        return 0.0, {}
    facts: dict[str, Any] = {}
    w = config.guidance.w
    if isinstance(estimate := session.loaded_direction, PoolEstimate):
        auto = estimate.strength()
        if auto is not None:
            strength = auto if w == AUTO else auto.at(float(w))
            if strength is not None:  # beyond the curve nothing is predicted
                log.info("%s", auto.line() if w == AUTO else strength.line_beside(auto))
                facts, w = {"strength": dataclasses.asdict(strength)}, strength.w
        elif w == AUTO:
            raise ConfigError(
                f"guidance.w=auto: {config.influence.vector} holds a private G and no strength, "
                "which would tell more about its rows; give a number, for example guidance.w=0.2"
            )
    return float(w), facts


def load(config: ExperimentConfig) -> Loaded:
    """Reads splits and diffusion model; refuses a model of other data, channels or normaliser.

    Raises:
        MissingInputError: a stage before has not run.
        MismatchError: the artefacts do not belong together.
    """
    splits, guidance = load_splits(config.data), config.guidance
    if guidance.w == TUNED and (guidance.kind == "none" or config.compat == "paper"):
        # Not read, so no tuning is needed for it.
        config = dataclasses.replace(config, guidance=dataclasses.replace(guidance, w=0.0))
    config = with_tuned_strength(config, splits.fingerprint)
    model = load_model(model_path(config), f"bash train.sh <config of {config.experiment}>")
    require_match("diffusion model", model, trained_on(splits), "Train it again: bash train.sh")
    followed = config.guidance.kind != "none" and not is_guided_by_pool(config)
    for line in other_settings(config, of_classifier=followed):
        log.warning("%s", line)
    device = pick_device(config.accelerator)
    model.network.to(device)
    channels, asked = splits.normaliser.num_model_channels, config.sampler.batch_size
    rows = sampling_rows(model.network, channels, model.length, asked=asked)
    sampler = dataclasses.replace(config.sampler, batch_size=rows)
    return Loaded(dataclasses.replace(config, sampler=sampler), splits, model, device)


def session_of(loaded: Loaded) -> GenerationSession:
    """The computation that the config asks for, nothing of it done yet."""
    config = loaded.config
    generation, guidance = config.generation, config.guidance
    splits, with_guide = loaded.splits, loaded.model.with_guide
    resampled = resamples(config, private=loaded.model.privacy is not None)
    chooses = guidance.by == "choose" and guidance.kind != "none" and config.compat == "none"
    workers = 1 if loaded.device.type != "cpu" else generation.workers  # a GPU has one
    return GenerationSession(
        splits=splits,
        model=loaded.model,
        process=_process(loaded),
        cfg_scale=float(config.sampler.cfg_scale),
        y=requested_labels(splits.train, ratio=generation.ratio, counts=generation.counts),
        load_direction=partial(_direction, loaded),
        pool_ratio=generation.pool if chooses or resampled else 1,
        trained_on=concatenate(splits.train, splits.val_guide) if with_guide else splits.train,
        resampled=resampled,
        guidance=from_sections(GuidanceSettings, guidance, interval=tuple(guidance.interval)),
        allow_copies=generation.allow_copies,
        folder=run_dir(config) / "synthetic" / ".parts",
        processes=Processes(workers, config.processes.backend, config.processes.scheduler),
    )


def resamples(config: ExperimentConfig, *, private: bool = False) -> bool:
    """Whether unguided series are drawn toward the training series. Where guidance stays are of
    another population, that would be away from where the set is meant for.

    Args:
        private: the model at hand was trained with privacy, whatever the config says.

    Raises:
        ConfigError: generation.resample=always with such a model.
    """
    asked, guidance, data = config.generation.resample, config.guidance, config.data
    if private and asked == "always":
        raise ConfigError(
            "generation.resample=always with a differentially private model: resampling reads the "
            "training stays without noise; leave it at auto"
        )
    if asked != "auto":
        return asked == "always" and config.compat == "none"
    pushed = guidance.by == "push" and guidance.kind != "none"
    private = private or config.diffusion.private.epsilon is not None
    one_population = data.train_where == data.guide_where
    return one_population and not (pushed or private or config.compat == "paper")


def pool_guide(
    config: ExperimentConfig, splits: Splits, device: torch.device, pool: EncodedSeries
) -> PoolGuide:
    """The configured convex guide of the unguided series `pool`."""
    influence = config.influence
    return fit_pool_guide(
        pool,
        splits.normaliser,
        inputs=config.classifier.inputs,
        penalty=influence.penalty,
        kernels=influence.kernels,
        num_classes=splits.train.num_classes,
        seed=config.seed,
        device=device,
    )


def pool_estimate(
    config: ExperimentConfig,
    splits: Splits,
    device: torch.device,
    pool: Callable[[], EncodedSeries],
) -> PoolEstimate:
    """The configured guide of unguided series with the G of the guidance rows, or the imported one.

    Args:
        pool: makes the unguided series where they are needed.
    """
    influence, boosted = config.influence, estimator_of(config) == "boosted"
    if influence.vector is not None and not boosted:
        return imported_estimate(
            Path(influence.vector),
            splits,
            device,
            guidance_loss=influence.guidance_loss,
            classes=influence.classes,
        )
    loss = GuidanceLoss(influence.guidance_loss, splits.train.num_classes, influence.classes)
    guidance, select = (
        EncodedSeries.of(rows, splits.normaliser) for rows in (splits.val_guide, splits.val_select)
    )
    if boosted:
        return boosted_estimate(
            pool(),
            guidance,
            select,
            loss,
            splits.normaliser,
            inputs=config.classifier.inputs,
            seed=config.seed,
        )
    guide = pool_guide(config, splits, device, pool())
    return convex_estimate(guide, guidance, select, loss, seed=config.seed)


def _process(loaded: Loaded) -> ReverseProcess:
    config, model, sampler = loaded.config, loaded.model, loaded.config.sampler
    paper = config.compat == "paper"
    if paper:
        diffusion = config.diffusion
        betas = linear_log_snr(diffusion.num_steps, diffusion.beta_start, diffusion.beta_end)
        levels = paper_levels(model.level_table, betas)
    else:
        levels = sampler_levels(
            model.level_table,
            steps=sampler.num_steps,
            lowest=sampler.log_snr_min,
            highest=sampler.log_snr_max,
        )
    return ReverseProcess(
        sampler="ddim" if paper else sampler.name,
        levels=levels,
        shape=(loaded.splits.normaliser.num_model_channels, model.length),
        seed=config.generation.seed,
        batch_size=sampler.batch_size,
        device=loaded.device,
        eta=1.0 if paper else sampler.eta,
        finish=None if paper else model.marginals,
    )


def _direction(loaded: Loaded, pool: Callable[[], EncodedSeries]) -> LoadedDirection:
    """Of the guide of unguided series, which `pool` makes, or of the classifier."""
    config = loaded.config
    if is_guided_by_pool(config):
        return pool_estimate(config, loaded.splits, loaded.device, pool)
    inputs = direction_loader(config, loaded.splits, loaded.device)
    if config.compat == "paper":
        of_paper = {"guidance_loss": "nll", "preconditioner": "none"}
        settings = dataclasses.replace(inputs.settings, **of_paper)
        inputs = dataclasses.replace(inputs, settings=settings)
    elif config.guidance.kind == "classifier":
        return inputs.likelihood()
    return inputs.direction()


def direction_loader(
    config: ExperimentConfig, splits: Splits, device: torch.device
) -> DirectionLoader:
    """What the configured influence is made of."""
    return DirectionLoader(
        splits=splits,
        device=device,
        trained=checkpoint_path(config),
        allowed_model=config.classifier.model,
        seed=config.seed,
        cache=run_dir(config) / "influence",
        settings=from_sections(InfluenceSettings, config.influence),
    )
