"""The strength that rows unknown to G support, by cross-validation on the guide of the pool.

For every w of a grid: G of four fifths of the guidance rows tilts the unguided series, the guide is
refitted on the tilted series, and its loss on the remaining fifth is compared with that of equal
weights. Folds are of patients. The selection rows are further folds, for G of all guidance rows.
What G owes to chance cannot lower the loss of patients it has not seen, so the curve turns where
the tilt follows noise or goes too far. The strength has the lowest upper bound, change plus
standard error: the less sure G is, the less is asked for, and 0 where no bound is below 0. One
standard error lets a useless tilt pass in 16 % of cases at one strength, nominally; docs/method.md
has trials of the whole rule. No generation and no downstream model takes part: seconds.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from data_preprocess.dataset import patient_strata
from tardiff.guidance.pool_selection import tilted_weights
from tardiff.influence.boosted_guide import BoostedGuide
from tardiff.influence.convex_guide import ConvexGuide, LabelledDesign
from tardiff.influence.guidance_losses import GuidanceLoss

GRID = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5)
FOLDS, REPEATS = 5, 2


# A model of unguided series that can be refitted on a tilted set of them.
PoolModel = ConvexGuide | BoostedGuide


@dataclass(frozen=True, kw_only=True)
class AutoStrength:
    """The strength and the prediction that it rests on.

    Attributes:
        w: chosen; 0 where no strength lowers the loss by more than its standard error, or fewer
            than FOLDS patients have a class: with two or three folds chance alone asks for much.
        change: predicted change of the guidance loss at `w`; negative is better.
        error: standard error of `change`.
        grid, changes, errors: the whole curve.
        loss: the guidance loss of the guide without tilt, on the guidance rows.
    """

    w: float
    change: float
    error: float
    grid: list[float]
    changes: list[float]
    errors: list[float]
    loss: float

    def line(self) -> str:
        """One line for the terminal."""
        if not self.grid:
            return (
                f"strength: w = 0, since the guidance rows cannot be cut into {FOLDS} parts with "
                "patients of every class, to test a strength on: nothing is guided"
            )
        if self.w == 0:
            return (
                "strength: w = 0, since no tilt lowers the guidance loss of rows that G has not "
                "seen by more than its standard error: nothing is guided"
            )
        return f"strength: w = {self.w:g}; {self._prediction()}"

    def line_beside(self, auto: "AutoStrength") -> str:
        """One line for a strength that was asked for by number."""
        return (
            f"strength: w = {self.w:g} as asked, auto would take {auto.w:g}; {self._prediction()}"
        )

    def _prediction(self) -> str:
        return (
            "predicted change of the guidance loss of a retrained model "
            f"{self.change:+.4f} +- {self.error:.4f} ({self.loss:.4f} without guidance)"
        )

    def at(self, w: float) -> "AutoStrength | None":
        """The prediction for another strength, between points of the grid; None beyond its end."""
        if not self.grid or not 0 <= w <= self.grid[-1]:
            return None
        curves = ([0.0, *self.changes], [0.0, *self.errors])
        change, error = (float(np.interp(w, [0.0, *self.grid], curve)) for curve in curves)
        return replace(self, w=w, change=change, error=error)


def cross_validated_strength(
    guide: PoolModel,
    guidance: LabelledDesign,
    loss: GuidanceLoss,
    *,
    select: LabelledDesign | None = None,
    seed: int,
) -> AutoStrength:
    """The strength for `guide`, a model of the unguided series.

    Args:
        guidance: the guidance rows.
        select: rows of the same population that G never sees.
        seed: of the folds.
    """
    rng = np.random.default_rng(seed)
    repeats = [_fold_changes(guide, guidance, select, loss, rng) for _ in range(REPEATS)]
    folds, value = min(map(len, repeats)), guide.loss_on(guidance, loss)
    if folds < FOLDS:  # a class has too few patients to leave some out
        none: dict[str, Any] = {"grid": [], "changes": [], "errors": []}
        return AutoStrength(w=0.0, change=0.0, error=0.0, loss=value, **none)
    changes, errors = _mean_and_error(np.stack([found[:folds] for found in repeats]))
    bounds = changes + errors
    best = int(bounds.argmin())
    supported = bounds[best] < 0
    return AutoStrength(
        w=GRID[best] if supported else 0.0,
        change=float(changes[best]) if supported else 0.0,
        error=float(errors[best]) if supported else 0.0,
        grid=list(GRID),
        changes=changes.tolist(),
        errors=errors.tolist(),
        loss=value,
    )


def _mean_and_error(
    repeats: Float[np.ndarray, "repeat fold w"],
) -> tuple[Float[np.ndarray, " w"], Float[np.ndarray, " w"]]:
    """Of all folds, of which the first FOLDS are of left-out guidance rows.

    Those share the rows that G comes from, so the spread between them tells too little: the
    variance of their mean is (1 / K + 1 / (K - 1)) times that of one (Nadeau and Bengio 2003). The
    selection folds test one and the same G. Another partition of the same rows is no further
    evidence.
    """
    folds = repeats.shape[1]
    shared = FOLDS**2 / (FOLDS - 1)
    errors = (repeats.var(1, ddof=1).mean(0) * (folds + shared)) ** 0.5 / folds
    return repeats.mean((0, 1)), errors


def _fold_changes(
    guide: PoolModel,
    guidance: LabelledDesign,
    select: LabelledDesign | None,
    loss: GuidanceLoss,
    rng: np.random.Generator,
) -> np.ndarray:
    """(fold, w) change of the loss on rows that the tilt has not seen, in folds of about one
    size; none where the guidance rows cannot be cut into FOLDS that have every class."""
    parts, changes = _folds(guidance, FOLDS, loss, rng), []
    if len(parts) < FOLDS:
        return np.array(changes)
    for left_out in parts:
        changes += _changes(guide, guidance.where(~left_out), [guidance.where(left_out)], loss)
    if select is not None:
        most = max(1, round(FOLDS * len(select.y) / len(guidance.y)))
        unseen = [select.where(part) for part in _folds(select, most, loss, rng)]
        changes += _changes(guide, guidance, unseen, loss)
    return np.array(changes)


def _changes(
    guide: PoolModel, known: LabelledDesign, unseen: list[LabelledDesign], loss: GuidanceLoss
) -> list[list[float]]:
    """Of the loss on each of the `unseen` rows, by a tilt of every strength of the grid, G being
    that of the `known` rows; the head responds to the tilt as a retrained model would."""
    scores = guide.influence_on(known, loss)
    tilts = (tilted_weights(scores, guide.y, guide.response * w) for w in GRID)
    heads, found = [guide.refitted(weights) for weights in tilts], []
    for rows in unseen:
        before = guide.loss_on(rows, loss)
        found.append([guide.loss_on(rows, loss, head) - before for head in heads])
    return found


def _folds(
    rows: LabelledDesign, most: int, loss: GuidanceLoss, rng: np.random.Generator
) -> list[Bool[Tensor, " n"]]:
    """The rows of every fold: `most` of them, or fewer if only so each has every class; none if a
    class has no row. All rows of a patient are in one, every class is spread evenly."""
    if len(rows.y.unique()) < loss.num_classes:
        return []
    member, strata = patient_strata(rows.subject_ids, rows.y.numpy())
    for count in range(most, 0, -1):
        folds = np.zeros_like(strata)
        for label in np.unique(strata):
            mine = rng.permutation(np.flatnonzero(strata == label))
            folds[mine] = np.arange(len(mine)) % count
        parts = [torch.from_numpy(folds[member] == fold) for fold in range(count)]
        if all(len(rows.y[part].unique()) == loss.num_classes for part in parts):
            return parts
    return []
