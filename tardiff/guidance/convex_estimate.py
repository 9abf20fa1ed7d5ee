"""ConvexEstimate: a convex guide of unguided series with the G of the guidance rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from classifier.input_adapter import input_parts
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.storage.content_cache import array_fingerprint
from tardiff.guidance.auto_strength import AutoStrength, cross_validated_strength
from tardiff.influence.convex_guide import (
    ConvexGuide,
    ConvexInfluence,
    Head,
    LabelledDesign,
    design,
    fit_guide,
)
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.series_features import SeriesFeatures, fit_features


@dataclass(frozen=True)
class PoolGuide:
    """The convex guide of unguided series, and the features that it sees of a series.

    Attributes:
        features: of model-space series; on the device of the run.
        guide: fitted on the unguided series.
    """

    features: SeriesFeatures
    guide: ConvexGuide

    def design(self, series: EncodedSeries) -> LabelledDesign:
        """What the guide sees of labelled series."""
        return LabelledDesign(design(self.features, series.x), series.y, series.subject_ids)


@dataclass(frozen=True)
class ConvexEstimate:
    """What estimates influence, and predicts how much of it to ask for.

    Attributes:
        fitted: the guide.
        gradient: G, of the guidance rows.
        strength: finds what rows unknown to G support, in seconds; None where nobody may know.
        facts: what G was computed from.
    """

    fitted: PoolGuide
    gradient: Head
    strength: Callable[[], AutoStrength | None]
    facts: dict[str, Any]

    @cached_property
    def heads(self) -> tuple[Head, Head]:
        """theta and v, which decide the direction with the features."""
        guide = self.fitted.guide
        return guide.theta, guide.toward(self.gradient)

    @property
    def of_pool(self) -> Float[Tensor, " n"]:
        """Influence of the series that the guide was trained on."""
        return self.fitted.guide.influence(self.heads[1])

    @property
    def key(self) -> dict[str, Any]:
        """All that decides the influence; JSON-able."""
        return {"convex": array_fingerprint(*(part.numpy() for part in self.heads))}

    @cached_property
    def direction(self) -> ConvexInfluence:
        """Influence on the guidance loss of all guidance rows."""
        return ConvexInfluence(self.fitted.features, *self.heads)


def fit_pool_guide(
    pool: EncodedSeries,
    normaliser: Normaliser,
    *,
    inputs: Sequence[str],
    penalty: float,
    kernels: int,
    num_classes: int,
    seed: int,
    device: torch.device,
) -> PoolGuide:
    """The guide of the unguided series `pool`.

    Args:
        inputs: the parts of a series that it sees, as `classifier.inputs`.
        penalty, kernels: as in configs.schema.experiment.InfluenceConfig.
        seed: of the random convolutions.
    """
    view = partial(input_parts, normaliser=normaliser, parts=inputs)
    features = fit_features(pool.x, view=view, kernels=kernels, seed=seed).to(device)
    rows = design(features, pool.x)
    guide = fit_guide(rows, pool.y, num_classes=num_classes, penalty=penalty)
    return PoolGuide(features, guide)


def estimate_on_rows(
    fitted: PoolGuide,
    guidance: EncodedSeries,
    select: EncodedSeries | None,
    loss: GuidanceLoss,
    *,
    seed: int,
) -> ConvexEstimate:
    """The estimate where the guidance rows are.

    Args:
        guidance, select: guidance and selection rows; without the latter the strength rests on
            left-out guidance rows alone.
        seed: of the folds.
    """
    rows = fitted.design(guidance)
    unseen = None if select is None else fitted.design(select)
    facts = estimate_facts(fitted, loss, len(rows.y))
    return ConvexEstimate(
        fitted,
        fitted.guide.gradient(rows, loss),
        lambda: cross_validated_strength(fitted.guide, rows, loss, select=unseen, seed=seed),
        facts,
    )


def estimate_facts(fitted: PoolGuide, loss: GuidanceLoss, rows: int) -> dict[str, Any]:
    """What the card of a set says of its guide."""
    return {
        "estimator": "convex",
        **loss.to_plain(),
        "guidance_rows": rows,
        "pool_rows": len(fitted.guide.y),
        "features": fitted.guide.rows.shape[1] - 1,
    }
