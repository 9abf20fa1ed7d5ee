"""From artefacts to a direction of guidance: classifiers and guidance rows, loaded and checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from classifier.checkpoint import load_classifier
from classifier.losses import per_sample_loss
from configs.run_record import sha256_file
from configs.runtime.errors import ConfigError, MissingInputError
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import encode
from data_preprocess.splits import Splits
from data_preprocess.storage.content_cache import array_fingerprint
from tardiff.guidance.directions import ClassifierDirection, Direction, EnsembleDirection
from tardiff.guidance.exported_gradient import load_guidance, require_usable
from tardiff.influence.gradient_cache import (
    InfluenceSettings,
    LabelledSeries,
    build_influence,
    guide_vector,
    preconditioned,
)
from tardiff.influence.input_gradient import InfluenceDirection


class LoadedDirection(NamedTuple):
    """A direction with its origin.

    Attributes:
        score: what its score is, "influence" or "log p(label)".
        facts: of the guidance gradient (loss, rows, norms, residual).
        key: all that decides the direction; JSON-able.
    """

    direction: Direction
    score: str
    facts: dict[str, Any]
    key: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DirectionLoader:
    """What an influence is made of, besides its settings.

    Attributes:
        trained: checkpoint of the classifier of stage 2.
        checkpoints: of the classifiers whose influences are averaged.
        allowed_model: class that a checkpoint may name although it is not of this project.
        exported: file of a G that is used instead of the guidance rows.
        seed: of the rows that define the preconditioner.
        cache: folder of guidance gradients.
    """

    splits: Splits
    device: torch.device
    trained: Path
    checkpoints: Sequence[Path]
    allowed_model: str
    exported: Path | None
    seed: int
    cache: Path

    def series(self, dataset: EHRDataset) -> LabelledSeries:
        """A set in model space."""
        x = encode(self.splits.normaliser, dataset)
        return LabelledSeries(x, torch.from_numpy(dataset.labels))

    def classifier(self) -> nn.Module:
        """The trained classifier of stage 2, refused if it belongs to other data."""
        return self._load(self.trained)

    def _load(self, path: Path) -> nn.Module:
        return load_classifier(path, self.splits, allow=self.allowed_model).model

    def vector(
        self, classifier: nn.Module, settings: InfluenceSettings
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """G, preconditioned as configured: that of `exported` if there is one, else of the guidance
        rows, val_guide (from the cache if it is there)."""
        if self.exported is not None:
            return self._imported(classifier, settings, self.exported)
        return guide_vector(
            classifier,
            self.series(self.splits.val_guide),
            self.series(self.splits.train),
            settings,
            num_classes=self.splits.train.num_classes,
            seed=self.seed,
            cache=self.cache,
        )

    def _imported(
        self, classifier: nn.Module, settings: InfluenceSettings, path: Path
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        given = load_guidance(path)
        require_usable(path, given, classifier, self.splits, settings)
        train = self.series(self.splits.train)
        vector, solved = preconditioned(classifier, given.vector, train, settings, self.seed)
        facts = {"guidance_loss": given.guidance_loss, "guidance_rows": given.rows}
        return vector, facts | {"imported": str(path), "privacy": given.privacy, **solved}

    def along(self, classifier: nn.Module, vector: dict[str, Tensor]) -> InfluenceDirection:
        """The influence of series on what `vector` is the gradient of."""
        return build_influence(classifier, vector, per_sample_loss, device=self.device)

    def direction(self, settings: InfluenceSettings) -> LoadedDirection:
        """Influence on the guidance rows; with several checkpoints, the mean over them, each with
        its own G."""
        members, facts, keys = [], [], []
        for path in self.checkpoints:
            classifier = self._load(path)
            vector, known = self.vector(classifier, settings)
            members.append(self.along(classifier, vector))
            facts.append(known)
            parts = [part.cpu().numpy() for _, part in sorted(vector.items())]
            keys.append([sha256_file(path), array_fingerprint(*parts)])
        direction = members[0] if len(members) == 1 else EnsembleDirection(members)
        told = facts[0] if len(facts) == 1 else {"members": facts}
        return LoadedDirection(direction, "influence", told, {"influence": keys})

    def likelihood(self) -> LoadedDirection:
        """log p(label) of the trained classifier: plain classifier guidance."""
        direction = ClassifierDirection(self.classifier().to(self.device), per_sample_loss)
        key = {"classifier": sha256_file(self.trained)}
        return LoadedDirection(direction, "log p(label)", {}, key)


def influence_checkpoints(names: Sequence[str], best: Path, *, exported: bool) -> list[Path]:
    """The files of `influence.checkpoints`.

    Args:
        names: "best", "kept" or paths of .ckpt files.
        best: the checkpoint of the trained classifier; the others are beside it.
        exported: a G from a file is used.

    Raises:
        ConfigError: none, or several with an exported G, which is of one classifier.
        MissingInputError: no checkpoint was kept.
    """
    found: list[Path] = []
    for name in names:
        kept = sorted(best.parent.glob("epoch_*.ckpt")) if name == "kept" else None
        if kept == []:
            raise MissingInputError(
                f"influence.checkpoints=[kept]: {best.parent} holds no epoch_*.ckpt; train with "
                "`bash classifier/train.sh <config.yaml> classifier.keep_checkpoints=5`"
            )
        found += kept or [Path(name) if name.endswith(".ckpt") else best.parent / f"{name}.ckpt"]
    if not found or (len(found) > 1 and exported):
        raise ConfigError(
            f"influence.checkpoints={list(names)}: expected at least one, and exactly one beside "
            "influence.vector"
        )
    return found
