"""SeriesNoise: every series has its own random stream, so it does not depend on its batch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


class SeriesNoise:
    """Standard normal draws for a batch, one generator per series.

    Series number i of a generation run draws from the seed (run seed, i) wherever it stands in
    whichever batch, on any device.

    Args:
        seed: of the generation run.
        numbers: the batch's series numbers.
        shape: (channel, time).
    """

    def __init__(
        self, seed: int, numbers: Sequence[int], shape: tuple[int, int], device: torch.device
    ) -> None:
        self.shape = shape
        self.device = device
        self.generators = [_generator(seed, number) for number in numbers]

    def __call__(self) -> Tensor:
        """The next (batch, channel, time) draw."""
        rows = [torch.randn(self.shape, generator=generator) for generator in self.generators]
        return torch.stack(rows).to(self.device)


def _generator(seed: int, number: int) -> torch.Generator:
    # SeedSequence mixes the pair into well separated streams; adding them would make run 0 series
    # 1 equal to run 1 series 0.
    mixed = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(mixed >> 1))
