"""EnsembleDirection: the mean of several directions, one per classifier.

Over the checkpoints of one training it is TracIn (Pruthi et al. 2020) with equal learning rates;
over classifiers of several seeds it averages out what a single training happened to learn.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from tardiff.direction import Direction
from tardiff.guidance_losses import Labels
from tardiff.schedule import Series


class EnsembleDirection:
    """Mean score and mean gradient of its members.

    Args:
        members: each with the G of its own classifier.

    Raises:
        ValueError: no member.
    """

    def __init__(self, members: Sequence[Direction]) -> None:
        if not members:
            raise ValueError("an ensemble needs at least one member")
        self.members = tuple(members)

    def __call__(self, x: Series, y: Labels) -> tuple[Tensor, Series]:
        """(score, gradient), (B,) and (B, C, T), detached."""
        scores, gradients = zip(*(member(x, y) for member in self.members), strict=True)
        return torch.stack(scores).mean(0), torch.stack(gradients).mean(0)
