"""Stage 3 entry: influence-guided generation, with its unguided counterpart from the same noise.

    bash generation.sh [config.yaml] [key=value ...]

tardiff/from_config.py loads and checks the artefacts and holds the computation with plain values.
"""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.cli import run_stage
from configs.run_record import describe_differences, record_stage, run_dir
from configs.schema.experiment import ExperimentConfig
from data_preprocess.storage.dataset_files import load_extra
from tardiff.from_config import Loaded, load, session_of, wanted_strength
from tardiff.generation.counterpart import differences, made_with
from tardiff.generation.data_card import croissant_of, to_dataset, write_set
from tardiff.generation.pool import Sampled
from tardiff.generation.session import GenerationSession
from tardiff.guidance.diagnostics import GuidanceOutcome
from tardiff.records_from_config import decisive

NAMES = {"influence": "guided", "classifier": "classifier_guided", "none": "unguided"}
OF_GUIDANCE = ("guidance", "influence")

log = logging.getLogger(__name__)


def main(config: ExperimentConfig) -> None:
    """Writes runs/<experiment>/synthetic/<name>.npz, its card, and the unguided counterpart."""
    _warn_of_few(config)
    loaded = load(config)
    session = session_of(loaded)
    sets = _sets(loaded.config, session)
    _tell_replaced(loaded, {name: made for name, made, _ in sets})
    for name, made, outcome in sets:
        write_generated(loaded, name, made, outcome)
    session.forget()


def _warn_of_few(config: ExperimentConfig) -> None:
    """Says where stage 4 will ask for more series than are about to be made."""
    ratios = config.evaluation.ratios if "TSRTR" in config.evaluation.protocols else []
    made, asked = config.generation.ratio, max(ratios, default=0.0)
    if config.generation.counts is None and made < asked:
        log.warning(
            "generation.ratio=%g makes fewer series than evaluation.ratios asks for (%g): stage 4 "
            "will refuse the set; raise the one or lower the other",
            made,
            asked,
        )


def _tell_replaced(loaded: Loaded, sets: Mapping[str, Sampled]) -> None:
    """In what the sets that are there differ from those that take their place; a warning where the
    unguided one was the counterpart of others too."""
    folder = run_dir(loaded.config) / "synthetic"
    there = {file.stem: made_with(file) for file in sorted(folder.glob("*.npz"))}
    for name in (name for name in sets if there.get(name)):
        path, unguided = folder / f"{name}.npz", name == NAMES["none"]
        before, now = there[name], _set_facts(loaded, sets[name], None)
        shown = {k: v for k, v in now["config"].items() if not (unguided and k in OF_GUIDANCE)}
        # Without digests of files, which tell nobody anything.
        told = {key: now[key] for key in ("data_fingerprint", "seed")} | {"config": shown}
        changed = describe_differences(before, told)
        if changed:
            log.info("replacing %s, made with other settings (%s)", path, changed)
        others = [
            other
            for other, facts in there.items()
            if other not in sets and facts.get("guidance") and not differences(before, facts)
        ]
        if unguided and others and (apart := differences(before, now)):
            log.warning(
                "%s is replaced by a set with another %s; it was the counterpart of %s too "
                "(generation.unguided_too=false keeps it, making that set again restores it)",
                path,
                ", ".join(apart),
                ", ".join(others),
            )


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
        w, strength = wanted_strength(config, session)
        made, outcome = session.guided(w, name)
        outcome = dataclasses.replace(outcome, facts=outcome.facts | strength)
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
    record_stage(config, f"generation/{name}", facts)
    path = write_set(folder or run_dir(config) / "synthetic", name, dataset, facts, splits.train)
    if outcome:
        log.info("%s", outcome.line(splits.train.label_names))
    log.info("%d series written to %s", len(made.y), path)
    return path


def _set_facts(loaded: Loaded, made: Sampled, outcome: GuidanceOutcome | None) -> dict[str, Any]:
    """What the file of a set says of its origin, JSON-able."""
    return {
        "generator": "tardiff",
        "experiment": loaded.config.experiment,
        "source": loaded.config.data.source,
        "diffusion": loaded.model.facts,
        "guidance": dataclasses.asdict(outcome) if outcome else None,
        **decisive(loaded.config, loaded.splits.fingerprint),
        "copies": dataclasses.asdict(made.copies) if made.copies else None,
        "resampled": made.resampled,
    }


def is_current(path: Path, loaded: Loaded) -> bool:
    """Whether `path` is the set that `loaded` would make: same data, weights and settings; written
    whole, with its card."""
    if not path.is_file() or not croissant_of(path).is_file():
        return False
    found, wanted = load_extra(path), decisive(loaded.config, loaded.splits.fingerprint)
    return all(found.get(key) == value for key, value in wanted.items())


if __name__ == "__main__":
    run_stage(main)
