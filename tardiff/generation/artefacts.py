"""What stage 3 is asked for, checked: levels of the sampler, labels, the tuned strength."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from configs.run_record import describe_differences, read_mapping
from configs.runtime.errors import ConfigError, MismatchError, MissingInputError
from data_preprocess.dataset import EHRDataset
from tardiff.diffusion.noise_schedule import log_snr_grid

FREE_LEVELS = 0.5  # log-SNR by which sampling may start beyond the trained levels


def sampler_levels(
    table: Sequence[float] | None, *, steps: int, lowest: float, highest: float
) -> Float[Tensor, " step"]:
    """Log-SNR of the sampling steps, noisy to clean.

    Args:
        table: levels that the model was trained on; None: it knows all.

    Raises:
        ConfigError: the sampling would start at more noise than the model was trained on.
    """
    if table is not None and min(table) > lowest + FREE_LEVELS:
        raise ConfigError(
            f"sampler.log_snr_min={lowest:g}: the model was trained on levels from "
            f"{min(table):.1f} on (diffusion.schedule=linear with few diffusion.num_steps); "
            "train with more of them"
        )
    return log_snr_grid(steps, lowest, highest)


def tuned_choice(path: Path, decided_by: Mapping[str, Any]) -> dict[str, Any]:
    """The "w" and "cfg_scale" that tuning chose.

    Args:
        path: what scripts/tune.py wrote.
        decided_by: data, model and settings at hand, as the record has them.

    Raises:
        MissingInputError: the experiment was not tuned.
        MismatchError: it was tuned on other data, with another model, or with other settings.
    """
    if not path.is_file():
        raise MissingInputError(
            f"guidance.w=tuned or sampler.cfg_scale=tuned: {path} does not exist; choose a "
            "strength on val_select first: bash scripts/tune.sh <config.yaml>"
        )
    content = read_mapping(path)
    if content["data_fingerprint"] != decided_by["data_fingerprint"]:
        raise MismatchError(f"{path} was tuned on other data; run bash scripts/tune.sh again")
    if content.get("model") != decided_by["made_with"]["diffusion"]:
        raise MismatchError(
            f"{path} was tuned with another diffusion model; run bash scripts/tune.sh again"
        )
    apart = describe_differences(content.get("decided_by", {}), decided_by)
    if apart:
        raise MismatchError(
            f"{path} was tuned with other settings ({apart}); run bash scripts/tune.sh again, or "
            "give numbers"
        )
    return content["chosen"]


def tuning_record(path: Path, data_fingerprint: str, model: str | None) -> dict[str, Any] | None:
    """All that tuning wrote; None where there is nothing, or it is of other data or another model.
    Arguments as in `tuned_choice`."""
    found = read_mapping(path) if path.is_file() else {}
    same = found.get("data_fingerprint") == data_fingerprint and found.get("model") == model
    return found if same else None


def requested_labels(
    train: EHRDataset, *, ratio: float, counts: Sequence[int] | None
) -> Int[Tensor, " n"]:
    """Labels to generate, class by class.

    Args:
        ratio: synthetic series per training series, in every class; at least one of each.
        counts: explicit number per class; wins over `ratio`.

    Raises:
        ConfigError: a wrong number of counts, a negative count, or nothing to generate.
    """
    if counts is None:
        counts = [max(1, round(ratio * int(count))) for count in train.class_counts]
    if len(counts) != train.num_classes or min(counts) < 0 or sum(counts) == 0:
        raise ConfigError(
            f"generation.counts={list(counts)}: expected {train.num_classes} non-negative numbers, "
            f"one per class ({', '.join(train.label_names)}), not all zero"
        )
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
