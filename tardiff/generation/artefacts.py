"""What stage 3 reads: data, model, labels asked for, and the strength that tuning chose."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from classifier.losses import per_sample_loss
from configs.run_record import read_mapping, run_dir
from configs.runtime.device import pick_device
from configs.runtime.errors import ConfigError, MismatchError, MissingInputError
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import load_splits
from data_preprocess.dataset import EHRDataset
from data_preprocess.splits import Splits
from tardiff.diffusion.auto_batch_size import sampling_rows
from tardiff.diffusion.denoiser import CompiledNetwork, NetworkDenoiser
from tardiff.diffusion.noise_schedule import log_snr_grid
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.guidance.directions import ClassifierDirection, Direction
from tardiff.guidance.from_config import InfluenceInputs, configured_settings
from tardiff.influence.gradient_cache import InfluenceSettings
from tardiff.training.checkpoint import DiffusionModel, load_model, require_match

AUTO = "auto"


def tuning_path(config: ExperimentConfig) -> Path:
    """Where the tuning of an experiment keeps its curve and its choice."""
    return run_dir(config) / "tuning" / "scale.json"


def with_tuned_strength(config: ExperimentConfig, data_fingerprint: str) -> ExperimentConfig:
    """`config` with every "auto" replaced by the choice of the tuning of its experiment.

    Raises:
        MissingInputError: something is "auto" and the experiment was not tuned.
        MismatchError: it was tuned on other data.
    """
    guidance, sampler = config.guidance, config.sampler
    if AUTO not in (guidance.w, sampler.cfg_scale):
        return config
    path = tuning_path(config)
    if not path.is_file():
        raise MissingInputError(
            f"guidance.w={guidance.w} sampler.cfg_scale={sampler.cfg_scale}: {path} does not "
            "exist; choose a strength on val_select first: bash scripts/tune.sh <config.yaml>"
        )
    content = read_mapping(path)
    if content["data_fingerprint"] != data_fingerprint:
        raise MismatchError(f"{path} was tuned on other data; run bash scripts/tune.sh again")
    chosen = content["chosen"]
    if guidance.w == AUTO:
        guidance = dataclasses.replace(guidance, w=chosen["w"])
    if sampler.cfg_scale == AUTO:
        sampler = dataclasses.replace(sampler, cfg_scale=chosen["cfg_scale"])
    return dataclasses.replace(config, guidance=guidance, sampler=sampler)


# Pilot series take their noise from numbers that no generated series reaches.
PILOT_OFFSET = 1 << 40


def requested_labels(
    train: EHRDataset, *, ratio: float, counts: Sequence[int] | None
) -> Int[Tensor, " n"]:
    """Labels to generate, class by class.

    Args:
        ratio: synthetic series per training series, in every class.
        counts: explicit number per class; wins over `ratio`.

    Raises:
        ConfigError: a wrong number of counts, a negative count, or nothing to generate.
    """
    if counts is None:
        counts = [round(ratio * int(count)) for count in train.class_counts]
    if len(counts) != train.num_classes or min(counts) < 0 or sum(counts) == 0:
        raise ConfigError(
            f"generation.counts={list(counts)}: expected {train.num_classes} non-negative numbers, "
            f"one per class ({', '.join(train.label_names)}), not all zero"
        )
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def pilot_numbers(label: int, rows: int) -> list[int]:
    """Series numbers of the pilot of one class."""
    return [PILOT_OFFSET + (label << 20) + row for row in range(rows)]


def strengths(num_classes: int, *, w: float, w_per_class: Sequence[float] | None) -> list[float]:
    """The requested realised shift per class.

    Raises:
        ConfigError: `w_per_class` does not hold one number per class.
    """
    if w_per_class is None:
        return [w] * num_classes
    if len(w_per_class) != num_classes:
        raise ConfigError(
            f"guidance.w_per_class={list(w_per_class)}: expected {num_classes} numbers"
        )
    return list(w_per_class)


@dataclass(frozen=True)
class Parts:
    """What every way of generating needs."""

    config: ExperimentConfig
    splits: Splits
    model: DiffusionModel
    device: torch.device
    y: Tensor

    @property
    def denoiser(self) -> NetworkDenoiser:
        """The unguided denoiser, classifier-free guidance included."""
        return NetworkDenoiser(
            self.model.network,
            prediction=self.model.prediction,
            cfg_scale=self.config.sampler.cfg_scale,
        )

    def process(self, levels: Tensor, sampler: str, *, finish: bool = True) -> ReverseProcess:
        """The reverse process over `levels`; `finish`: with the model's map of the margins."""
        settings = self.config.sampler
        return ReverseProcess(
            sampler=sampler,
            levels=levels,
            shape=(self.splits.normaliser.num_model_channels, self.model.length),
            seed=self.config.generation.seed,
            batch_size=settings.batch_size,
            device=self.device,
            eta=settings.eta,
            sde=settings.sde,
            finish=self.model.marginals if finish else None,
        )


def load_parts(config: ExperimentConfig) -> Parts:
    """Reads splits and diffusion model; refuses a model of other data, channels or normaliser.

    Strengths that are "auto" are resolved in the returned config.

    Raises:
        MissingInputError: a stage before has not run.
        MismatchError: the artefacts do not belong together.
    """
    splits = load_splits(config.data)
    config = with_tuned_strength(config, splits.fingerprint)
    model = load_model(
        run_dir(config) / "diffusion" / "model.pt", f"bash train.sh <config of {config.experiment}>"
    )
    require_match("diffusion model", model, trained_on(splits), "Train it again: bash train.sh")
    device = pick_device(config.accelerator)
    model.network.to(device)
    config = _with_batch_size(config, model, splits.normaliser.num_model_channels)
    if config.sampler.compile:
        model = dataclasses.replace(model, network=CompiledNetwork(model.network))
    generation = config.generation
    y = requested_labels(splits.train, ratio=generation.ratio, counts=generation.counts)
    return Parts(config, splits, model, device, y)


def _with_batch_size(
    config: ExperimentConfig, model: DiffusionModel, channels: int
) -> ExperimentConfig:
    """`config` with a number for sampler.batch_size."""
    sampler = config.sampler
    size = sampling_rows(model.network, channels, model.length, asked=sampler.batch_size)
    return dataclasses.replace(config, sampler=dataclasses.replace(sampler, batch_size=size))


def trained_on(splits: Splits) -> dict[str, Any]:
    """What a diffusion model must say of itself to belong to `splits`."""
    return {
        "feature_names": splits.train.feature_names,
        "label_names": splits.train.label_names,
        "length": splits.train.length,
        "normaliser": splits.normaliser.fingerprint(),
        "data_fingerprint": splits.fingerprint,
    }


def configured_process(parts: Parts) -> ReverseProcess:
    """The reverse process of the sampler section."""
    settings = parts.config.sampler
    if settings.name == "ddpm" and parts.model.level_table is not None:
        levels = torch.tensor(parts.model.level_table, dtype=torch.float64).flip(0)
    else:
        levels = log_snr_grid(settings.num_steps, settings.log_snr_min, settings.log_snr_max)
    return parts.process(levels, settings.name)


def guidance_direction(parts: Parts) -> tuple[Direction, dict[str, Any]]:
    """The direction of guidance.kind, and facts of its computation."""
    if parts.config.guidance.kind == "classifier":
        model = influence_inputs(parts).classifier().to(parts.device)
        return ClassifierDirection(model, per_sample_loss), {}
    return influence_direction(parts, configured_settings(parts.config))


def influence_direction(
    parts: Parts, settings: InfluenceSettings
) -> tuple[Direction, dict[str, Any]]:
    """Influence on the guidance rows, and facts of its computation."""
    return influence_inputs(parts).direction(settings)


def influence_inputs(parts: Parts) -> InfluenceInputs:
    """What of `parts` an influence needs."""
    return InfluenceInputs(parts.config, parts.splits, parts.device)
