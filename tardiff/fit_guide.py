"""The convex guide of unguided series as a file, to be sent to the custodian of guidance rows.

`python -m tardiff.fit_guide [config.yaml] [out=guide.pt]`, where the generator is. The file holds
what the guide sees of synthetic series and the normaliser (quantiles and extremes of the training
values), and no real series.
"""

import logging
from pathlib import Path

from configs.cli import run_stage
from configs.run_record import record_stage, run_dir
from configs.schema.experiment import ExperimentConfig
from tardiff.from_config import load, pool_guide, session_of
from tardiff.guidance.guide_file import GuideFile, save_guide

log = logging.getLogger(__name__)


def main(config: ExperimentConfig) -> None:
    """Writes the file of `export.path`."""
    content = fitted_guide(config)
    path = Path(config.export.path) if config.export.path else run_dir(config) / "guide.pt"
    save_guide(path, content)
    told = {"pool_rows": len(content.fitted.guide.y), "path": str(path)}
    record_stage(config, "guide", told)
    log.info(
        "%s: a guide of %d unguided series; the custodian of the guidance rows adds their G with "
        "`python -m tardiff.export_guidance <config.yaml> export.guide=%s export.rows=<rows.npz> "
        "out=<file>`",
        path,
        told["pool_rows"],
        path.name,
    )


def fitted_guide(config: ExperimentConfig) -> GuideFile:
    """The guide of the configured generator's unguided series."""
    loaded = load(config)
    session = session_of(loaded)
    fitted = pool_guide(config, loaded.splits, loaded.device, session.guide_series())
    session.forget()
    train = loaded.splits.train
    return GuideFile(
        fitted=fitted,
        inputs=tuple(config.classifier.inputs),
        feature_names=train.feature_names,
        label_names=train.label_names,
        length=train.length,
        normaliser=loaded.splits.normaliser,
        with_guide=loaded.model.with_guide,
    )


if __name__ == "__main__":
    run_stage(main)
