"""Stage 3 entry: influence-guided generation, with its unguided counterpart from the same noise."""

import dataclasses
import logging
from pathlib import Path

import torch

from configs.cli import run_stage
from configs.run_record import record_stage, run_dir
from configs.runtime.shards import share
from configs.schema.experiment import ExperimentConfig
from tardiff.generation.artefacts import Parts, influence_direction, load_parts, strengths
from tardiff.generation.data_card import SyntheticSet, write_set
from tardiff.generation.provenance import set_facts
from tardiff.generation.run_cache import Sampled, Workplace
from tardiff.generation.session import GenerationSession
from tardiff.guidance.algorithm1 import PaperShift, paper_levels
from tardiff.guidance.calibration import fixed
from tardiff.guidance.diagnostics import GuidanceOutcome, score_all, summarise
from tardiff.guidance.from_config import configured_settings
from tardiff.influence.process_group import joined

log = logging.getLogger(__name__)

NAMES = {"influence": "guided", "classifier": "classifier_guided", "none": "unguided"}


def main(config: ExperimentConfig) -> None:
    """Writes runs/<experiment>/synthetic/<name>.npz, its card, and the unguided counterpart."""
    parts = load_parts(config)
    config = parts.config
    generation = config.generation
    # Only processes that a launcher numbered can speak to each other.
    ranks = share("generation.shard", generation.shard) if generation.shard == "auto" else (0, 1)
    with joined(*ranks), Workplace(parts) as workplace:
        if config.compat == "paper":
            _generate_paper(parts, workplace)
        elif config.guidance.kind == "none":
            name = config.generation.name or NAMES["none"]
            made = GenerationSession(parts, workplace).sample_unguided(last=True)
            write_generated(parts, name, made, None)
        else:
            _generate_guided(parts, workplace)


def _generate_guided(parts: Parts, workplace: Workplace) -> None:
    config = parts.config
    name = config.generation.name or NAMES[config.guidance.kind]
    guidance, k = config.guidance, parts.splits.train.num_classes
    session = GenerationSession(parts, workplace)
    wanted = strengths(k, w=float(guidance.w), w_per_class=guidance.w_per_class)
    guided, outcome = session.guided(wanted, name, last=True)
    if config.generation.unguided_too:
        write_generated(parts, "unguided", session.unguided, None)
    write_generated(parts, name, guided, outcome)


def _generate_paper(parts: Parts, workplace: Workplace) -> None:
    """Algorithm 1 as printed: raw G, gradient at x_t, mean + w J at every ancestral step."""
    config = parts.config
    settings = dataclasses.replace(
        configured_settings(config), guidance_loss="nll", preconditioner="none"
    )
    direction, facts = influence_direction(parts, settings)
    process = parts.process(
        paper_levels(config.diffusion, parts.model.level_table), "ddpm", finish=False
    )
    shift = PaperShift(direction, config.guidance.paper_w)
    unguided = workplace.sample(process, "paper, w = 0")
    tilted = workplace.sample(process, "paper", mean_shift=shift, last=True)
    natural = [
        fixed(score_all(direction, rows, torch.full((len(rows),), k), parts.device), 0.0)
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
        write_generated(parts, f"{name}_w0", unguided, None)
    write_generated(parts, name, tilted, outcome)


def write_generated(
    parts: Parts,
    name: str,
    made: Sampled,
    outcome: GuidanceOutcome | None,
    folder: Path | None = None,
) -> Path:
    """Writes a sampled set with its card and record; the path of its .npz.

    Args:
        folder: default runs/<experiment>/synthetic.
    """
    config, x = parts.config, made.x
    copies = made.copies.to_plain() if made.copies else None
    facts = set_facts(parts, outcome) | {"copies": copies}
    synthetic = SyntheticSet(name=name, x=x, y=parts.y, outcome=outcome, facts=facts)
    step = config.data.step_minutes if config.generation.csv else None
    path = write_set(folder or run_dir(config) / "synthetic", synthetic, parts.splits, step)
    record_stage(config, f"generation/{name}", facts)
    if outcome:
        log.info("%s", outcome.line(parts.splits.train.label_names))
    log.info("%d series written to %s", len(x), path)
    return path


if __name__ == "__main__":
    run_stage(main)
