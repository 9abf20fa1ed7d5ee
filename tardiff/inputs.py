"""What every way of generating needs: the trained parts, checked against each other."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from classifier.checkpoint import load_classifier
from classifier.device import pick_device
from classifier.losses import per_sample_loss
from configs.run_record import run_dir
from configs.schema import ExperimentConfig
from data_preprocess.build import load_splits
from data_preprocess.splits import Splits
from tardiff.checkpoint import DiffusionModel, load_model, require_match
from tardiff.denoiser import NetworkDenoiser
from tardiff.direction import ClassifierDirection, Direction
from tardiff.guide import InfluenceSettings, LabelledSeries, build_influence, guide_vector
from tardiff.requested import requested_labels
from tardiff.reverse import ReverseProcess
from tardiff.schedule import log_snr_grid


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

    def process(self, levels: Tensor, sampler: str) -> ReverseProcess:
        """The reverse process over `levels`."""
        settings = self.config.sampler
        return ReverseProcess(
            sampler=sampler,
            levels=levels,
            shape=(len(self.model.feature_names), self.model.length),
            seed=self.config.generation.seed,
            batch_size=settings.batch_size,
            device=self.device,
            eta=settings.eta,
            sde=settings.sde,
        )


def load_parts(config: ExperimentConfig) -> Parts:
    """Reads splits and diffusion model; refuses a model of other data, channels or normaliser.

    Raises:
        MissingInputError: a stage before has not run.
        MismatchError: the artefacts do not belong together.
    """
    splits = load_splits(config.data)
    model = load_model(
        run_dir(config) / "diffusion" / "model.pt", f"bash train.sh <config of {config.experiment}>"
    )
    expected = {
        "feature_names": splits.train.feature_names,
        "label_names": splits.train.label_names,
        "length": splits.train.length,
        "normaliser": splits.normaliser.fingerprint(),
        "data_fingerprint": splits.fingerprint,
    }
    require_match("diffusion model", model, expected, "Train it again: bash train.sh")
    device = pick_device(config.accelerator)
    model.network.to(device)
    generation = config.generation
    y = requested_labels(splits.train, ratio=generation.ratio, counts=generation.counts)
    return Parts(config, splits, model, device, y)


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
    config = parts.config
    classifier = task_classifier(parts)
    if config.guidance.kind == "classifier":
        return ClassifierDirection(classifier.to(parts.device), per_sample_loss), {}
    influence = config.influence
    settings = InfluenceSettings(
        guidance_loss=influence.guidance_loss,
        classes=influence.classes,
        preconditioner=influence.preconditioner,
        damping=influence.damping,
        cg_iterations=influence.cg_iterations,
        preconditioner_rows=influence.preconditioner_rows,
    )
    return influence_direction(parts, classifier, settings)


def influence_direction(
    parts: Parts, classifier: nn.Module, settings: InfluenceSettings
) -> tuple[Direction, dict[str, Any]]:
    """Influence on the guidance rows, val_guide; G comes from the cache if it is there."""
    config, splits = parts.config, parts.splits
    vector, facts = guide_vector(
        classifier,
        _labelled(splits, "val_guide"),
        _labelled(splits, "train"),
        settings,
        num_classes=splits.train.num_classes,
        seed=config.seed,
        cache=run_dir(config) / "influence",
    )
    direction = build_influence(
        classifier,
        vector,
        per_sample_loss,
        method=config.influence.gradient,
        objective=config.influence.objective,
        fd_step=config.influence.fd_step,
        device=parts.device,
    )
    return direction, facts


def task_classifier(parts: Parts) -> nn.Module:
    """The trained classifier of stage 2, refused if it belongs to other data."""
    path = Path(parts.config.classifier.checkpoint_dir) / "best.ckpt"
    return load_classifier(path, parts.splits, allow=parts.config.classifier.model).model


def _labelled(splits: Splits, name: str) -> LabelledSeries:
    dataset = getattr(splits, name)
    x = splits.normaliser.to_model(dataset.values)
    return LabelledSeries(x, torch.from_numpy(dataset.labels))
