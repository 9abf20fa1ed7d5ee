"""What every way of generating needs: the trained parts, checked against each other."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from classifier.device import pick_device
from classifier.losses import per_sample_loss
from configs.run_record import run_dir
from configs.schema import ExperimentConfig
from data_preprocess.build import load_splits
from data_preprocess.splits import Splits
from tardiff.checkpoint import DiffusionModel, load_model, require_match
from tardiff.compiled import CompiledNetwork
from tardiff.denoiser import NetworkDenoiser
from tardiff.direction import ClassifierDirection, Direction
from tardiff.guide import InfluenceSettings
from tardiff.influence_inputs import InfluenceInputs, configured_settings
from tardiff.memory import sampling_rows
from tardiff.requested import requested_labels
from tardiff.reverse import ReverseProcess
from tardiff.schedule import log_snr_grid
from tardiff.tuned import with_tuned_strength


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
