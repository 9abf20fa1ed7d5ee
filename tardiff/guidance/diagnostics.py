"""How strong guidance really was: the numbers printed, stored and drawn for every guided set."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from configs.runtime.progress import Progress
from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.guidance.calibration import Calibration, winsorised_mean
from tardiff.guidance.direction_loader import LoadedDirection
from tardiff.guidance.directions import Score
from tardiff.guidance.guided_denoiser import GuidanceStats

SCORE_BATCH = 512
DEAD = 0.01  # unguided standard deviations: below this, guidance moved nothing


@dataclass(frozen=True, kw_only=True)
class GuidanceOutcome:
    """Per class: how the mean score moved; over the run: how large the push was.

    Attributes:
        score: what guidance raises, "influence" or "log p(label)".
        requested: asked shift, unguided standard deviations; None if only a multiplier was given.
        realised: shift of the (winsorised) mean score of the whole set, same unit.
        mean_score, mean_score_unguided: means over the whole set, score's own unit.
        multiplier, scale: what the sampler used.
        shift_rms: rms of the shift over guided steps, model-space units.
        relative_to_step: shift_rms over the rms of the denoiser's own step.
        clipped: share of guided steps that the trust region shortened.
        facts: of the guidance gradient (loss, rows, norms, residual); "strength": the prediction
            that the strength rests on, where it was predicted.
        pool: unguided series that the set was chosen from; 0 where the sampler was pushed.
    """

    score: str
    requested: list[float | None]
    realised: list[float]
    mean_score: list[float]
    mean_score_unguided: list[float]
    multiplier: list[float]
    scale: list[float]
    shift_rms: float
    relative_to_step: float
    clipped: float
    facts: dict[str, Any]
    pool: int = 0

    def line(self, label_names: tuple[str, ...]) -> str:
        """One line for the terminal; says so if guidance moved nothing."""
        shifts = ", ".join(
            f"{name} {got:+.2f}" + ("" if asked is None else f" (asked {asked:+.2f})")
            for name, got, asked in zip(label_names, self.realised, self.requested, strict=True)
        )
        dead = all(abs(shift) < DEAD for shift in self.realised)
        asked = any(shift is None or abs(shift) >= DEAD for shift in self.requested)
        warning = "; GUIDANCE HAD NO EFFECT" if dead and asked else ""
        how = (
            f"chosen from {self.pool} unguided series"
            if self.pool
            else f"rms of the shift {100 * self.relative_to_step:.1f} % of the denoiser's step, "
            f"{100 * self.clipped:.1f} % of the steps clipped by the trust region"
        )
        return f"guidance: mean {self.score} moved by {shifts} unguided s.d.; {how}{warning}"


def outcome_of(
    loaded: LoadedDirection,
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    calibrations: Sequence[Calibration],
    *,
    stats: GuidanceStats | None = None,
    pool: int = 0,
) -> GuidanceOutcome:
    """Compares the scores of two sets class by class.

    Args:
        before, after: scores of the unguided and of the guided set, per class.
        stats: of the push; None: the set was chosen from `pool` unguided series.
    """
    stats = stats or GuidanceStats()
    old, new = ([_mean(scores) for scores in side] for side in (before, after))
    scales = [calibration.scale for calibration in calibrations]
    return GuidanceOutcome(
        score=loaded.score,
        requested=[calibration.requested for calibration in calibrations],
        realised=[(to - at) / scale for at, to, scale in zip(old, new, scales, strict=True)],
        mean_score=new,
        mean_score_unguided=old,
        multiplier=[calibration.multiplier for calibration in calibrations],
        scale=scales,
        shift_rms=stats.shift_rms,
        relative_to_step=stats.relative_to_step,
        clipped=stats.clipped / max(1, stats.calls),
        facts=loaded.facts,
        pool=pool,
    )


def score_all(
    direction: Score, x: Series, y: Labels, device: torch.device, *, title: str | None = None
) -> Tensor:
    """The score of every series, (n,), on the CPU; `title` as of `Progress`."""
    scores = []
    with Progress(title, len(y), "series") as bar:
        for a, b in zip(x.split(SCORE_BATCH), y.split(SCORE_BATCH), strict=True):
            scores.append(direction.score(a.to(device), b.to(device)).cpu())
            bar.update(len(b))
    return torch.cat(scores)


def _mean(scores: Tensor) -> float:
    return winsorised_mean(scores) if len(scores) else 0.0
