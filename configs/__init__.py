"""load_config: schema defaults <- YAML <- dotted overrides, as one frozen and checked object."""

import dataclasses
import difflib
import inspect
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from configs.arguments import (
    DEFAULT_CONFIG,
    from_caller,
    known_configs,
    nearest_config,
    split_arguments,
)
from configs.runtime.errors import ConfigError, first_line
from configs.schema.checks import check
from configs.schema.experiment import ExperimentConfig
from configs.schema.fields import walk
from configs.yaml_text import as_written, read_text, without_none

Kind = TypeVar("Kind")

MAX_YAML_BYTES = 1 << 17
MAX_YAML_DEPTH = 50
_OPENING = (
    yaml.BlockSequenceStartToken,
    yaml.BlockMappingStartToken,
    yaml.FlowSequenceStartToken,
    yaml.FlowMappingStartToken,
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowSequenceEndToken, yaml.FlowMappingEndToken)

# `guidance=none` reads better than `guidance.kind=none`: naming a section sets its leading key.
SHORTHANDS = {
    "guidance": "guidance.kind",
    "sampler": "sampler.name",
    "data": "data.source",
    "synthetic": "evaluation.synthetic",
    "set": "influence_report.sets",
    "lds": "influence_report.lds",
    "out": "export.path",
}
KNOWN = {key: value for key, value, _ in walk(ExperimentConfig())}
TEXTS = {key for key, _, field in walk(ExperimentConfig()) if without_none(field.type) is str}
PATHS = {key for key, _, field in walk(ExperimentConfig()) if field.metadata.get("is_path")}
# Mappings whose keys are the user's.
FREE = [key for key, value in KNOWN.items() if isinstance(value, dict)]
# What YAML reads as no value.
NULLS = ("", "~", "null", "Null", "NULL")
_QUOTED = re.compile(r"'.*'|\".*\"", re.DOTALL)
# Shorthands of lists: one item needs no brackets.
LISTS = ("synthetic", "set")


def load_config(argv: Sequence[str]) -> ExperimentConfig:
    """The experiment that `argv` describes.

    Args:
        argv: `[config.yaml] [key=value ...]` in any order; the first argument that ends in .yaml
            is the config (default `configs/base/mimic_icustay_base.yaml`), the others are dotted
            overrides such as `diffusion.max_steps=500`.

    Raises:
        ConfigError: unreadable YAML, unknown key (with the nearest one), wrong type, value out
            of bounds, or missing value; the message names the key and where it came from.
    """
    path, overrides = split_arguments(argv)
    given = _read_yaml(path)
    merged = _merge(_schema().copy(), given, str(path))
    parsed = [(override, parse_override(override)) for override in overrides]
    named = [OmegaConf.select(given, "classifier.model") for _, given in parsed]
    if any(name not in (None, merged.classifier.model) for name in named):
        merged = _without(merged, ["classifier.model_args"])  # those of the YAML's own model
    for override, given in parsed:
        merged = _merge(_emptied(merged, given, override), given, f"argument {override!r}")
    if OmegaConf.is_missing(merged, "experiment"):
        raise ConfigError(f"{path}: missing value for experiment, the name of the run's folders")
    try:
        config = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{path}: {_first_line(error)}") from error
    assert isinstance(config, ExperimentConfig)
    return check(config)


def to_plain(config: ExperimentConfig) -> dict[str, Any]:
    """The config as nested built-in types, for checkpoints and run records."""
    return dataclasses.asdict(config)


def from_sections(kind: Callable[..., Kind], *sections: Any, **others: Any) -> Kind:
    """`kind` made with `others`, and of config sections the keys that it has arguments for."""
    known = {name: value for section in sections for name, value in vars(section).items()}
    names = known.keys() & inspect.signature(kind).parameters
    return kind(**{name: known[name] for name in names} | others)


def to_yaml(config: ExperimentConfig) -> str:
    """The resolved config as YAML text that `load_config` reads back."""
    return OmegaConf.to_yaml(OmegaConf.create(to_plain(config)))


@cache
def _schema() -> DictConfig:
    """The defaults, which take longer to make than all else of a config; copied before use."""
    return OmegaConf.structured(ExperimentConfig)


def _read_yaml(path: Path) -> DictConfig:
    if not path.is_file():
        folder = DEFAULT_CONFIG.parent
        known = ", ".join(path.name for path in known_configs(folder)) or "none"
        hint = nearest_config(str(path)) or f"; known configs in {folder}: {known}"
        raise ConfigError(f"config {path} does not exist{hint}")
    try:
        text = path.read_text(encoding="utf-8-sig")
        _require_plain_yaml(path, text)
        given = OmegaConf.create(text)
        if isinstance(given, DictConfig):
            given = OmegaConf.create(
                as_written(OmegaConf.to_container(given), read_text(text), ExperimentConfig)
            )
    except ConfigError as error:
        raise error if str(path) in str(error) else ConfigError(f"{path}: {error}") from error
    except Exception as error:  # yaml's scanner errors share no base with OmegaConf's
        raise ConfigError(f"{path}: not readable as YAML: {_first_line(error)}") from error
    if not isinstance(given, DictConfig):
        raise ConfigError(f"{path}: expected a mapping of keys at the top level")
    return given


def _require_plain_yaml(path: Path, text: str) -> None:
    """Refuses what grows on reading: a few anchors inside each other expand to terabytes."""
    if len(text) > MAX_YAML_BYTES:
        raise ConfigError(f"{path}: {len(text):,} bytes; a config has at most {MAX_YAML_BYTES:,}")
    depth = 0
    for token in yaml.scan(text):
        # libyaml's composer calls itself per level: deep nesting ends the process, not the parse.
        depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
        if depth > MAX_YAML_DEPTH:
            raise ConfigError(f"{path}: nested more than {MAX_YAML_DEPTH} levels deep")
        if isinstance(token, yaml.AliasToken):
            raise ConfigError(f"{path}: YAML anchors (&name, *name) are not read; use ${{key}}")


def parse_override(override: str) -> DictConfig:
    """The part of a config that an argument key=value sets, typed as the schema wants it."""
    key, value = override.split("=", 1)
    if key in LISTS and not value.startswith("["):
        value = f"[{value}]"
    key = SHORTHANDS.get(key, key)
    if key not in TEXTS and " #" in value and value[:1] not in ("[", "{", "'", '"'):
        value = json.dumps(value)  # YAML would take the rest for a comment
    try:
        if key in TEXTS and value not in NULLS and not _QUOTED.fullmatch(value):
            given = _nested(key, value)  # "," and "#id" are no YAML
        else:
            typed = OmegaConf.to_container(OmegaConf.from_dotlist([f"{key}={value}"]))
            given = as_written(typed, _nested(key, read_text(value)), ExperimentConfig)
        return OmegaConf.create(_placed(given))
    except ConfigError as error:
        raise ConfigError(f"argument {override!r}: {error}") from error
    except Exception as error:
        nested = value.startswith("[") and "[" in value[1:]
        hint = "; an item with brackets needs quotes: '[\"hr[bpm]\",spo2]'" if nested else ""
        raise ConfigError(f"argument {override!r}: {_first_line(error)}{hint}") from error


def _nested(key: str, value: Any) -> Any:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _placed(given: Any, key: str = "") -> Any:
    """What an argument sets, with its paths as they are meant where the user stands."""
    if isinstance(given, dict):
        return {name: _placed(value, f"{key}.{name}".strip(".")) for name, value in given.items()}
    if isinstance(given, list):
        return [_placed(item, key) for item in given]
    return from_caller(given) if key in PATHS and isinstance(given, str) else given


def _emptied(base: DictConfig, given: DictConfig, override: str) -> DictConfig:
    """`base` without the user's own mappings that an override gives as a whole."""
    whole = (key for key in FREE if isinstance(OmegaConf.select(given, key), DictConfig))
    return _without(base, [key for key in whole if not override.startswith(f"{key}.")])


def _without(base: DictConfig, mappings: Sequence[str]) -> DictConfig:
    """`base`, in which these mappings are emptied."""
    for key in mappings:
        section, _, name = key.rpartition(".")
        node = OmegaConf.select(base, section)
        with read_write(node):
            node[name] = {}
    return base


def _merge(base: DictConfig, extra: DictConfig, origin: str) -> DictConfig:
    """`base`, which is not to be used after this, with `extra` in it."""
    try:
        merged = OmegaConf.unsafe_merge(base, extra)  # `merge` copies the whole config each time
    except ConfigKeyError as error:
        raise ConfigError(f"{origin}: {_unknown(str(error.full_key), extra)}") from error
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        where = f"{origin}: {key}: " if key else f"{origin}: "
        if "is not a ListConfig" in (reason := _first_line(error)):
            reason = f"expected a list, as {key}=[a,b] (a list of one: [a])"
            if str(key).isdigit():  # the place of an item, without the key of its list
                where, reason = f"{origin}: ", "expected a list of lists, as [[a,b]]"
        raise ConfigError(where + reason) from error
    except TypeError as error:
        raise ConfigError(
            f"{origin}: a list where a mapping belongs, or the other way round; a list is [a,b], a "
            "mapping '{a: 1}'"
        ) from error
    assert isinstance(merged, DictConfig)
    return merged


def _unknown(key: str, given: DictConfig) -> str:
    """What to say about a key that the schema does not have, and the nearest one that it has."""
    node = OmegaConf.select(given, key)
    while isinstance(node, DictConfig) and node:
        name, node = next(iter(node.items()))
        key = f"{key}.{name}"
    same_leaf = [name for name in KNOWN if name.rsplit(".", 1)[-1] == key.rsplit(".", 1)[-1]]
    near = difflib.get_close_matches(key, KNOWN, n=1, cutoff=0.6) or sorted(same_leaf)
    return f"unknown key {key!r}" + (f"; did you mean {near[0]!r}?" if near else "")


def _first_line(error: Exception) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem} (line {error.problem_mark.line + 1})"
    return first_line(error)
