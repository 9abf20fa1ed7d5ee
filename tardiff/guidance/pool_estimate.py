"""PoolEstimate: a guide of unguided series, convex or boosted, with the G of the guidance rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from classifier.fixed_features import summary_features
from classifier.input_adapter import input_parts
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.storage.content_cache import array_fingerprint
from tardiff.guidance.auto_strength import AutoStrength, cross_validated_strength
from tardiff.guidance.direction_loader import LoadedDirection
from tardiff.influence.boosted_guide import BoostedInfluence, fit_boosted_guide
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


@dataclass(frozen=True, kw_only=True)
class PoolEstimate(LoadedDirection):
    """Influence on the guidance loss of all guidance rows, and how much of it to ask for.

    Attributes:
        of_pool: influence of the series that the guide was trained on.
        strength: finds what rows unknown to G support, in seconds; None where nobody may know.
    """

    of_pool: Callable[[], Float[Tensor, " n"]]
    strength: Callable[[], AutoStrength | None]


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


def convex_estimate(
    fitted: PoolGuide,
    guidance: EncodedSeries,
    select: EncodedSeries | None,
    loss: GuidanceLoss,
    *,
    seed: int,
) -> PoolEstimate:
    """The estimate of a convex guide where the guidance rows are.

    Args:
        guidance, select: guidance and selection rows; None: the strength rests on the first alone.
        seed: of the folds.
    """
    guide, rows = fitted.guide, fitted.design(guidance)
    unseen = None if select is None else fitted.design(select)

    def strength() -> AutoStrength:
        return cross_validated_strength(guide, rows, loss, select=unseen, seed=seed)

    facts = {**loss.to_plain(), "guidance_rows": len(rows.y)}
    return estimate_along(fitted, guide.gradient(rows, loss), strength, facts)


def estimate_along(
    fitted: PoolGuide,
    gradient: Head,
    strength: Callable[[], AutoStrength | None],
    facts: dict[str, Any],
) -> PoolEstimate:
    """The estimate of a convex guide with G.

    Args:
        gradient: G.
        facts: what G was computed from.
    """
    guide, toward = fitted.guide, fitted.guide.toward(gradient)
    of_guide = {"pool_rows": len(guide.y), "features": guide.rows.shape[1] - 1}
    return PoolEstimate(
        direction=ConvexInfluence(fitted.features, guide.theta, toward),
        facts={"estimator": "convex", **facts, **of_guide},
        key={"convex": array_fingerprint(guide.theta.numpy(), toward.numpy())},
        of_pool=lambda: guide.influence(toward),
        strength=strength,
    )


def boosted_estimate(
    pool: EncodedSeries,
    guidance: EncodedSeries,
    select: EncodedSeries,
    loss: GuidanceLoss,
    normaliser: Normaliser,
    *,
    inputs: Sequence[str],
    seed: int,
) -> PoolEstimate:
    """The estimate of boosted trees of the unguided series `pool`.

    Args:
        guidance, select: guidance and selection rows.
        inputs: the parts of a series that the trees see, as `classifier.inputs`.
        seed: of the trees and of the folds.
    """

    def features(x: Tensor) -> Float[np.ndarray, "n feature"]:
        return summary_features(input_parts(x, normaliser, inputs))

    guide = fit_boosted_guide(
        pool.x, pool.y, features=features, num_classes=loss.num_classes, seed=seed
    )
    rows, unseen = (
        LabelledDesign(guide.design(part.x), part.y, part.subject_ids)
        for part in (guidance, select)
    )
    gradients = guide.leaf_gradients(rows, loss)
    return PoolEstimate(
        direction=BoostedInfluence(guide, gradients),
        facts={
            "estimator": "boosted",
            **loss.to_plain(),
            "guidance_rows": len(rows.y),
            "pool_rows": len(guide.y),
            "trees": guide.rows.shape[1] * guide.rows.shape[2],
        },
        key={"boosted": array_fingerprint(guide.head.numpy(), gradients.numpy())},
        of_pool=lambda: guide.influence_of(guide.rows, guide.y, gradients),
        strength=lambda: cross_validated_strength(guide, rows, loss, select=unseen, seed=seed),
    )
