"""check: what every key may be, and the rules that span two keys."""

import re

from configs.runtime.errors import ConfigError
from configs.schema.experiment import ExperimentConfig
from configs.schema.fields import check_fields

_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

# In runs/<experiment>/, or entries of its record.json; stage 4 writes under evaluation.dir in both.
_OF_OTHERS = ("diffusion", "classifier", "synthetic", "influence", "influence_report", "tuning")
_OF_OTHERS += ("config.yaml", "record.json")

_WITH_STAYS = ("physionet2012", "mimic3", "mimic4", "eicu")  # of which data.task makes the label


def check(config: ExperimentConfig) -> ExperimentConfig:
    """Returns `config` unchanged if every value keeps its declared bounds.

    Raises:
        ConfigError: naming the key, the value that arrived and what is allowed.
    """
    check_fields(config)
    _check_name("experiment", config.experiment)
    if config.generation.name is not None:
        _check_name("generation.name", config.generation.name)
    _check_name("evaluation.dir", config.evaluation.dir)
    if config.evaluation.dir in _OF_OTHERS:
        raise ConfigError(
            f"evaluation.dir={config.evaluation.dir}: a folder, file or record of this name "
            "belongs to another command; choose another"
        )
    _check_data(config)
    _check_sampling(config)
    _check_lists(config)
    _check_private(config)
    _check_guidance(config)
    return config


def _check_name(key: str, value: str) -> None:
    if not _SAFE_NAME.fullmatch(value):
        raise ConfigError(
            f"{key}={value!r}: it names folders and files, so only letters, digits, '_', '.' and "
            "'-' are allowed, and the first must be a letter or a digit"
        )


def _check_data(config: ExperimentConfig) -> None:
    data = config.data
    if (data.source == "physionet2019") != (data.task == "sepsis"):
        raise ConfigError(
            f"data.source={data.source} with data.task={data.task}: physionet2019 has the task "
            "sepsis and no other, and no other source has it"
        )
    if data.task == "icustay" and data.source not in _WITH_STAYS:
        raise ConfigError(
            f"data.source={data.source} with data.task=icustay: what it brings has no length of "
            f"stay to make it of (those that have: {', '.join(_WITH_STAYS)}); leave data.task out"
        )
    held_out = data.val_guide + data.val_select + data.test
    if held_out >= 1.0:
        raise ConfigError(
            f"data.val_guide + data.val_select + data.test = {held_out:g}: must be below 1, "
            "the rest is the training split"
        )


def _check_sampling(config: ExperimentConfig) -> None:
    interval = config.guidance.interval
    if len(interval) != 2 or not 0.0 <= interval[0] < interval[1] <= 1.0:
        raise ConfigError(
            f"guidance.interval={interval}: expected [from, to] with 0 <= from < to <= 1, "
            "as shares of the sampling steps counted from the noisy end"
        )
    if config.sampler.log_snr_min >= config.sampler.log_snr_max:
        raise ConfigError(
            f"sampler.log_snr_min={config.sampler.log_snr_min} must be below "
            f"sampler.log_snr_max={config.sampler.log_snr_max}"
        )
    extrapolates = {
        "sampler.cfg_scale": config.sampler.cfg_scale not in (1, "tuned"),
        "tuning.cfg_scale": any(scale != 1 for scale in config.tuning.cfg_scale),
    }
    for key in (key for key, given in extrapolates.items() if given):
        if config.diffusion.label_dropout == 0:
            raise ConfigError(
                f"{key} other than 1 with diffusion.label_dropout=0: classifier-free guidance "
                "extrapolates from the label that dropout trains; leave it at 1, or train with "
                "diffusion.label_dropout=0.1"
            )


def _check_lists(config: ExperimentConfig) -> None:
    diffusion = config.diffusion
    if diffusion.width % 8:
        raise ConfigError(f"diffusion.width={diffusion.width}: expected a multiple of 8")
    if diffusion.network == "unet" and diffusion.width % diffusion.heads:
        raise ConfigError(
            f"diffusion.heads={diffusion.heads}: must divide diffusion.width={diffusion.width}"
        )
    levels = range(len(diffusion.multipliers))
    if any(level not in levels for level in diffusion.attention_levels):
        raise ConfigError(
            f"diffusion.attention_levels={diffusion.attention_levels}: expected indices into "
            f"diffusion.multipliers={diffusion.multipliers}"
        )
    tuning = config.tuning
    if 0.0 not in tuning.w:
        raise ConfigError(f"tuning.w={tuning.w}: must hold 0, so that no guidance can be chosen")
    if not tuning.cfg_scale or min(tuning.cfg_scale) < 0:
        raise ConfigError(f"tuning.cfg_scale={tuning.cfg_scale}: expected non-negative numbers")


def _check_guidance(config: ExperimentConfig) -> None:
    guidance, influence = config.guidance, config.influence
    of_pool = guidance.kind == "influence" and influence.estimator != "classifier"
    if influence.vector is not None and influence.estimator not in ("auto", "convex"):
        raise ConfigError(
            f"influence.vector={influence.vector}: an exported G belongs to a convex guide; leave "
            "influence.estimator at auto"
        )
    ignored = {
        "influence.vector": influence.vector is not None,
        "generation.resample=always": config.generation.resample == "always",
        f"guidance.kind={guidance.kind}": guidance.kind != "influence",
    }
    if config.compat == "paper" and any(ignored.values()):
        names = " and ".join(name for name, given in ignored.items() if given)
        raise ConfigError(f"compat=paper with {names}: Algorithm 1 as printed has no place for it")
    if config.generation.name == "unguided" and (
        guidance.kind != "none" or config.compat == "paper"
    ):
        raise ConfigError(
            "generation.name=unguided: the set of this name is what guided ones are compared with; "
            "choose another name, or guidance=none"
        )
    pushed = guidance.by == "push" and guidance.kind != "none"
    if pushed and config.generation.resample == "always":
        raise ConfigError(
            "guidance.by=push with generation.resample=always: a pushed series and its unguided "
            "counterpart come from one noise, so neither set can be resampled; leave it at auto"
        )
    if pushed and influence.estimator == "boosted":
        raise ConfigError(
            "guidance.by=push with influence.estimator=boosted: trees have no gradient in the "
            "series; leave influence.estimator at auto"
        )
    if guidance.w == "auto" and guidance.kind != "none" and not of_pool and config.compat == "none":
        raise ConfigError(
            "guidance.w=auto is predicted by a guide of unguided series, which takes no part here; "
            "give a number, guidance.w=0.5 for example, or choose one with bash scripts/tune.sh "
            "and guidance.w=tuned"
        )


def _check_private(config: ExperimentConfig) -> None:
    diffusion = config.diffusion
    if diffusion.private.epsilon is None:
        return
    needed = {
        "class_balanced": (False, "the accounting needs every patient drawn equally often"),
        "precision": ("32-true", "gradients are bounded and noised in single precision"),
        "marginal_rows": (0, "the marginal distributions of the training stays are not noised"),
        "micro_batch": ("auto", "private training goes through its batches in its own pieces"),
    }
    if config.generation.resample == "always":
        raise ConfigError(
            "diffusion.private.epsilon with generation.resample=always: resampling reads the "
            "training stays without noise; leave it at auto"
        )
    for key, (value, why) in needed.items():
        found = getattr(diffusion, key)
        if found != value:
            raise ConfigError(
                f"diffusion.private.epsilon with diffusion.{key}={found}: {why}; set "
                f"diffusion.{key}={str(value).lower()}"
            )
