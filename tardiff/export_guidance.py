"""For the data custodian: G as one file, so that the guidance rows need not leave.

`python -m tardiff.export_guidance [config.yaml] [out=path] [export.guide=rows.npz]`. Stage 3
elsewhere uses the file alone: `influence.vector=path`. With `export.clip` and `export.epsilon`
the file is differentially private; docs/method.md says with respect to what.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classifier.checkpoint import LoadedClassifier, load_classifier
from classifier.losses import per_sample_loss
from classifier.train import checkpoint_path
from configs.cli import run_stage
from configs.run_record import record_stage, run_dir
from configs.runtime.errors import ConfigError, DataError, MismatchError
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import load_splits
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import encode
from data_preprocess.storage.dataset_files import load_dataset
from tardiff.guidance.exported_gradient import GuidanceFile, save_guidance
from tardiff.influence.dp_gradient import add_noise, clipped_sum, noise_multiplier
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.parameter_space import weights_sha256

log = logging.getLogger(__name__)

SEPARABLE = ("nll", "balanced")  # sums over series whose weights depend on class counts alone
REPLACE = {
    "any": "one patient's series replaced by any other; the number of series is public",
    "same label": "one patient's series replaced by another of the same label; the number of "
    "series of each class is public",
}


@dataclass(frozen=True)
class Custody:
    """What the custodian of the guidance rows has."""

    classifier: LoadedClassifier
    guide: EHRDataset


def main(config: ExperimentConfig) -> None:
    """Writes the file of `export.path`."""
    given = config.export
    custody = _custody(config)
    influence = config.influence
    loss = GuidanceLoss(influence.guidance_loss, custody.guide.num_classes, influence.classes)
    _require_separable(config, loss.kind)
    rows = _one_per_patient(custody.guide) if given.epsilon is not None else custody.guide
    if not len(rows):
        raise DataError("the guidance set is empty")
    content = _content(config, Custody(custody.classifier, rows), loss)
    path = Path(given.path) if given.path else run_dir(config) / "guidance_gradient.pt"
    save_guidance(path, content)
    told = {"rows": content.rows, "guidance_loss": loss.kind, "clip": given.clip}
    record_stage(config, "export", told | {"privacy": content.privacy, "path": str(path)})
    log.info("%s: G of %d guidance rows, %s", path, content.rows, _promise(content.privacy))


def _custody(config: ExperimentConfig) -> Custody:
    """Classifier and guidance rows; with `export.guide`, no split is read."""
    checkpoint, allow = checkpoint_path(config), config.classifier.model
    if config.export.guide is None:
        splits = load_splits(config.data)
        return Custody(load_classifier(checkpoint, splits, allow=allow), splits.val_guide)
    classifier = load_classifier(checkpoint, allow=allow)
    guide = load_dataset(Path(config.export.guide))
    for name in ("feature_names", "label_names", "length"):
        trained, found = getattr(classifier, name), getattr(guide, name)
        if trained != found:
            raise MismatchError(
                f"{config.export.guide}: {name} is {found}, but the classifier {checkpoint} was "
                f"trained with {trained}"
            )
    return Custody(classifier, guide)


def _require_separable(config: ExperimentConfig, kind: str) -> None:
    given = config.export
    if given.epsilon is not None and given.clip is None:
        raise ConfigError(
            "export.epsilon needs export.clip, the bound of a series' gradient norm: choose it "
            "from series that need no protection, for example the gradient norms of train in the "
            "influence report"
        )
    if given.clip is not None and kind not in SEPARABLE:
        raise ConfigError(
            f"export.clip with influence.guidance_loss={config.influence.guidance_loss} ({kind}): "
            "its gradient is no sum over series, so no series' part of it can be bounded; use "
            "influence.guidance_loss=balanced or nll"
        )


def _one_per_patient(guide: EHRDataset) -> EHRDataset:
    """The first series of every patient, so that a promise per series is one per patient."""
    if (guide.subject_ids < 0).any():
        raise DataError(
            "export.epsilon: the guidance rows do not say which patient they are of "
            "(subject_ids of -1), so no patient can be promised anything"
        )
    first = np.sort(np.unique(guide.subject_ids, return_index=True)[1])
    if len(first) < len(guide):
        log.info("%d further stays of the same patients left out", len(guide) - len(first))
    return guide.take(first)


def _content(config: ExperimentConfig, custody: Custody, loss: GuidanceLoss) -> GuidanceFile:
    classifier, given = custody.classifier, config.export
    x = encode(classifier.normaliser, custody.guide)
    y = torch.from_numpy(custody.guide.labels)
    privacy = None
    if given.clip is None:
        vector = guidance_gradient(classifier.model, x, y, loss)
    else:
        vector, privacy = _clipped(config, custody, x, y, loss)
    return GuidanceFile(
        vector={name: part.float() for name, part in vector.items()},
        classifier=weights_sha256(classifier.model),
        feature_names=classifier.feature_names,
        label_names=classifier.label_names,
        length=classifier.length,
        normaliser=classifier.normaliser.fingerprint(),
        guidance_loss=loss.kind,
        classes=loss.classes,
        rows=len(y),
        clip=given.clip,
        privacy=privacy,
    )


def _clipped(
    config: ExperimentConfig, custody: Custody, x: Tensor, y: Tensor, loss: GuidanceLoss
) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    given = config.export
    assert given.clip is not None
    weights = loss.row_weights(y)
    multiplier = None if given.epsilon is None else noise_multiplier(given.epsilon, given.delta)
    found = clipped_sum(
        custody.classifier.model,
        per_sample_loss,
        x,
        y,
        weights=weights,
        clip=given.clip,
        title="clipping",
    )
    log.info("%.1f %% of the series clipped (keep this number)", 100 * found.share_clipped)
    if multiplier is None:
        return found.vector, None
    any_label = loss.kind == "nll" and loss.classes is None
    return add_noise(found.vector, multiplier * found.sensitivity), {
        "epsilon": given.epsilon,
        "delta": given.delta,
        "noise_sd": multiplier * found.sensitivity,
        "sensitivity": found.sensitivity,
        "neighbours": REPLACE["any" if any_label else "same label"],
        "accountant": "dp-accounting, one release of the Gaussian mechanism",
    }


def _promise(privacy: dict[str, Any] | None) -> str:
    if privacy is None:
        return "no noise: it may give away facts about single patients"
    return (
        f"({privacy['epsilon']:g}, {privacy['delta']:g})-differentially private for "
        f"{privacy['neighbours']}; every further file of the same rows adds to epsilon"
    )


if __name__ == "__main__":
    run_stage(main)
