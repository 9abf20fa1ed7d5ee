"""From a config to what stage 4 computes with: the downstream models, and what earlier stages left.

Tuning and the influence report use the same.
"""

import dataclasses
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from classifier.training import FitRecipe
from configs import from_sections, to_plain, to_yaml
from configs.run_record import describe_differences, run_dir, sha256_file
from configs.runtime.device import pick_device
from configs.runtime.errors import ConfigError, UserError
from configs.runtime.processes import Processes
from configs.schema.experiment import ExperimentConfig
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import EncodedSeries, encode
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits
from data_preprocess.storage.content_cache import ContentCache
from scripts.pictures.influence import Influence, influence_of_sets
from scripts.quality.common.metric_report import MetricReport, kept_report
from scripts.quality.privacy.white_box import attack_generator
from scripts.results.results import SETTINGS
from scripts.utility.downstream import Downstream
from scripts.utility.fits import run_fits
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import EncodedArrays, EvaluationData, Fit
from scripts.utility.summary import UNGUIDED
from tardiff.diffusion.denoiser import NetworkDenoiser
from tardiff.from_config import AUTO, direction_loader, pool_estimate
from tardiff.generation.session import rows_for_guide
from tardiff.guidance.diagnostics import score_all
from tardiff.guidance.directions import Score
from tardiff.guidance.pool_estimate import PoolEstimate
from tardiff.guidance.pool_selection import tilted_weights
from tardiff.records_from_config import (
    is_guided_by_pool,
    model_path,
    other_settings,
    with_tuned_strength,
)
from tardiff.training.checkpoint import load_model

logger = logging.getLogger(__name__)

GENERATOR_CODE = (
    "scripts.quality.common",
    "scripts.quality.privacy",
    "tardiff.privacy",
    "tardiff.networks",
    "tardiff.diffusion",
    "data_preprocess.model_space",
)


def evaluation_data(splits: Splits, sets: Mapping[str, EHRDataset]) -> EvaluationData:
    """The rows of all fits in model space."""

    def series(dataset: EHRDataset) -> EncodedArrays:
        return EncodedArrays(x=encode(splits.normaliser, dataset).numpy(), y=dataset.labels)

    return EvaluationData(
        train=series(splits.train),
        guide=series(splits.val_guide),
        select=series(splits.val_select),
        test=series(splits.test),
        synthetic={name: series(dataset) for name, dataset in sets.items()},
        num_classes=splits.train.num_classes,
        num_values=splits.train.num_channels,
    )


def changed(config: ExperimentConfig, **sections: Mapping[str, Any]) -> ExperimentConfig:
    """`config` with other values in the named sections."""
    new = {k: dataclasses.replace(getattr(config, k), **values) for k, values in sections.items()}
    return dataclasses.replace(config, **new)


def influence_weights(config: ExperimentConfig, splits: Splits) -> Float[np.ndarray, " n"]:
    """Weights of the real training series by their influence on the guidance loss, as strong as
    `guidance.w` says: guidance without a generator.

    Raises:
        ConfigError: G is imported, so that there are no guidance rows here.
    """
    if config.influence.vector is not None:
        raise ConfigError(
            "evaluation.baselines with reweighted needs the guidance rows, and "
            "influence.vector stands for rows that are elsewhere; leave it out of "
            "evaluation.baselines"
        )
    config = with_tuned_strength(config, splits.fingerprint)
    device = pick_device(config.accelerator)
    train = EncodedSeries.of(splits.train, splits.normaliser)
    estimate = pool_estimate(config, splits, device, lambda: train)
    w = asked_strength(config, lambda: estimate)
    logger.info("reweighted: w = %g on the real training series", w)
    return tilted_weights(estimate.of_pool(), train.y, w).numpy()


def asked_strength(config: ExperimentConfig, estimate: Callable[[], PoolEstimate]) -> float:
    """`guidance.w` as a number: for "auto" what the guide supports; 0 where nobody may know it."""
    if config.guidance.w != AUTO:
        return float(config.guidance.w)
    strength = estimate().strength()
    return 0.0 if strength is None else strength.w


def fitting(
    config: ExperimentConfig, num_classes: int, normaliser: Normaliser
) -> Callable[..., dict[Fit, Predictions]]:
    """`run_fits` with the cache, the processes and the downstream models of an experiment; they are
    trained as its task classifier is."""
    chosen = config.classifier
    fitter = Downstream(
        model=chosen.model,
        model_args=chosen.model_args,
        recipe=from_sections(FitRecipe, chosen),
        num_classes=num_classes,
        normaliser=normaliser,
        inputs=tuple(chosen.inputs),
    )
    return partial(
        run_fits,
        fitter=fitter,
        cache=run_dir(config) / "evaluation" / "fits",
        processes=evaluation_processes(config),
    )


def evaluation_processes(config: ExperimentConfig) -> Processes:
    """In which stage 4 trains downstream models and compares sets."""
    places = config.processes
    return Processes(config.evaluation.workers, places.backend, places.scheduler)


def generator_report(config: ExperimentConfig, splits: Splits) -> MetricReport | None:
    """The white-box attack on the experiment's diffusion model, if there is one of these data."""
    path = model_path(config)
    if not path.is_file():
        return None
    model = load_model(path, f"bash train.sh <config of {config.experiment}>")
    if model.data_fingerprint != splits.fingerprint:
        return None
    device, seed = pick_device(config.accelerator), config.evaluation.seeds[0]
    denoiser = NetworkDenoiser(model.network.to(device), prediction=model.prediction)

    processes = evaluation_processes(config) if device.type == "cpu" else None  # a GPU has one
    attack = partial(
        attack_generator, denoiser, splits, seed=seed, device=device, processes=processes
    )
    key = {"model": sha256_file(path), "data": splits.fingerprint, "seed": seed}
    cache = ContentCache(run_dir(config) / "evaluation" / "sets", GENERATOR_CODE)
    return kept_report(cache, key, attack)


def documents(config: ExperimentConfig, files: Mapping[str, Path]) -> dict[str, str]:
    """Title -> text of the cards, "" of those that do not exist, and of the settings."""
    cards = {"Data card": Path(config.data.dir) / "card.md"}
    cards |= {f"Card of set {k}": file.with_name(f"{k}.card.md") for k, file in files.items()}
    texts = {k: path.read_text("utf-8") if path.is_file() else "" for k, path in cards.items()}
    trained = "".join(f"# {line}\n" for line in other_settings(config, of_classifier=True))
    return texts | {SETTINGS: trained + to_yaml(config)}


def guided_as(config: ExperimentConfig, made: Mapping[str, Mapping[str, Any]]) -> ExperimentConfig:
    """`config` with the estimator that guided its sets in place of "auto", which other
    `evaluation.models` than those of stage 3 would read otherwise.

    Args:
        made: `made_with` of every set.
    """
    guided = [facts for facts in made.values() if facts.get("guidance")]
    own = [facts for facts in guided if facts.get("experiment") == config.experiment]
    # A set of an older version need not say it.
    used = {f.get("config", {}).get("influence", {}).get("estimator") for f in own} - {None}
    if config.influence.estimator != "auto" or len(used) != 1:
        return config
    return changed(config, influence={"estimator": used.pop()})


def other_influence(config: ExperimentConfig, made: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Sentences about sets of this experiment that another influence guided than the one that
    stage 4 shows, which is that of `config`. Arguments as in `guided_as`."""
    told = []
    for name, facts in made.items():
        then = facts.get("config", {})
        same = facts.get("experiment") == config.experiment and then.get("compat") == config.compat
        guided = facts.get("guidance") and "influence" in then and same
        if not guided or then["guidance"]["kind"] != config.guidance.kind:
            continue
        shown = to_plain(config)["influence"]
        if config.influence.estimator == "auto":
            shown.pop("estimator")
        changes = describe_differences({"influence": then["influence"]}, {"influence": shown})
        if changes:
            told.append(
                f"{name}: guided with other settings than the config has now ({changes}), by which "
                "its influence is shown: give the same keys to every stage."
            )
    return told


def influence(
    config: ExperimentConfig, splits: Splits, sets: Mapping[str, EncodedArrays]
) -> Influence | str:
    """Read from what the stages before left; where that is absent, how to get it."""
    device = pick_device(config.accelerator)
    direction = _direction(config, splits, sets, device)
    if isinstance(direction, str):
        return direction

    def score(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return score_all(direction, torch.from_numpy(x), torch.from_numpy(y), device).numpy()

    return influence_of_sets(score, sets, splits.train.label_names, seed=config.evaluation.seeds[0])


def _direction(
    config: ExperimentConfig,
    splits: Splits,
    sets: Mapping[str, EncodedArrays],
    device: torch.device,
) -> Score | str:
    """What guidance follows, or what is missing to know it. Where stage 3 left no G, none is
    computed here."""
    cached = run_dir(config) / "influence"
    try:
        if is_guided_by_pool(config):
            if UNGUIDED not in sets:
                return f"the guide is trained on a set {UNGUIDED!r}, and there is none."
            x, y = (torch.from_numpy(part) for part in (sets[UNGUIDED].x, sets[UNGUIDED].y))
            rows = rows_for_guide(y)
            pool = EncodedSeries(x[rows], y[rows])
            return pool_estimate(config, splits, device, lambda: pool).direction
        if not any(cached.glob("*")):
            return f"{cached} not found; bash classifier/train.sh and bash generation.sh make it."
        return direction_loader(config, splits, device).direction().direction
    except UserError as error:
        return str(error)
