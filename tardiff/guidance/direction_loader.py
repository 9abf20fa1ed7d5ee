"""From artefacts to a direction of guidance: classifiers and guidance rows, loaded and checked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from classifier.checkpoint import load_classifier
from classifier.losses import per_sample_loss
from classifier.models.source_code import own_source
from configs.run_record import sha256_file
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.splits import Splits
from data_preprocess.storage.content_cache import array_fingerprint
from tardiff.guidance.directions import ClassifierDirection, Score
from tardiff.influence.gradient_cache import InfluenceSettings, guide_vector
from tardiff.influence.input_gradient import InfluenceDirection


@dataclass(frozen=True, kw_only=True)
class LoadedDirection:
    """What guidance raises, with its origin.

    Attributes:
        direction: a Direction where the sampler can be pushed.
        key: all that decides the direction; JSON-able.
        score: what its score is, "influence" or "log p(label)".
        facts: of the guidance gradient (loss, rows, norms, residual).
    """

    direction: Score
    key: dict[str, Any]
    score: str = "influence"
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class DirectionLoader:
    """What an influence is made of.

    Attributes:
        trained: checkpoint of the classifier of stage 2.
        allowed_model: class that a checkpoint may name although it is not of this project.
        seed: of the rows that define the preconditioner.
        cache: folder of guidance gradients; None: each is computed anew.
    """

    splits: Splits
    device: torch.device
    trained: Path
    allowed_model: str
    seed: int
    cache: Path | None
    settings: InfluenceSettings

    def series(self, dataset: EHRDataset) -> EncodedSeries:
        """A set in model space."""
        return EncodedSeries.of(dataset, self.splits.normaliser)

    def classifier(self) -> nn.Module:
        """The trained classifier of stage 2, refused if it belongs to other data."""
        return load_classifier(self.trained, self.splits, allow=self.allowed_model)

    def vector(self, classifier: nn.Module) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """G of the guidance rows, val_guide, preconditioned as configured (from the cache if it is
        there)."""
        return guide_vector(
            classifier,
            self.series(self.splits.val_guide),
            self.series(self.splits.train),
            self.settings,
            num_classes=self.splits.train.num_classes,
            seed=self.seed,
            cache=self.cache,
            source=own_source(self.allowed_model),
        )

    def along(self, classifier: nn.Module, vector: dict[str, Tensor]) -> InfluenceDirection:
        """The influence of series on what `vector` is the gradient of."""
        return InfluenceDirection(classifier.to(self.device), per_sample_loss, vector)

    def direction(self) -> LoadedDirection:
        """Influence on the guidance rows."""
        classifier = self.classifier()
        vector, facts = self.vector(classifier)
        parts = [part.cpu().numpy() for _, part in sorted(vector.items())]
        key = {"influence": [*self._origin(), array_fingerprint(*parts)]}
        return LoadedDirection(direction=self.along(classifier, vector), key=key, facts=facts)

    def likelihood(self) -> LoadedDirection:
        """log p(label) of the trained classifier: plain classifier guidance."""
        direction = ClassifierDirection(self.classifier().to(self.device), per_sample_loss)
        return LoadedDirection(
            direction=direction, key={"classifier": self._origin()}, score="log p(label)"
        )

    def _origin(self) -> list[str]:
        source = own_source(self.allowed_model)
        return [sha256_file(self.trained), *([source] if source else [])]
