"""The matrix: guidance beside every baseline, on one data split, by one command.

    bash scripts/matrix.sh [config.yaml] [key=value ...]

Stages 1 and 2 run first if they have not. Sets: the whole tuning grid (unguided, every strength,
negative controls), the set that generation.sh would make, the unguided set that is not resampled,
what is to be compared with that one (a push of the sampler, classifier guidance, the paper's
Algorithm 1), and unguided sampling of a generator that was trained on the guidance rows too.
Real-only baselines: guidance rows, these alone, real series by influence, oversampling, class
weights, SMOTE, jitter, scaling, time warp. All are evaluated as evaluate.sh does, into
runs/<experiment>/matrix; the strength marked as chosen was chosen on val_select.
"""

import dataclasses
import logging
from pathlib import Path
from typing import Any

from classifier.train import main as train_classifier
from configs.cli import run_stage
from configs.run_record import read_mapping, run_dir
from configs.schema.experiment import ExperimentConfig
from scripts.evaluate import main as evaluate
from scripts.from_config import changed
from scripts.tune import main as tune
from scripts.tune import sets_folder
from scripts.utility.training_rows import REWEIGHTED
from tardiff.from_config import load
from tardiff.generate import is_current
from tardiff.generate import main as generate
from tardiff.records_from_config import tuning_path
from tardiff.train import main as train_diffusion

WITH_GUIDE = "unguided_with_guide_rows"
AS_SAMPLED = "unguided_as_sampled"
CLASSIFIER_W = 0.5  # of classifier guidance, for which nothing predicts a strength

log = logging.getLogger(__name__)


def main(config: ExperimentConfig) -> None:
    """Writes runs/<experiment>/matrix/, and what it is made of where that is not there yet."""
    others = other_configurations(config)
    train_diffusion(config)
    train_classifier(config)
    tune(config)
    tuned = read_mapping(tuning_path(config))
    sets = [sets_folder(config) / f"{point['set']}.npz" for point in tuned["points"]]
    sets += [_generated(configuration) for configuration in others]
    baselines, paths = list(config.matrix.baselines), [str(path) for path in sets]
    if REWEIGHTED in baselines and config.influence.vector is not None:
        log.info("%s is left out: it needs the guidance rows that the G stands for", REWEIGHTED)
        baselines.remove(REWEIGHTED)
    asked = {"dir": "matrix", "synthetic": paths, "baselines": baselines}
    evaluate(changed(config, evaluation=asked))
    log.info("chosen on val_select: %s", tuned["chosen"]["set"])


def other_configurations(config: ExperimentConfig) -> list[ExperimentConfig]:
    """The configs of the sets beside the tuning grid, each with its own generation.name."""
    fair = changed(_named(config, WITH_GUIDE, kind="none"), diffusion={"include_guide": True})
    fair = dataclasses.replace(fair, experiment=f"{config.experiment}_with_guide")
    if config.guidance.by == "push":  # which is beside unguided sets as they are sampled
        fair = _as_sampled(fair)
    # Trees have no gradient to push along: "auto" is another guide then.
    along = {"estimator": "auto"} if config.influence.estimator == "boosted" else {}
    configurations = {
        "guided": _named(config, "guided"),
        AS_SAMPLED: _as_sampled(_named(config, AS_SAMPLED, kind="none")),
        "pushed": changed(_as_sampled(_named(config, "pushed", by="push")), influence=along),
        "classifier_guided": _as_sampled(
            _named(config, "classifier_guided", kind="classifier", by="push", w=CLASSIFIER_W)
        ),
        "paper": dataclasses.replace(_named(config, "paper"), compat="paper"),
        WITH_GUIDE: fair,
    }
    asked = config.matrix.configurations
    # Where the sampler is pushed anyway, the set of stage 3 is that one.
    same = {"pushed"} if config.guidance.by == "push" and "guided" in asked else set()
    return [configurations[name] for name in asked if name not in same]


def _named(config: ExperimentConfig, name: str, **guidance: Any) -> ExperimentConfig:
    return changed(config, generation={"name": name, "unguided_too": False}, guidance=guidance)


def _as_sampled(config: ExperimentConfig) -> ExperimentConfig:
    return changed(config, generation={"resample": "never"})


def _generated(config: ExperimentConfig) -> Path:
    """The set of one configuration, made now unless it is there."""
    if config.diffusion.include_guide:
        train_diffusion(config)
    path = run_dir(config) / "synthetic" / f"{config.generation.name}.npz"
    if is_current(path, load(config)):
        log.info("%s is up to date", path)
    else:
        generate(config)
    return path


if __name__ == "__main__":
    run_stage(main)
