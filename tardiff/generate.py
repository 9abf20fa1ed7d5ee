"""Stage 3 entry: influence-guided generation, with its unguided counterpart from the same noise."""

import logging
from typing import Any

import torch
from torch import Tensor

from configs import to_plain
from configs.entry import run_stage
from configs.run_record import record_stage, run_dir
from configs.schema import ExperimentConfig
from tardiff.calibrate import Calibration, as_tensors, calibrate, fixed
from tardiff.direction import Direction
from tardiff.guide import InfluenceSettings
from tardiff.guided import GuidedDenoiser, active_levels
from tardiff.inputs import (
    Parts,
    configured_process,
    guidance_direction,
    influence_direction,
    load_parts,
    task_classifier,
)
from tardiff.outcome import GuidanceOutcome, summarise
from tardiff.paper_mode import PaperShift, paper_levels
from tardiff.requested import pilot_numbers, strengths
from tardiff.reverse import ReverseProcess
from tardiff.workplace import Sampled, Workplace
from tardiff.write_set import SyntheticSet, write_set

log = logging.getLogger(__name__)

NAMES = {"influence": "guided", "classifier": "classifier_guided", "none": "unguided"}


def main(config: ExperimentConfig) -> None:
    """Writes runs/<experiment>/synthetic/<name>.npz, its card, and the unguided counterpart."""
    parts = load_parts(config)
    with Workplace(parts) as workplace:
        if config.compat == "paper":
            _generate_paper(parts, workplace)
        elif config.guidance.kind == "none":
            process = configured_process(parts)
            _write(parts, "unguided", workplace.sample(process, "unguided", last=True), None)
        else:
            _generate_guided(parts, workplace)


def _generate_guided(parts: Parts, workplace: Workplace) -> None:
    config = parts.config
    name = config.generation.name or NAMES[config.guidance.kind]
    process = configured_process(parts)
    direction, facts = guidance_direction(parts)
    calibrations = workplace.remembered(process, lambda: _calibrate(parts, process, direction))
    guided = _guided_denoiser(parts, process, direction, calibrations)
    unguided = workplace.sample(process, "unguided")
    tilted = workplace.sample(process, name, denoiser=guided, last=True)
    score = "influence" if config.guidance.kind == "influence" else "log p(label)"
    outcome = summarise(
        direction,
        unguided.x,
        tilted.x,
        parts.y,
        calibrations,
        guided.stats,
        parts.device,
        facts,
        score,
    )
    if config.generation.unguided_too:
        _write(parts, "unguided", unguided, None)
    _write(parts, name, tilted, outcome)


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


def _generate_paper(parts: Parts, workplace: Workplace) -> None:
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
    direction, facts = influence_direction(parts, task_classifier(parts), settings)
    process = parts.process(paper_levels(config.diffusion, parts.model.level_table), "ddpm")
    shift = PaperShift(direction, config.guidance.paper_w)
    unguided = workplace.sample(process, "paper, w = 0")
    tilted = workplace.sample(process, "paper", mean_shift=shift, last=True)
    natural = [
        fixed(direction(rows.to(parts.device), torch.full((len(rows),), k))[0].cpu(), 0.0)
        for k, rows in ((k, unguided.x[parts.y == k]) for k in parts.y.unique().tolist())
    ]
    outcome = summarise(
        direction,
        unguided.x,
        tilted.x,
        parts.y,
        natural,
        shift.stats,
        parts.device,
        facts,
        "influence",
    )
    name = config.generation.name or "paper"
    if config.generation.unguided_too:
        _write(parts, f"{name}_w0", unguided, None)
    _write(parts, name, tilted, outcome)


def _write(parts: Parts, name: str, made: Sampled, outcome: GuidanceOutcome | None) -> None:
    config, model, x = parts.config, parts.model, made.x
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
        "copies": made.copies.to_plain() if made.copies else None,
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
