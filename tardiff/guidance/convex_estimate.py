"""ConvexEstimate: the convex guide of unguided series, with the guidance rows it serves."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch

from classifier.input_adapter import input_parts
from data_preprocess.model_space.normaliser import Normaliser
from tardiff.guidance.auto_strength import AutoStrength, cross_validated_strength
from tardiff.influence.convex_guide import (
    ConvexGuide,
    ConvexInfluence,
    Head,
    LabelledDesign,
    design,
    fit_guide,
)
from tardiff.influence.gradient_cache import LabelledSeries
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.series_features import SeriesFeatures


@dataclass(frozen=True, kw_only=True)
class ConvexSettings:
    """Fields as in configs.schema.experiment.InfluenceConfig, and `classifier.inputs`."""

    guidance_loss: str
    classes: Sequence[int] | None
    penalty: float
    kernels: int
    inputs: Sequence[str]


@dataclass(frozen=True)
class ConvexEstimate:
    """What estimates influence, and predicts how much of it to ask for.

    Attributes:
        features: of model-space series; on the device of the run.
        guide: fitted on the unguided series.
        known: the guidance rows.
        select: the selection rows, which G does not see.
        loss: of the guidance rows.
        seed: of the folds of `strength`.
    """

    features: SeriesFeatures
    guide: ConvexGuide
    known: LabelledDesign
    select: LabelledDesign
    loss: GuidanceLoss
    seed: int

    @cached_property
    def heads(self) -> tuple[Head, Head]:
        """theta and v, which decide the direction with the features."""
        return self.guide.theta, self.guide.toward(self.known, self.loss)

    @cached_property
    def direction(self) -> ConvexInfluence:
        """Influence on the guidance loss of all guidance rows."""
        return ConvexInfluence(self.features, *self.heads)

    def strength(self) -> AutoStrength:
        """The strength that rows unknown to G support."""
        return cross_validated_strength(
            self.guide, self.known, self.loss, select=self.select, seed=self.seed
        )

    def facts(self) -> dict[str, Any]:
        """What it was computed from."""
        return {
            "estimator": "convex",
            "guidance_loss": self.loss.kind,
            "guidance_rows": len(self.known.y),
            "pool_rows": len(self.guide.y),
            "features": self.known.rows.shape[1] - 1,
        }


def convex_estimate(
    pool: LabelledSeries,
    guide: LabelledSeries,
    select: LabelledSeries,
    settings: ConvexSettings,
    normaliser: Normaliser,
    *,
    num_classes: int,
    seed: int,
    device: torch.device,
) -> ConvexEstimate:
    """The guide of the unguided series `pool`, which sees what of them a classifier would see.

    Args:
        guide, select: the guidance and the selection rows.
        seed: of the random convolutions and of the folds.
    """
    view = partial(input_parts, normaliser=normaliser, parts=settings.inputs)
    features = SeriesFeatures(pool.x, view=view, kernels=settings.kernels, seed=seed).to(device)
    rows = design(features, pool.x)
    fitted = fit_guide(rows, pool.y, num_classes=num_classes, penalty=settings.penalty)
    loss = GuidanceLoss(settings.guidance_loss, num_classes, settings.classes)
    known, unseen = (LabelledDesign(design(features, s.x), s.y) for s in (guide, select))
    return ConvexEstimate(features, fitted, known, unseen, loss, seed)
