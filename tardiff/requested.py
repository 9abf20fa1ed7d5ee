"""How many series of which label a generation run makes."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from configs.errors import ConfigError
from data_preprocess.dataset import EHRDataset

# Pilot series take their noise from numbers that no generated series reaches.
PILOT_OFFSET = 1 << 40


def requested_labels(
    train: EHRDataset, *, ratio: float, counts: Sequence[int] | None
) -> Int[Tensor, " n"]:
    """Labels to generate, class by class.

    Args:
        ratio: synthetic series per training series, in every class.
        counts: explicit number per class; wins over `ratio`.

    Raises:
        ConfigError: a wrong number of counts, a negative count, or nothing to generate.
    """
    if counts is None:
        counts = [round(ratio * int(count)) for count in train.class_counts]
    if len(counts) != train.num_classes or min(counts) < 0 or sum(counts) == 0:
        raise ConfigError(
            f"generation.counts={list(counts)}: expected {train.num_classes} non-negative numbers, "
            f"one per class ({', '.join(train.label_names)}), not all zero"
        )
    return torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))


def pilot_numbers(label: int, rows: int) -> list[int]:
    """Series numbers of the pilot of one class."""
    return [PILOT_OFFSET + (label << 20) + row for row in range(rows)]


def strengths(num_classes: int, *, w: float, w_per_class: Sequence[float] | None) -> list[float]:
    """The requested realised shift per class.

    Raises:
        ConfigError: `w_per_class` does not hold one number per class.
    """
    if w_per_class is None:
        return [w] * num_classes
    if len(w_per_class) != num_classes:
        raise ConfigError(
            f"guidance.w_per_class={list(w_per_class)}: expected {num_classes} numbers"
        )
    return list(w_per_class)
