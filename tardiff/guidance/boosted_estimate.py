"""BoostedEstimate: boosted trees of unguided series with the G of the guidance rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from classifier.fixed_features import summary_features
from classifier.input_adapter import input_parts
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.storage.content_cache import array_fingerprint
from tardiff.guidance.auto_strength import AutoStrength, cross_validated_strength
from tardiff.influence.boosted_guide import (
    BoostedGuide,
    BoostedInfluence,
    LeafGradients,
    fit_boosted_guide,
)
from tardiff.influence.convex_guide import LabelledDesign
from tardiff.influence.guidance_losses import GuidanceLoss


@dataclass(frozen=True, kw_only=True)
class BoostedEstimate:
    """What estimates influence, and predicts how much of it to ask for.

    Attributes:
        guide: of the unguided series.
        guidance, select: guidance and selection rows.
        seed: of the folds.
    """

    guide: BoostedGuide
    guidance: LabelledDesign
    select: LabelledDesign
    loss: GuidanceLoss
    seed: int

    @cached_property
    def direction(self) -> BoostedInfluence:
        """Influence on the guidance loss of all guidance rows."""
        return BoostedInfluence(self.guide, self._leaf_gradients)

    @property
    def of_pool(self) -> Float[Tensor, " n"]:
        """Influence of the series that the guide was trained on."""
        return self.guide.influence_of(self.guide.rows, self.guide.y, self._leaf_gradients)

    @property
    def key(self) -> dict[str, Any]:
        """All that decides the influence; JSON-able."""
        return {"boosted": array_fingerprint(self.guide.head.numpy(), self._leaf_gradients.numpy())}

    @property
    def facts(self) -> dict[str, Any]:
        """What the card of a set says of its guide."""
        return {
            "estimator": "boosted",
            **self.loss.to_plain(),
            "guidance_rows": len(self.guidance.y),
            "pool_rows": len(self.guide.y),
            "trees": self.guide.rows.shape[1] * self.guide.rows.shape[2],
        }

    def strength(self) -> AutoStrength:
        """What rows unknown to G support; takes seconds."""
        return cross_validated_strength(
            self.guide, self.guidance, self.loss, select=self.select, seed=self.seed
        )

    @cached_property
    def _leaf_gradients(self) -> LeafGradients:
        return self.guide.leaf_gradients(self.guidance, self.loss)


def boosted_estimate(
    pool: EncodedSeries,
    guidance: EncodedSeries,
    select: EncodedSeries,
    loss: GuidanceLoss,
    normaliser: Normaliser,
    *,
    inputs: Sequence[str],
    seed: int,
) -> BoostedEstimate:
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
    rows = (
        LabelledDesign(guide.design(part.x), part.y, part.subject_ids)
        for part in (guidance, select)
    )
    return BoostedEstimate(
        guide=guide, guidance=next(rows), select=next(rows), loss=loss, seed=seed
    )
