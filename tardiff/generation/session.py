"""GenerationSession: one set of labels and noise, sampled unguided and under any strength.

What does not depend on the strength (direction, pilot, unguided counterpart) is computed once, so
a search over strengths pays for its guided sampling only.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from tardiff.diffusion.denoiser import Denoiser
from tardiff.generation.artefacts import (
    Parts,
    configured_process,
    guidance_direction,
    pilot_numbers,
)
from tardiff.generation.run_cache import Sampled, Workplace
from tardiff.guidance.calibration import Calibration, as_tensors, calibrate, fixed
from tardiff.guidance.diagnostics import GuidanceOutcome, summarise
from tardiff.guidance.guided_denoiser import GuidedDenoiser, active_levels

log = logging.getLogger(__name__)

SCORES = {"influence": "influence", "classifier": "log p(label)"}


class GenerationSession:
    """The parts of an experiment, ready to sample its requested labels.

    Args:
        parts: trained and checked; `parts.config` decides guidance, sampler and numbers.
        workplace: keeps what is finished, so that an interrupted run goes on.
    """

    def __init__(self, parts: Parts, workplace: Workplace) -> None:
        self.parts = parts
        self.workplace = workplace
        self.process = configured_process(parts)

    @cached_property
    def _direction(self) -> tuple[Any, dict[str, Any]]:
        return guidance_direction(self.parts)

    @cached_property
    def unguided(self) -> Sampled:
        """The set without guidance."""
        return self.sample_unguided()

    def sample_unguided(self, *, last: bool = False) -> Sampled:
        """As `unguided`; `last` as in `Workplace.sample`."""
        return self.workplace.sample(self.process, "unguided", last=last)

    def guided(
        self, wanted: Sequence[float], title: str = "guided", *, last: bool = False
    ) -> tuple[Sampled, GuidanceOutcome]:
        """The set whose mean score is moved by `wanted` natural standard deviations per class,
        from the noise of `unguided`, and how strong guidance really was.

        Args:
            wanted: one shift per class; raw multipliers where guidance.calibrate is off.
            last: as in `Workplace.sample`.
        """
        direction, facts = self._direction
        calibrations = self.workplace.remembered(
            self.process, list(wanted), lambda: self._calibrate(wanted)
        )
        denoiser = self._guided_denoiser(calibrations)
        unguided = self.unguided
        made = self.workplace.sample(self.process, title, denoiser=denoiser, last=last)
        outcome = summarise(
            direction,
            unguided.x,
            made.x,
            self.parts.y,
            calibrations,
            denoiser.stats,
            self.parts.device,
            facts,
            SCORES[self.parts.config.guidance.kind],
        )
        return made, outcome

    @cached_property
    def _natural(self) -> list[Tensor]:
        """Scores of the unguided pilot of every class."""
        return [
            self._scores(label, self._sample_pilot(label, self.parts.denoiser))
            for label in range(self.parts.splits.train.num_classes)
        ]

    def _calibrate(self, wanted: Sequence[float]) -> list[Calibration]:
        """One pilot per class; see tardiff/guidance/calibration.py."""
        guidance = self.parts.config.guidance
        natural = self._natural
        first = [fixed(scores, w) for scores, w in zip(natural, wanted, strict=True)]
        if not guidance.calibrate:
            return first

        def pilot(label: int, multiplier: float) -> Tensor:
            trial = list(first)
            trial[label] = fixed(natural[label], multiplier)
            return self._scores(label, self._sample_pilot(label, self._guided_denoiser(trial)))

        log.info(
            "calibrating the guidance strength on %d pilot series per class", guidance.pilot_rows
        )
        return [
            calibrate(pilot, label, scores, w)
            for label, (scores, w) in enumerate(zip(natural, wanted, strict=True))
        ]

    def _guided_denoiser(self, calibrations: list[Calibration]) -> GuidedDenoiser:
        guidance = self.parts.config.guidance
        multiplier, scale = as_tensors(calibrations)
        interval = (guidance.interval[0], guidance.interval[1])
        return GuidedDenoiser(
            self.parts.denoiser,
            self._direction[0],
            multiplier=multiplier,
            scale=scale,
            active=active_levels(self.process.levels, interval),
            trust=guidance.trust,
            at=guidance.at,
        )

    def _scores(self, label: int, x: Tensor) -> Tensor:
        y = torch.full((len(x),), label, device=self.parts.device)
        return self._direction[0](x.to(self.parts.device), y)[0].cpu()

    def _sample_pilot(self, label: int, denoiser: Denoiser) -> Tensor:
        rows = self.parts.config.guidance.pilot_rows
        y = torch.full((rows,), label)
        return self.process.run(denoiser, y, pilot_numbers(label, rows))
