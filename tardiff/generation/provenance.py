"""set_facts: all that decides a generated set, stored in its file, so that it can be recognised."""

from pathlib import Path
from typing import Any

from configs import to_plain
from configs.run_record import run_dir, sha256_file
from configs.schema.experiment import ExperimentConfig
from data_preprocess.storage.dataset_files import load_extra
from tardiff.generation.artefacts import Parts
from tardiff.guidance.diagnostics import GuidanceOutcome
from tardiff.guidance.from_config import guidance_files

SECTIONS = ("compat", "sampler", "guidance", "influence", "generation")
DECISIVE = ("data_fingerprint", "made_with", "config", "seed")


def set_facts(parts: Parts, outcome: GuidanceOutcome | None) -> dict[str, Any]:
    """JSON-able facts of a set of `parts`, made as `parts.config` says."""
    config = parts.config
    return {
        "generator": "tardiff",
        "experiment": config.experiment,
        "diffusion": {
            "val_loss": parts.model.val_loss,
            "step": parts.model.step,
            "privacy": parts.model.privacy.to_plain() if parts.model.privacy else None,
        },
        "guidance": outcome.to_plain() if outcome else None,
        **_decisive(parts),
    }


def is_current(path: Path, parts: Parts) -> bool:
    """Whether `path` is the set that `parts` would make: same data, weights and settings."""
    if not path.is_file():
        return False
    found, wanted = load_extra(path), _decisive(parts)
    return all(found.get(key) == wanted[key] for key in DECISIVE)


def _decisive(parts: Parts) -> dict[str, Any]:
    plain = to_plain(parts.config)
    return {
        "data_fingerprint": parts.splits.fingerprint,
        "made_with": _weights(parts.config),
        "config": {key: plain[key] for key in SECTIONS},
        "seed": plain["seed"],
    }


def _weights(config: ExperimentConfig) -> dict[str, Any]:
    """SHA-256 of the files that take part."""
    weights: dict[str, Any] = {"diffusion": sha256_file(run_dir(config) / "diffusion" / "model.pt")}
    if config.guidance.kind != "none" or config.compat == "paper":
        weights["guidance"] = guidance_files(config)
    return weights
