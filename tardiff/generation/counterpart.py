"""What a set was made with, and whether an unguided set is the counterpart of a guided one: made
from the same noise by the same model, so that the two differ by guidance alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.runtime.errors import DataError
from data_preprocess.storage.array_files import is_plain_npz
from data_preprocess.storage.dataset_files import load_extra


def made_with(path: Path) -> dict[str, Any]:
    """What stage 3 wrote into the file of a set; empty for files of another origin."""
    if path.suffix != ".npz" or is_plain_npz(path):
        return {}
    try:
        return load_extra(path)
    except DataError:
        return {}


def pool_guides(compat: str | None, kind: str | None, estimator: str | None) -> bool:
    """Whether a guide of unguided series decides what guidance prefers, and not the classifier.

    Args:
        compat, kind, estimator: the keys compat, guidance.kind and influence.estimator.
    """
    return compat != "paper" and kind == "influence" and estimator in ("auto", "convex", "boosted")


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
    """In what two sets differ besides guidance, by name; empty for counterparts.

    Args:
        first, second: `made_with` of the sets.
    """
    one, other = _besides_guidance(first), _besides_guidance(second)
    return [name for name in one if one[name] != other[name]]


def _besides_guidance(facts: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides a set but its guidance; None stands for what is not known."""
    config = facts.get("config", {})
    generation, sampler = config.get("generation", {}), config.get("sampler", {})
    return {
        "diffusion model": facts.get("made_with", {}).get("diffusion"),
        "compat": config.get("compat"),
        # Its batch size changes a set by rounding only.
        "sampler": {key: value for key, value in sampler.items() if key != "batch_size"},
        "generation.seed": generation.get("seed"),
        "generation.allow_copies": generation.get("allow_copies"),
        "number of series": generation.get("counts") or generation.get("ratio"),
        "resampling": bool(facts.get("resampled")) and generation.get("pool"),
    }
