"""Entry: looks at your table or arrays and writes a config for them.

    python -m data_preprocess.new_experiment my.csv [labels.csv] [out=my.yaml] [key=value ...]

A key of the config on the command line wins over what would be proposed, and is written too. The
series are read as stage 1 will read them before anything is written.
"""

import logging
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from configs import from_sections, load_config, parse_override
from configs.arguments import CALLER, from_caller, is_override, require_closed
from configs.cli import answer_help, guarded, log_to_stdout
from configs.runtime.atomic_files import write_text
from configs.runtime.errors import ConfigError, MissingInputError
from data_preprocess.build import make_splits
from data_preprocess.doubts import leaks
from data_preprocess.new_experiment.proposal import (
    Proposal,
    require_enough,
    shares,
    tell_ranges,
    whole_config,
)
from data_preprocess.new_experiment.roles import ROLES
from data_preprocess.new_experiment.tables import propose_table
from data_preprocess.sources.registry import Settings, SourceData, read_source
from data_preprocess.split_assignment import assign
from data_preprocess.storage.array_files import read_arrays
from data_preprocess.storage.table_file import SUFFIXES

ARRAYS = (".npz", ".npy", ".pkl", ".pickle")
DRAFT = "draft"

log = logging.getLogger("tardiff.data")


def main(arguments: Sequence[str]) -> None:
    """Prints what was understood and what was not, and writes the YAML.

    Raises:
        UserError: the data are not such series; or the YAML is there already.
    """
    files, out, overrides = _arguments(arguments)
    given = _merged({}, overrides)
    _loaded({"experiment": DRAFT} | given)  # keys and types are right before they are looked up
    if files[0].name.lower().endswith(ARRAYS):
        proposal = _propose_arrays(files)
    else:
        proposal = propose_table(files, given.get("data") or {})
    source, config = _read(proposal, _as_name(out.stem), overrides)
    _tell(proposal, source)
    head = (
        f"# Proposed from {', '.join(file.name for file in files)}; every key: configs/schema/.\n"
    )
    text = yaml.safe_dump(config, sort_keys=False, default_flow_style=None, width=100)
    write_text(out, head + text)
    log.info("\nwritten  %s", out)
    log.info(
        "next     bash scripts/quickstart.sh %s, which runs the four stages, or one by one:", out
    )
    for script in ("train.sh", "classifier/train.sh", "generation.sh", "evaluate.sh"):
        log.info("         bash %s %s", script, out)


def _arguments(arguments: Sequence[str]) -> tuple[list[Path], Path, list[str]]:
    """The files, the YAML to be written, and overrides of the config."""
    files = [Path(from_caller(a, there=True)) for a in arguments if not is_override(a)]
    given = [argument for argument in arguments if is_override(argument)]
    for override in given:
        require_closed(override)
    pairs = [override.split("=", 1) for override in given]
    if not 1 <= len(files) <= 2:
        raise ConfigError(
            f"{len(files)} files given; expected a table ({', '.join(SUFFIXES)}) and, where the "
            f"labels stand apart, theirs, or one file of arrays ({', '.join(ARRAYS)})"
        )
    for path in files:
        if not path.exists():
            raise MissingInputError(f"{path.absolute()} does not exist")
    wanted = Path(os.environ.get(CALLER, ""), dict(pairs).get("out", ""))
    stem = _as_name(files[0].name.split(".")[0])
    out = wanted / f"{stem}.yaml" if wanted.is_dir() else wanted
    if out.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"out={out}: a config ends in .yaml")
    if out.exists():
        raise ConfigError(f"{out.absolute()} is there already; remove it, or give out=OTHER.yaml")
    overrides = [f"{key}={value}" for key, value in pairs if key != "out"]
    for key, value in pairs:
        if key in ROLES:
            raise ConfigError(f"{key}={value}: write the key in full, data.table.{key}={value}")
    return files, out, overrides


def _as_name(stem: str) -> str:
    """A file's name as the name of an experiment."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", stem).strip("_.-") or "experiment"


def _propose_arrays(files: Sequence[Path]) -> Proposal:
    if len(files) > 1:
        raise ConfigError("arrays: one file is expected; labels of x.npy stand in x_labels.npy")
    path = files[0]
    found = read_arrays(path, key="your file")
    n, channels, length = found.values.shape
    proposal = Proposal({"source": "files", "files": {"train": str(path.absolute())}})
    proposal.data |= shares(n) | {"step_minutes": 60.0}
    proposal.understood["series"] = f"{n:,} of {channels} channels x {length} points"
    proposal.understood["channels"] = ", ".join(found.feature_names or ()) or "without names"
    if found.feature_names is None:
        proposal.decide.append(
            "what are the channels called, in order? "
            "data.files.channels='[\"heart_rate[bpm]\",...]'"
        )
    if channels > length:
        proposal.decide.append(
            f"{channels} channels x {length} points: the axes are read as (series, channel, time); "
            "if yours are (series, time, channel), write x.transpose(0, 2, 1) into the file"
        )
    if found.subject_ids is None:
        proposal.decide.append(
            "the file has no patient ids, so every series counts as a patient; if patients have "
            "several, one can be in train and test: numpy.savez(..., subject_ids=...) avoids it"
        )
    proposal.decide.append(
        "how far apart are the points? data.step_minutes (60 was assumed; it is shown on axes only)"
    )
    return proposal


def _read(
    proposal: Proposal, name: str, overrides: Sequence[str]
) -> tuple[SourceData, dict[str, Any]]:
    """The series as stage 1 will read them, and the config; the splits are checked."""
    draft = {"experiment": DRAFT, "data": proposal.data}
    data = _loaded(_merged(draft, overrides)).data
    if proposal.cut and data.window_hours == proposal.data["window_hours"]:
        proposal.decide += proposal.cut
        # It was chosen to leave out the end of long series, which may hold most of the values.
        proposal.data["table"].setdefault("drop_outside", True)
        data = _loaded(_merged(draft, overrides)).data
    section = getattr(data, data.source)
    unclear = [text for text in proposal.decide if "drop_unreadable" in text]
    if unclear and data.source == "table":
        # The user has yet to say whether these cells may go; what else is there can be told.
        section = type(section)(**vars(section) | {"drop_unreadable": True})
    log.info("making the series as stage 1 will ...")
    source = read_source(data.source, section, from_sections(Settings, data))
    tell_ranges(proposal, source.pool)
    config = _merged(whole_config(name, proposal, source.pool), overrides)
    loaded = _loaded(config).data
    asked = proposal.data.keys() & {"window_hours", "step_minutes"}
    if any(proposal.data[key] != getattr(loaded, key) for key in asked):
        hours = source.pool.values.shape[2] * loaded.step_minutes / 60
        window = f"{hours:g} h in steps of {loaded.step_minutes:g} min, as asked for"
        proposal.understood["window"] = window
    cohorts = assign(source, loaded)
    require_enough(cohorts)
    proposal.decide += leaks(cohorts["train"])
    make_splits(cohorts, loaded)  # what stage 1 would refuse is refused here
    proposal.understood["splits"] = "; ".join(
        f"{split} {len(cohort):,} ({cohort.per_class})" for split, cohort in cohorts.items()
    )
    if 2 * len(cohorts["val_guide"]) < len(cohorts["train"]) and not loaded.guide_where:
        proposal.understood["guidance"] = (
            "by few of the same patients, which gained little or nothing where it was measured "
            "(docs/results.md); more of them (data.val_guide) or of another unit "
            "(data.guide_where) gain more"
        )
    return source, config


def _merged(config: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    merged = OmegaConf.merge(OmegaConf.create(config), *map(parse_override, overrides))
    plain = OmegaConf.to_container(merged)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _loaded(config: dict[str, Any]) -> Any:
    """The config as the stages will read it: unknown keys and bounds are checked."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "proposed.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        try:
            return load_config([str(path)])
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{path}: ", "")) from error


def _tell(proposal: Proposal, source: SourceData) -> None:
    log.info("understood")
    for what, how in proposal.understood.items():
        log.info("  %-18s %s", what, how)
    for step in source.pool.flow:
        if step.removed:
            log.info("  %-18s %s: %d", "left out", step.rule, step.removed)
    for note in source.pool.notes:
        log.info("  %-18s %s", "note", note)
    if proposal.decide:
        log.info("\nfor you to decide")
        for sentence in proposal.decide:
            log.info("  - %s", sentence)


if __name__ == "__main__":
    log_to_stdout()
    answer_help(sys.argv[1:])
    sys.exit(guarded(lambda: main(sys.argv[1:])))
