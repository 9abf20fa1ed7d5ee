"""Pool: unguided series, from which the sets of a session are drawn class by class."""

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from configs.runtime.processes import Processes
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.splits import Splits
from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.generation.data_card import to_dataset
from tardiff.generation.density_ratio import DensityRatio, density_ratio
from tardiff.guidance.calibration import Calibration, winsorised
from tardiff.guidance.guided_denoiser import GuidanceStats
from tardiff.guidance.pool_selection import choose, draw
from tardiff.privacy.memorisation import CopyCheck

Rows = Int[Tensor, " m"]  # of the pool

log = logging.getLogger(__name__)


class Sampled(NamedTuple):
    """A set in model space with its labels, what guidance did to it, what the check for copies
    found, None where it was disabled, and what resampling rests on, None where there is none."""

    x: Series
    y: Tensor
    stats: GuidanceStats
    copies: CopyCheck | None
    resampled: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Unguided series with several times the labels that are asked for.

    Attributes:
        sampled: as the model draws them.
        toward: real series that sets are resampled toward; None: each series counts alike.
        seed: of what is drawn.
        processes: in which the density ratio is estimated.
    """

    sampled: Sampled
    splits: Splits
    toward: EHRDataset | None
    seed: int
    processes: Processes

    @cached_property
    def released(self) -> EncodedSeries:
        """All series as they are written: what a model that is trained on them sees."""
        return as_released(self.sampled, self.splits)

    @cached_property
    def ratio(self) -> DensityRatio | None:
        """At every series; None where nothing is resampled."""
        if self.toward is None:
            return None
        real = EncodedSeries.of(self.toward, self.splits.normaliser)
        found = density_ratio(real, self.released, seed=self.seed, processes=self.processes)
        log.info(
            "resampling: %d series sampled, which boosted trees tell from training series with AUC "
            "%.2f%s",
            len(self.sampled.y),
            found.auc,
            ""
            if found.slope
            else ": too few series or patients or no difference, so none is preferred",
        )
        return found

    def draw(self, y: Labels) -> list[Rows]:
        """Rows of unguided series with labels like `y`, by class."""
        return [
            mine[draw(self._base(mine), count, seed=self.seed)] for mine, count in self._classes(y)
        ]

    def choose(
        self, y: Labels, scores: Float[Tensor, " n"], w: float
    ) -> tuple[list[Rows], list[Calibration]]:
        """Rows with labels like `y`, by class, whose mean score is higher than that of `draw(y)`.

        Args:
            scores: of all series.
            w: shift in every class, unguided standard deviations.
        """
        rows, found = [], []
        for mine, count in self._classes(y):
            base = self._base(mine)
            chosen, outcome = choose(scores[mine], count, w, seed=self.seed, base=base)
            rows.append(mine[chosen])
            found.append(outcome)
        return rows, found

    def take(self, rows: Rows) -> Sampled:
        """The set of these rows."""
        made = self.sampled
        facts = self.ratio.to_plain() if self.ratio else None
        return made._replace(x=made.x[rows], y=made.y[rows], resampled=facts)

    def _classes(self, y: Labels) -> list[tuple[Rows, int]]:
        """(rows of the class, how many `y` asks for)."""
        return [
            (torch.nonzero(self.sampled.y == label)[:, 0], int((y == label).sum()))
            for label in range(self.splits.train.num_classes)
        ]

    def _base(self, rows: Rows) -> Float[Tensor, " m"]:
        """Log weights of the unguided set at `rows`, all of one class."""
        if self.ratio is None or not len(rows):
            return torch.zeros(len(rows), dtype=torch.float64)
        return winsorised(self.ratio.log_ratio[rows])


def as_released(made: Sampled, splits: Splits) -> EncodedSeries:
    """Series as they are written, in model space again."""
    return EncodedSeries.of(to_dataset(made.x, made.y, splits), splits.normaliser)
