"""Tuned strengths: what scripts/tune.sh chose for an experiment, for configs that say auto."""

import dataclasses
from pathlib import Path

from configs.errors import MismatchError, MissingInputError
from configs.run_record import read_mapping, run_dir
from configs.schema import ExperimentConfig

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
