"""Pilot: the multiplier per class that realises an asked shift, found on series of its own."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from data_preprocess.storage.content_cache import ContentCache, Entry
from tardiff.diffusion.denoiser import Denoiser
from tardiff.generation.reverse_process import PILOT, ReverseProcess
from tardiff.guidance.calibration import Calibration, calibrate, unguided_scale
from tardiff.guidance.directions import Direction
from tardiff.guidance.guided_denoiser import Gain, Guidance, Tilt, active_levels


@dataclass(frozen=True, kw_only=True)
class GuidanceSettings:
    """When and how far the sampler is pushed; docs/method.md.

    Attributes:
        trust: as in `Guidance`.
        interval: shares of the sampling steps, from the noisy end.
        pilot_rows: pilot series per class.
    """

    interval: tuple[float, float]
    trust: float
    pilot_rows: int

    def guidance(self, direction: Direction, gain: Gain, levels: Tensor) -> Guidance:
        """Guidance on the steps of `levels` that lie in the interval."""
        active = active_levels(levels, self.interval)
        return Guidance(direction=direction, gain=gain, active=active, trust=self.trust)


def pilot_numbers(label: int, rows: int) -> list[int]:
    """Series numbers of the pilot of one class."""
    return [PILOT + (label << 20) + row for row in range(rows)]


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """Calibrates classes, one at a time, in any process.

    Attributes:
        denoiser: the unguided one.
        key: all that decides unguided series, the direction and `settings`; JSON-able.
        cache: of pilot scores and calibrations.
    """

    process: ReverseProcess
    denoiser: Denoiser
    direction: Direction
    settings: GuidanceSettings
    key: Mapping[str, Any]
    cache: ContentCache

    def unguided_key(self, label: int) -> dict[str, Any]:
        """All that decides the unguided scores of a class."""
        return {"pilot": self.key, "label": label}

    def calibration_key(self, asked: tuple[int, float]) -> dict[str, Any]:
        """All that decides the calibration of (class, shift)."""
        return {"pilot": self.key, "label": asked[0], "shift": asked[1]}

    def calibration(self, asked: tuple[int, float]) -> Calibration:
        """The calibration of (class, shift); see tardiff/guidance/calibration.py."""
        label, w = asked

        def compute() -> Entry:
            unguided = self.unguided(label)
            scale = torch.full((label + 1,), unguided_scale(unguided))

            def shifted(label: int, multiplier: float) -> Tensor:
                return self._scores(label, Tilt(torch.full_like(scale, multiplier), scale))

            return Entry(facts=asdict(calibrate(shifted, label, unguided, w)))

        return Calibration(**self.cache.fetch(self.calibration_key(asked), compute).facts)

    def unguided(self, label: int) -> Tensor:
        """Scores of the unguided pilot of a class."""

        def compute() -> Entry:
            return Entry({"scores": self._scores(label, None).numpy()})

        entry = self.cache.fetch(self.unguided_key(label), compute)
        return torch.from_numpy(entry.arrays["scores"])

    def _scores(self, label: int, gain: Gain | None) -> Tensor:
        levels, rows, device = self.process.levels, self.settings.pilot_rows, self.process.device
        guidance = None if gain is None else self.settings.guidance(self.direction, gain, levels)
        y = torch.full((rows,), label)
        x = self.process.run(self.denoiser, y, pilot_numbers(label, rows), guidance).x
        return self.direction(x.to(device), y.to(device))[0].cpu()
