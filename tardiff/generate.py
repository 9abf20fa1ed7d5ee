"""Stage 3 entry: influence-guided generation, with its unguided counterpart from the same noise.

tardiff/from_config.py loads and checks the artefacts and holds the computation with plain values.
"""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs import to_plain
from configs.cli import run_stage
from configs.run_record import describe_differences, record_stage, run_dir
from configs.schema.experiment import ExperimentConfig
from data_preprocess.splits import Splits
from data_preprocess.storage.dataset_files import load_extra
from tardiff.from_config import Loaded, load, session_of, wanted_strengths
from tardiff.generation.counterpart import differences, made_with
from tardiff.generation.data_card import to_dataset, write_set
from tardiff.generation.pool import Sampled
from tardiff.generation.session import GenerationSession
from tardiff.guidance.diagnostics import GuidanceOutcome
from tardiff.records_from_config import guidance_files, model_digest

NAMES = {"influence": "guided", "classifier": "classifier_guided", "none": "unguided"}
OF_GUIDANCE = ("guidance", "influence")
SECTIONS = ("compat", "sampler", *OF_GUIDANCE, "generation")  # that decide a set
DECISIVE = ("data_fingerprint", "made_with", "config", "seed")

log = logging.getLogger(__name__)


def main(config: ExperimentConfig) -> None:
    """Writes runs/<experiment>/synthetic/<name>.npz, its card, and the unguided counterpart."""
    _warn_of_few(config)
    loaded = load(config)
    session = session_of(loaded)
    sets = _sets(loaded.config, session)
    _warn_of_replaced(loaded, {name: made for name, made, _ in sets})
    for name, made, outcome in sets:
        _say_replaced(loaded, name)
        write_generated(loaded, name, made, outcome)
    session.forget()


def _warn_of_few(config: ExperimentConfig) -> None:
    """Says where stage 4 will ask for more series than are about to be made."""
    made, asked = config.generation.ratio, max(config.evaluation.ratios, default=0.0)
    if config.generation.counts is None and made < asked:
        log.warning(
            "generation.ratio=%g makes fewer series than evaluation.ratios asks for (%g): stage 4 "
            "will refuse the set; raise the one or lower the other",
            made,
            asked,
        )


def _warn_of_replaced(loaded: Loaded, sets: Mapping[str, Sampled]) -> None:
    """Says where the unguided set of other sets is replaced by another one."""
    folder, name = run_dir(loaded.config) / "synthetic", NAMES["none"]
    path = folder / f"{name}.npz"
    if name not in sets or not path.is_file():
        return
    before = made_with(path)
    changed = differences(before, _set_facts(loaded, sets[name], None))
    kept = {
        file.stem: made_with(file) for file in sorted(folder.glob("*.npz")) if file.stem not in sets
    }
    others = [
        other
        for other, facts in kept.items()
        if facts.get("guidance") and not differences(before, facts)
    ]
    if changed and others:
        log.warning(
            "%s is replaced by a set with another %s; it was the counterpart of %s too "
            "(generation.unguided_too=false keeps it, making that set again restores it)",
            path,
            ", ".join(changed),
            ", ".join(others),
        )


def _say_replaced(loaded: Loaded, name: str) -> None:
    """In what the set that is there differs from the one that takes its place."""
    path = run_dir(loaded.config) / "synthetic" / f"{name}.npz"
    before = made_with(path) if path.is_file() else {}
    now = _decisive(loaded.config, loaded.splits)
    del now["made_with"]  # digests, which tell nobody anything
    if name == NAMES["none"]:
        now["config"] = {k: v for k, v in now["config"].items() if k not in OF_GUIDANCE}
    then = {key: before.get(key) for key in now}
    then["config"] = {key: before.get("config", {}).get(key) for key in now["config"]}
    changed = describe_differences(then, now)
    if before and changed:
        log.info("replacing %s, made with other settings (%s)", path, changed)


def _sets(
    config: ExperimentConfig, session: GenerationSession
) -> list[tuple[str, Sampled, GuidanceOutcome | None]]:
    """(name, series, what guidance did) of every set that the config asks for."""
    guidance, paper = config.guidance, config.compat == "paper"
    name = config.generation.name or ("paper" if paper else NAMES[guidance.kind])
    if paper:
        made, outcome = session.algorithm1(guidance.paper_w, name)
    elif guidance.kind == "none":
        return [(name, session.unguided, None)]
    else:
        wanted, known = wanted_strengths(config, session)
        made, outcome = session.guided(wanted, name)
        outcome = dataclasses.replace(outcome, facts=outcome.facts | known)
    if not config.generation.unguided_too:
        return [(name, made, outcome)]
    counterpart = f"{name}_w0" if paper else NAMES["none"]
    return [(counterpart, session.unguided, None), (name, made, outcome)]


def write_generated(
    loaded: Loaded,
    name: str,
    made: Sampled,
    outcome: GuidanceOutcome | None,
    folder: Path | None = None,
) -> Path:
    """Writes a sampled set with its card and record; the path of its .npz.

    Args:
        folder: default runs/<experiment>/synthetic.
    """
    config, splits, facts = loaded.config, loaded.splits, _set_facts(loaded, made, outcome)
    dataset = to_dataset(made.x, made.y, splits)
    path = write_set(folder or run_dir(config) / "synthetic", name, dataset, facts, splits.train)
    record_stage(config, f"generation/{name}", facts)
    if outcome:
        log.info("%s", outcome.line(splits.train.label_names))
    log.info("%d series written to %s", len(made.y), path)
    return path


def _set_facts(loaded: Loaded, made: Sampled, outcome: GuidanceOutcome | None) -> dict[str, Any]:
    """What the file of a set says of its origin, JSON-able."""
    model = loaded.model
    return {
        "generator": "tardiff",
        "experiment": loaded.config.experiment,
        "diffusion": {
            "val_loss": model.val_loss,
            "step": model.step,
            "privacy": dataclasses.asdict(model.privacy) if model.privacy else None,
        },
        "guidance": dataclasses.asdict(outcome) if outcome else None,
        **_decisive(loaded.config, loaded.splits),
        "copies": dataclasses.asdict(made.copies) if made.copies else None,
        "resampled": made.resampled,
    }


def is_current(path: Path, loaded: Loaded) -> bool:
    """Whether `path` is the set that `loaded` would make: same data, weights and settings."""
    if not path.is_file():
        return False
    found, wanted = load_extra(path), _decisive(loaded.config, loaded.splits)
    return all(found.get(key) == wanted[key] for key in DECISIVE)


def _decisive(config: ExperimentConfig, splits: Splits) -> dict[str, Any]:
    """All that decides a set, JSON-able: stored in its file, so that it can be recognised."""
    plain = to_plain(config)
    plain["generation"].pop("workers")  # where it was made
    weights: dict[str, Any] = {"diffusion": model_digest(config)}
    if config.guidance.kind != "none" or config.compat == "paper":
        weights["guidance"] = guidance_files(config)
    chosen = {key: plain[key] for key in SECTIONS} | {"inputs": plain["classifier"]["inputs"]}
    if config.compat == "paper":  # walks the levels of its own schedule
        chosen["levels"] = [plain["diffusion"][k] for k in ("num_steps", "beta_start", "beta_end")]
    return {
        "data_fingerprint": splits.fingerprint,
        "made_with": weights,
        "config": chosen,
        "seed": plain["seed"],
    }


if __name__ == "__main__":
    run_stage(main)
