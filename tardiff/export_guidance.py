"""For the data custodian: G as one file, so that the guidance rows need not leave.

`python -m tardiff.export_guidance [config.yaml] [out=g.pt] [export.guide=guide.pt]
[export.rows=rows.npz]`. Stage 3 elsewhere uses the file alone: `influence.vector=g.pt`. With
`export.epsilon` the file is differentially private; docs/method.md says with respect to what.
"""

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from configs.cli import run_stage
from configs.run_record import record_stage, run_dir
from configs.runtime.errors import ConfigError, DataError
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import load_splits
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.storage.dataset_files import load_dataset
from tardiff.fit_guide import fitted_guide
from tardiff.guidance.guide_file import (
    Export,
    load_guide,
    require_same_layout,
    save_guide,
)
from tardiff.guidance.pool_estimate import PoolGuide, convex_estimate
from tardiff.influence.convex_guide import Head, LabelledDesign
from tardiff.influence.dp_gradient import clipped_sum, gradient_norms
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.privacy.noise import add_noise, noise_multiplier, require_patients

log = logging.getLogger(__name__)

SEPARABLE = ("nll", "balanced")  # sums over series whose weights depend on class counts alone
REPLACE = {
    "any": "one patient's series replaced by any other; the number of patients is public",
    "same label": "one patient's series replaced by another of the same label; the labels, and so "
    "the number of patients of each class, are public",
}


def main(config: ExperimentConfig) -> None:
    """Writes the file of `export.path`."""
    given = config.export
    path = None if given.guide is None else Path(given.guide)
    content = fitted_guide(config) if path is None else load_guide(path)
    if given.epsilon is not None and content.with_guide:
        raise ConfigError(
            "export.epsilon with diffusion.include_guide: the generator was trained on the "
            "guidance rows, so its series, which go into the file, are not free of them"
        )
    guide, select = _rows(config)
    require_same_layout(path or "of these data", content, guide)
    rows = guide if given.epsilon is None else _one_per_patient(guide)
    guidance = EncodedSeries.of(rows, content.normaliser)
    influence = config.influence
    loss = GuidanceLoss(influence.guidance_loss, guide.num_classes, influence.classes)
    fitted = content.fitted
    if given.epsilon is None:
        unseen = None if select is None else EncodedSeries.of(select, content.normaliser)
        strength = convex_estimate(fitted, guidance, unseen, loss, seed=config.seed).strength()
        gradient, privacy = fitted.guide.gradient(fitted.design(guidance), loss), None
    else:
        gradient, privacy = _private(config, fitted, guidance, loss)
        strength = None
    export = Export(
        gradient=gradient,
        guidance_loss=loss.kind,
        classes=None if loss.classes is None else list(loss.classes),
        rows=len(guidance.y),
        strength=strength,
        privacy=privacy,
    )
    written = Path(given.path) if given.path else run_dir(config) / "guidance.pt"
    save_guide(written, dataclasses.replace(content, export=export))
    told = {"rows": export.rows, "guidance_loss": loss.kind, "privacy": export.privacy}
    record_stage(config, "export", told | {"path": str(written)})
    log.info("%s: G of %d guidance rows, %s", written, export.rows, _promise(export))


def _rows(config: ExperimentConfig) -> tuple[EHRDataset, EHRDataset | None]:
    """Guidance rows, and selection rows where the splits have them; with `export.rows`, no split
    is read.

    Raises:
        DataError: there is no guidance row.
    """
    if config.export.rows is None:
        splits = load_splits(config.data)
        guide, select = splits.val_guide, splits.val_select
    else:
        guide, select = load_dataset(Path(config.export.rows)), None
    if not len(guide):
        raise DataError("the guidance set is empty")
    return guide, select


def _one_per_patient(guide: EHRDataset) -> EHRDataset:
    """The first series of every patient, so that a promise per series is one per patient."""
    require_patients(guide.subject_ids, "export.epsilon")
    first = np.sort(np.unique(guide.subject_ids, return_index=True)[1])
    if len(first) < len(guide):
        log.info("%d further stays of the same patients left out", len(guide) - len(first))
    return guide.take(first)


def _private(
    config: ExperimentConfig, fitted: PoolGuide, guidance: EncodedSeries, loss: GuidanceLoss
) -> tuple[Head, dict[str, Any]]:
    """G with bounded contributions and noise, and what that promises."""
    given = config.export
    assert given.epsilon is not None
    if loss.kind not in SEPARABLE:
        raise ConfigError(
            f"export.epsilon with influence.guidance_loss={config.influence.guidance_loss} "
            f"({loss.kind}): its gradient is no sum over series, so no series' part of it can be "
            "bounded; use influence.guidance_loss=balanced or nll"
        )
    guide = fitted.guide
    # The bound comes from the synthetic series, which need no protection.
    clip = float(gradient_norms(LabelledDesign(guide.rows, guide.y), guide.theta).median())
    weights = loss.row_weights(guidance.y)
    found = clipped_sum(fitted.design(guidance), guide.theta, weights=weights, clip=clip)
    log.info("%.1f %% of the series clipped (keep this number)", 100 * found.share_clipped)
    sd = noise_multiplier(given.epsilon, given.delta) * found.sensitivity
    any_label = loss.kind == "nll" and loss.classes is None
    return add_noise(found.gradient, sd), {
        "epsilon": given.epsilon,
        "delta": given.delta,
        "clip": clip,
        "noise_sd": sd,
        "sensitivity": found.sensitivity,
        "neighbours": REPLACE["any" if any_label else "same label"],
        "accountant": "dp-accounting, one release of the Gaussian mechanism",
    }


def _promise(export: Export) -> str:
    if export.privacy is None:
        assert export.strength is not None
        line = export.strength.line()
        return f"no noise: it may give away facts about single patients. {line}"
    return (
        f"({export.privacy['epsilon']:g}, {export.privacy['delta']:g})-differentially private for "
        f"{export.privacy['neighbours']}; every further file of the same rows adds to epsilon"
    )


if __name__ == "__main__":
    run_stage(main)
