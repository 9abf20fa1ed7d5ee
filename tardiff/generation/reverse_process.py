"""The sampler run over batches, each series with noise of its own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from tardiff.diffusion.denoiser import Denoiser
from tardiff.diffusion.noise_schedule import Labels, Series, generator_of
from tardiff.diffusion.quantile_mapping import MarginalMap
from tardiff.diffusion.samplers import sample_ddim, sample_dpmpp_2m
from tardiff.guidance.guided_denoiser import Guidance, GuidanceStats, GuidedDenoiser

# A series' number decides its noise. Those of a set count from 0; here begin those of the pilot, of
# the guide's series, of replacements for copies and of the map of marginals, none of which meet.
PILOT, GUIDE, FRESH, MARGINALS = 1 << 40, 1 << 45, 1 << 50, 1 << 52


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
        self.generators = [generator_of(seed, number) for number in numbers]

    def __call__(self) -> Tensor:
        """The next (batch, channel, time) draw."""
        rows = [torch.randn(self.shape, generator=generator) for generator in self.generators]
        return torch.stack(rows).to(self.device)


def fresh_numbers(rows: Int[np.ndarray, " m"], attempt: int) -> list[int]:
    """Series numbers of the replacements of `rows`."""
    return [FRESH + (attempt << 40) + int(row) for row in rows]


class Drawn(NamedTuple):
    """Series in model space, on the CPU, and what guidance did to them."""

    x: Series
    stats: GuidanceStats


@dataclass(frozen=True, kw_only=True)
class ReverseProcess:
    """How series are drawn.

    Attributes:
        sampler: "dpmpp_2m" or "ddim".
        levels: log-SNR of the steps, noisy to clean, float64.
        shape: (channel, time).
        seed: of the run.
        batch_size: series per denoiser call; changes memory only.
        eta: stochasticity of ddim; 1: DDPM.
        finish: what a drawn series goes through, row by row; None: it is left as it is.
    """

    sampler: str
    levels: Float[Tensor, " step"]
    shape: tuple[int, int]
    seed: int
    batch_size: int
    device: torch.device
    eta: float = 0.0
    finish: MarginalMap | None = None

    def run(
        self,
        denoiser: Denoiser,
        y: Labels,
        numbers: Sequence[int],
        guidance: Guidance | None = None,
    ) -> Drawn:
        """One series per label.

        Args:
            denoiser: the unguided one.
            numbers: series numbers; equal numbers give equal noise.

        Raises:
            FloatingPointError: a value is not finite; names the batch, the step and the row.
        """
        if len(numbers) != len(y):
            raise ValueError(f"{len(numbers)} series numbers for {len(y)} labels")
        done, stats = [torch.zeros(0, *self.shape)], GuidanceStats()
        for rows in torch.arange(len(y)).split(self.batch_size):
            chosen = [numbers[row] for row in rows.tolist()]
            guided = GuidedDenoiser(denoiser, guidance)
            try:
                drawn = self._batch(guided, y[rows].to(self.device), chosen).cpu()
            except FloatingPointError as error:
                where = f"series {chosen[0]} to {chosen[-1]}"
                raise FloatingPointError(f"in the batch of {where}: {error}") from error
            done.append(drawn if self.finish is None else self.finish(drawn))
            stats += guided.stats
        return Drawn(torch.cat(done), stats)

    def _batch(self, denoiser: Denoiser, y: Tensor, numbers: list[int]) -> Series:
        noise = SeriesNoise(self.seed, numbers, self.shape, self.device)
        x = noise()
        if self.sampler == "ddim":
            return sample_ddim(denoiser, x, y, self.levels, eta=self.eta, noise=noise)
        return sample_dpmpp_2m(denoiser, x, y, self.levels)
