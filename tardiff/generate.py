"""Stage 3 entry: influence-guided generation, with its unguided counterpart from the same noise."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from classifier.checkpoint import load_classifier
from classifier.losses import per_sample_loss
from configs import to_plain
from configs.entry import run_stage
from configs.run_record import record_stage, run_dir
from configs.schema import ExperimentConfig
from data_preprocess.build import load_splits
from data_preprocess.splits import Splits
from tardiff.calibrate import Calibration, as_tensors, calibrate, fixed
from tardiff.checkpoint import DiffusionModel, load_model, require_match
from tardiff.denoiser import NetworkDenoiser
from tardiff.direction import ClassifierDirection, Direction
from tardiff.guide import InfluenceSettings, LabelledSeries, build_influence, guide_vector
from tardiff.guided import GuidedDenoiser, active_levels
from tardiff.outcome import GuidanceOutcome, summarise
from tardiff.paper_mode import PaperShift, paper_levels
from tardiff.requested import pilot_numbers, requested_labels, strengths
from tardiff.reverse import ReverseProcess
from tardiff.schedule import log_snr_grid
from tardiff.write_set import SyntheticSet, write_set

log = logging.getLogger(__name__)

NAMES = {"influence": "guided", "classifier": "classifier_guided", "none": "unguided"}


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


def main(config: ExperimentConfig) -> None:
    """Writes runs/<experiment>/synthetic/<name>.npz, its card, and the unguided counterpart."""
    parts = _load(config)
    if config.compat == "paper":
        _generate_paper(parts)
    elif config.guidance.kind == "none":
        process = _configured_process(parts)
        _write(parts, "unguided", _sample(parts, process, "unguided"), None)
    else:
        _generate_guided(parts)


def _load(config: ExperimentConfig) -> Parts:
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


def pick_device(accelerator: str) -> torch.device:
    """The torch device for Lightning's accelerator name."""
    if accelerator in ("auto", "gpu"):
        found = (
            torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        )
        return found or torch.device("cpu")
    return torch.device(accelerator)


def _configured_process(parts: Parts) -> ReverseProcess:
    settings = parts.config.sampler
    if settings.name == "ddpm" and parts.model.level_table is not None:
        levels = torch.tensor(parts.model.level_table, dtype=torch.float64).flip(0)
    else:
        levels = log_snr_grid(settings.num_steps, settings.log_snr_min, settings.log_snr_max)
    return parts.process(levels, settings.name)


def _sample(parts: Parts, process: ReverseProcess, title: str, **changes: Any) -> Tensor:
    denoiser = changes.pop("denoiser", parts.denoiser)
    return process.run(denoiser, parts.y, range(len(parts.y)), title=title, **changes)


def _generate_guided(parts: Parts) -> None:
    config = parts.config
    name = config.generation.name or NAMES[config.guidance.kind]
    process = _configured_process(parts)
    direction, facts = _direction(parts)
    calibrations = _calibrate(parts, process, direction)
    guided = _guided_denoiser(parts, process, direction, calibrations)
    unguided_x = _sample(parts, process, "unguided")
    guided_x = _sample(parts, process, name, denoiser=guided)
    outcome = summarise(
        direction, unguided_x, guided_x, parts.y, calibrations, guided.stats, parts.device, facts
    )
    if config.generation.unguided_too:
        _write(parts, "unguided", unguided_x, None)
    _write(parts, name, guided_x, outcome)


def _direction(parts: Parts) -> tuple[Direction, dict[str, Any]]:
    config = parts.config
    classifier = _classifier(parts)
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
    return _influence(parts, classifier, settings)


def _influence(
    parts: Parts, classifier: nn.Module, settings: InfluenceSettings
) -> tuple[Direction, dict[str, Any]]:
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


def _classifier(parts: Parts) -> nn.Module:
    path = Path(parts.config.classifier.checkpoint_dir) / "best.ckpt"
    return load_classifier(path, parts.splits).model


def _labelled(splits: Splits, name: str) -> LabelledSeries:
    dataset = getattr(splits, name)
    x = splits.normaliser.to_model(dataset.values)
    return LabelledSeries(x, torch.from_numpy(dataset.labels))


def _calibrate(parts: Parts, process: ReverseProcess, direction: Direction) -> list[Calibration]:
    """One pilot per class; see tardiff/calibrate.py."""
    guidance, k = parts.config.guidance, parts.splits.train.num_classes
    wanted = strengths(k, w=guidance.w, w_per_class=guidance.w_per_class)
    rows = guidance.pilot_rows

    def scores(label: int, x: Tensor) -> Tensor:
        y = torch.full((rows,), label, device=parts.device)
        return direction(x.to(parts.device), y)[0].cpu()

    def sample(label: int, denoiser: Any) -> Tensor:
        return process.run(denoiser, torch.full((rows,), label), pilot_numbers(label, rows))

    natural = [scores(label, sample(label, parts.denoiser)) for label in range(k)]
    first = [fixed(natural[label], wanted[label]) for label in range(k)]
    if not guidance.calibrate:
        return first

    def pilot(label: int, multiplier: float) -> Tensor:
        trial = list(first)
        trial[label] = fixed(natural[label], multiplier)
        guided = _guided_denoiser(parts, process, direction, trial)
        return scores(label, sample(label, guided))

    log.info("calibrating the guidance strength on %d pilot series per class", rows)
    return [calibrate(pilot, label, natural[label], wanted[label]) for label in range(k)]


def _guided_denoiser(
    parts: Parts, process: ReverseProcess, direction: Direction, calibrations: list[Calibration]
) -> GuidedDenoiser:
    guidance = parts.config.guidance
    multiplier, scale = as_tensors(calibrations)
    return GuidedDenoiser(
        parts.denoiser,
        direction,
        multiplier=multiplier,
        scale=scale,
        active=active_levels(process.levels, (guidance.interval[0], guidance.interval[1])),
        trust=guidance.trust,
        at=guidance.at,
    )


def _generate_paper(parts: Parts) -> None:
    """Algorithm 1 as printed: raw G, gradient at x_t, mean + w J at every ancestral step."""
    config = parts.config
    settings = InfluenceSettings(
        guidance_loss="nll",
        classes=config.influence.classes,
        preconditioner="none",
        damping=config.influence.damping,
        cg_iterations=config.influence.cg_iterations,
        preconditioner_rows=config.influence.preconditioner_rows,
    )
    direction, facts = _influence(parts, _classifier(parts), settings)
    process = parts.process(paper_levels(config.diffusion, parts.model.level_table), "ddpm")
    shift = PaperShift(direction, config.guidance.paper_w)
    unguided_x = _sample(parts, process, "paper, w = 0")
    guided_x = _sample(parts, process, "paper", mean_shift=shift)
    natural = [
        fixed(direction(rows.to(parts.device), torch.full((len(rows),), k))[0].cpu(), 0.0)
        for k, rows in ((k, unguided_x[parts.y == k]) for k in parts.y.unique().tolist())
    ]
    outcome = summarise(
        direction, unguided_x, guided_x, parts.y, natural, shift.stats, parts.device, facts
    )
    name = config.generation.name or "paper"
    if config.generation.unguided_too:
        _write(parts, f"{name}_w0", unguided_x, None)
    _write(parts, name, guided_x, outcome)


def _write(parts: Parts, name: str, x: Tensor, outcome: GuidanceOutcome | None) -> None:
    config, model = parts.config, parts.model
    facts = {
        "generator": "tardiff",
        "experiment": config.experiment,
        "data_fingerprint": parts.splits.fingerprint,
        "diffusion": {"val_loss": model.val_loss, "step": model.step},
        "config": {
            key: to_plain(config)[key]
            for key in ("compat", "sampler", "guidance", "influence", "generation")
        },
        "guidance": outcome.to_plain() if outcome else None,
    }
    synthetic = SyntheticSet(name=name, x=x, y=parts.y, outcome=outcome, facts=facts)
    step = config.data.step_minutes if config.generation.csv else None
    path = write_set(run_dir(config) / "synthetic", synthetic, parts.splits, step)
    record_stage(config, f"generation/{name}", facts)
    if outcome:
        log.info("%s", outcome.line(parts.splits.train.label_names))
    log.info("%d series written to %s", len(x), path)


if __name__ == "__main__":
    run_stage(main)
