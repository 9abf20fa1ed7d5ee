"""From a configuration to influence: classifier, guidance rows and settings, all checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from classifier.checkpoint import load_classifier
from classifier.losses import per_sample_loss
from classifier.train import checkpoint_path
from configs.run_record import run_dir, sha256_file
from configs.runtime.errors import ConfigError, MissingInputError
from configs.schema.experiment import ExperimentConfig
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import encode
from data_preprocess.splits import Splits
from tardiff.guidance.directions import Direction, EnsembleDirection
from tardiff.guidance.exported_gradient import load_guidance, require_usable
from tardiff.influence.gradient_cache import (
    InfluenceSettings,
    LabelledSeries,
    build_influence,
    guide_vector,
    preconditioned,
)
from tardiff.influence.input_gradient import InfluenceDirection


@dataclass(frozen=True)
class InfluenceInputs:
    """What an influence is made of, besides its settings."""

    config: ExperimentConfig
    splits: Splits
    device: torch.device

    def series(self, dataset: EHRDataset) -> LabelledSeries:
        """A set in model space."""
        x = encode(self.splits.normaliser, dataset)
        return LabelledSeries(x, torch.from_numpy(dataset.labels))

    def classifier(self) -> nn.Module:
        """The trained classifier of stage 2, refused if it belongs to other data."""
        return self._load(checkpoint_path(self.config))

    def _load(self, path: Path) -> nn.Module:
        return load_classifier(path, self.splits, allow=self.config.classifier.model).model

    def vector(
        self, classifier: nn.Module, settings: InfluenceSettings
    ) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """G, preconditioned as configured: that of `influence.vector` if a file is named there,
        else of the guidance rows, val_guide (from the cache if it is there)."""
        if self.config.influence.vector is not None:
            return self._imported(classifier, settings, Path(self.config.influence.vector))
        return guide_vector(
            classifier,
            self.series(self.splits.val_guide),
            self.series(self.splits.train),
            settings,
            num_classes=self.splits.train.num_classes,
            seed=self.config.seed,
            cache=run_dir(self.config) / "influence",
        )

    def _imported(
        self, classifier: nn.Module, settings: InfluenceSettings, path: Path
    ) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        given = load_guidance(path)
        require_usable(path, given, classifier, self.splits, settings)
        train = self.series(self.splits.train)
        vector, solved = preconditioned(classifier, given.vector, train, settings, self.config.seed)
        facts = {"guidance_loss": given.guidance_loss, "guidance_rows": given.rows}
        return vector, facts | {"imported": str(path), "privacy": given.privacy, **solved}

    def along(self, classifier: nn.Module, vector: dict[str, torch.Tensor]) -> InfluenceDirection:
        """The influence of series on what `vector` is the gradient of."""
        return build_influence(classifier, vector, per_sample_loss, device=self.device)

    def direction(self, settings: InfluenceSettings) -> tuple[Direction, dict[str, Any]]:
        """Influence on the guidance rows, and facts of its computation; with several
        `influence.checkpoints`, the mean over them, each with its own G."""
        members, facts = [], []
        for path in influence_checkpoints(self.config):
            classifier = self._load(path)
            vector, known = self.vector(classifier, settings)
            members.append(self.along(classifier, vector))
            facts.append(known)
        if len(members) == 1:
            return members[0], facts[0]
        return EnsembleDirection(members), {"members": facts}


def influence_checkpoints(config: ExperimentConfig) -> list[Path]:
    """The files of `influence.checkpoints`.

    Raises:
        ConfigError: none, or several with an exported G, which is of one classifier.
        MissingInputError: no checkpoint was kept.
    """
    folder = checkpoint_path(config).parent
    found: list[Path] = []
    for item in config.influence.checkpoints:
        kept = sorted(folder.glob("epoch_*.ckpt")) if item == "kept" else None
        if kept == []:
            raise MissingInputError(
                f"influence.checkpoints=[kept]: {folder} holds no epoch_*.ckpt; train with "
                "`bash classifier/train.sh <config.yaml> classifier.keep_checkpoints=5`"
            )
        found += kept or [Path(item) if item.endswith(".ckpt") else folder / f"{item}.ckpt"]
    if not found or (len(found) > 1 and config.influence.vector is not None):
        raise ConfigError(
            f"influence.checkpoints={config.influence.checkpoints}: expected at least "
            "one, and exactly one beside influence.vector"
        )
    return found


def guidance_files(config: ExperimentConfig) -> list[str]:
    """SHA-256 of every file that decides what guidance climbs: classifiers and an imported G."""
    if config.guidance.kind == "classifier" and config.compat == "none":
        return [sha256_file(checkpoint_path(config))]
    vector = config.influence.vector
    paths = [*influence_checkpoints(config), *([] if vector is None else [Path(vector)])]
    return [sha256_file(path) for path in paths]


def configured_settings(config: ExperimentConfig) -> InfluenceSettings:
    """The settings of the influence section."""
    influence = config.influence
    return InfluenceSettings(
        guidance_loss=influence.guidance_loss,
        classes=influence.classes,
        preconditioner=influence.preconditioner,
        damping=influence.damping,
        cg_iterations=influence.cg_iterations,
        preconditioner_rows=influence.preconditioner_rows,
    )
