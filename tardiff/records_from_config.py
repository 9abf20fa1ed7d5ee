"""What other commands left beside an experiment, as far as it decides what stage 3 makes: digests
of model and guidance files, the settings of training, the retraining test that may hold guidance
back, the tuned strength.
"""

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classifier.checkpoint import load_facts
from classifier.train import checkpoint_path, classifier_settings
from configs import to_plain
from configs.run_record import describe_differences, read_mapping, run_dir, sha256_file
from configs.runtime.errors import UserError
from configs.schema.experiment import ExperimentConfig
from tardiff.generation.artefacts import tuned_choice
from tardiff.generation.counterpart import pool_guides
from tardiff.influence.retraining_score import RetrainingScore, read_score

TUNED = "tuned"
SECTIONS = ("compat", "sampler", "guidance", "influence", "generation")  # that decide a set
# Of these what changes roundings, noise, size or strength alone.
INCIDENTAL = {
    "sampler": ("batch_size",),
    "guidance": ("w", "force", "paper_w"),
    "generation": ("name", "ratio", "counts", "seed", "unguided_too"),
}

log = logging.getLogger(__name__)


def model_path(config: ExperimentConfig) -> Path:
    """Where stage 1 writes the diffusion model."""
    return run_dir(config) / "diffusion" / "model.pt"


def model_digest(config: ExperimentConfig) -> str | None:
    """SHA-256 of the diffusion model; None where it was not trained."""
    path = model_path(config)
    return sha256_file(path) if path.is_file() else None


def diffusion_settings(config: ExperimentConfig) -> dict[str, Any]:
    """The settings that decide the trained model, as a finished training is known by."""
    section = to_plain(config)["diffusion"]
    section.pop("micro_batch")  # roundings only: it may be lowered to go on after too much memory
    return section


def other_settings(config: ExperimentConfig, *, of_classifier: bool) -> list[str]:
    """In what `config` differs from what the diffusion model on disk, and if asked for the
    classifier, was trained with; a line each."""
    settings, classifier = model_path(config).with_name("settings.json"), checkpoint_path(config)
    told = []
    if model_path(config).is_file() and settings.is_file():
        now = {"diffusion": diffusion_settings(config), "seed": config.seed}
        again = f"choose another experiment name, or remove {settings.parent} and run stage 1 again"
        told.append(_other(1, read_mapping(settings), now, again))
    if of_classifier and classifier.is_file():
        try:
            now = {"classifier": classifier_settings(config), "seed": config.seed}
            told.append(_other(2, load_facts(classifier).settings, now, "run stage 2 again"))
        except UserError as error:
            told.append(str(error))
    return [line for line in told if line]


def _other(stage: int, trained: Mapping[str, Any], config: Mapping[str, Any], again: str) -> str:
    changed = describe_differences(trained, config)
    return changed and (
        f"Stage {stage} trained its model with other settings than the config has now ({changed}): "
        f"give the same keys to every stage, or {again}."
    )


def is_guided_by_pool(config: ExperimentConfig) -> bool:
    """Whether a guide of unguided series decides what guidance prefers."""
    return pool_guides(config.compat, config.guidance.kind, config.influence.estimator)


def estimator_of(config: ExperimentConfig) -> str:
    """`influence.estimator`; for "auto" boosted trees where series are chosen for a model of that
    kind, the first of `evaluation.models`, else the convex guide."""
    asked = config.influence.estimator
    if asked != "auto":
        return asked
    chosen = config.guidance.by == "choose" and config.influence.vector is None
    boosted = config.evaluation.models[0].removesuffix("+mask") == "gbdt"
    return "boosted" if chosen and boosted else "convex"


def decisive(config: ExperimentConfig, data_fingerprint: str) -> dict[str, Any]:
    """All that decides a set, JSON-able: stored in its file, so that it can be recognised.

    Under made_with the SHA-256 of files, for guidance the classifier or an imported G, and the
    retraining test that may hold it back.
    """
    plain = to_plain(config)
    plain["generation"].pop("workers")  # where it was made
    weights: dict[str, Any] = {"diffusion": model_digest(config)}
    if config.guidance.kind != "none" or config.compat == "paper":
        test = retraining_path(config)
        weights["guidance"] = guidance_files(config)
        weights["guidance"] += [sha256_file(test)] if test.is_file() else []
    plain["influence"]["estimator"] = estimator_of(config)
    chosen = {key: plain[key] for key in SECTIONS} | {"inputs": plain["classifier"]["inputs"]}
    if config.compat == "paper":  # walks the levels of its own schedule
        chosen["levels"] = [plain["diffusion"][k] for k in ("num_steps", "beta_start", "beta_end")]
    return {
        "data_fingerprint": data_fingerprint,
        "made_with": weights,
        "config": chosen,
        "seed": plain["seed"],
    }


def decided_by(config: ExperimentConfig, data_fingerprint: str) -> dict[str, Any]:
    """All that decides influence and what a strength does, but the strength: what tuning and the
    retraining test were made for. JSON-able; without the cfg_scale that is yet to be tuned."""
    facts = decisive(config, data_fingerprint)
    sections = facts.pop("config")
    for key, names in INCIDENTAL.items():
        for name in names:
            del sections[key][name]
    if config.sampler.cfg_scale == TUNED:
        del sections["sampler"]["cfg_scale"]
    if config.guidance.kind == "none":
        del sections["guidance"], sections["influence"]
    else:
        facts["made_with"]["guidance"] = guidance_files(config)  # without the retraining test
    return facts | sections


def guidance_files(config: ExperimentConfig) -> list[str]:
    """SHA-256 of the file that decides what guidance raises, if there is one: the classifier, or
    with a guide of unguided series an imported G."""
    vector, by_pool = config.influence.vector, is_guided_by_pool(config)
    path = checkpoint_path(config) if not by_pool else vector and Path(vector)
    return [sha256_file(path)] if path and path.is_file() else []


def retraining_path(config: ExperimentConfig) -> Path:
    """Where the record of the retraining test of an experiment is kept."""
    return run_dir(config) / "influence" / "retraining.json"


def retraining_score(config: ExperimentConfig, data_fingerprint: str) -> RetrainingScore | None:
    """What the retraining test of this experiment found; None where it was not made."""
    path, estimator = retraining_path(config), estimator_of(config)
    if not path.is_file():
        return None
    return read_score(path, estimator, decided_by(config, data_fingerprint))


def held_back(config: ExperimentConfig, data_fingerprint: str) -> str | None:
    """Why nothing should be guided: a set tilted as strongly does not help the downstream model.
    None: it does, that strength was not tested, or guidance.force."""
    guidance = config.guidance
    if guidance.kind != "influence" or guidance.force or guidance.w == 0:
        return None
    found = retraining_score(config, data_fingerprint)
    if found is None or found.predicts:
        return None
    if found.w == 0 and guidance.w == found.asked:
        log.warning(
            "in the pool of the retraining test guidance.w=%s gave no strength, so none was "
            "tested; guidance.w=NUMBER tests one",
            guidance.w,
        )
        return None
    if guidance.w not in (found.w, found.asked):
        log.warning(
            "the retraining test was of w = %g, and says nothing of guidance.w=%s; to test that: "
            "bash scripts/influence.sh <config.yaml> lds=true guidance.w=%s",
            found.w,
            *(guidance.w,) * 2,
        )
        return None
    return (
        f"influence ({estimator_of(config)}) does not lower the loss of a retrained "
        f"{found.model} here: {found} ({retraining_path(config)}). "
        "Nothing is guided; guidance.force=true guides nevertheless"
    )


def tuning_path(config: ExperimentConfig) -> Path:
    """Where the tuning of an experiment keeps its curve and its choice."""
    return run_dir(config) / "tuning" / "scale.json"


def with_tuned_strength(config: ExperimentConfig, data_fingerprint: str) -> ExperimentConfig:
    """`config` with every "tuned" replaced by the choice of the tuning of its experiment; errors as
    in `tuned_choice`."""
    guidance = config.guidance
    if TUNED not in (guidance.w, config.sampler.cfg_scale):
        return config
    made_for = decided_by(_with_cfg_scale(config, TUNED), data_fingerprint)
    chosen = tuned_choice(tuning_path(config), made_for)
    if guidance.w == TUNED:
        guidance = dataclasses.replace(guidance, w=chosen["w"])
    if config.sampler.cfg_scale == TUNED:
        config = _with_cfg_scale(config, chosen["cfg_scale"])
    return dataclasses.replace(config, guidance=guidance)


def _with_cfg_scale(config: ExperimentConfig, scale: float | str) -> ExperimentConfig:
    return dataclasses.replace(config, sampler=dataclasses.replace(config.sampler, cfg_scale=scale))
