"""How a schema declares a field, its default together with its choices or bounds, and the check."""

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import field
from typing import Any

from configs.runtime.errors import ConfigError

MISSING: Any = "???"  # OmegaConf's marker for "must be given"


def choice(default: str, *others: str) -> Any:
    """A string that must be one of the given values; the first is the default."""
    return field(default=default, metadata={"choices": (default, *others)})


def path(default: str | None = None) -> Any:
    """The name of a file or folder, or a list of some; on the command line it means the folder
    where the user stands (configs/arguments.py)."""
    return field(default=default, metadata={"is_path": True})


def number(
    default: float | str | None,
    *,
    low: float | None = None,
    high: float | None = None,
    open_low: bool = False,
    open_high: bool = False,
    words: tuple[str, ...] = (),
    whole: bool = False,
) -> Any:
    """A number within [low, high], without the bound that is open; or one of `words`.

    `whole` is for fields that take words too; the others say it by their type, int.
    """
    bounds = {"low": low, "high": high, "open_low": open_low, "open_high": open_high}
    return field(default=default, metadata=bounds | {"words": words, "whole": whole})


def many(
    *default: Any,
    among: tuple[str, ...] = (),
    positive: bool = False,
    least: int | None = None,
    filled: bool = False,
    distinct: bool = False,
    paths: bool = False,
) -> Any:
    """A list with the given default items.

    Args:
        among: what an item may be; empty: anything of its type.
        positive: items are finite and above 0; least: none is smaller; filled: there is at least
            one; distinct: none is there twice; paths: as of `path`.
    """
    bounds = {"among": among, "positive": positive, "least": least}
    bounds |= {"filled": filled, "distinct": distinct, "is_path": paths}
    return field(default_factory=lambda: list(default), metadata=bounds)


def check_fields(config: Any) -> None:
    """Raises ConfigError at the first key of the dataclass `config` outside its declaration."""
    for key, value, spec in walk(config):
        choices = spec.metadata.get("choices")
        if choices and value not in choices:
            raise ConfigError(f"{key}={value!r}: expected one of {', '.join(choices)}")
        _check_range(key, value, spec)
        _check_items(key, value, spec)


def walk(node: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value, field) of every key of the dataclass `node`, sections opened."""
    for spec in dataclasses.fields(node):
        value = getattr(node, spec.name)
        key = f"{prefix}{spec.name}"
        if dataclasses.is_dataclass(value):
            yield from walk(value, f"{key}.")
        else:
            yield key, value, spec


def _check_range(key: str, value: Any, spec: Any) -> None:
    if value is None or "low" not in spec.metadata:
        return
    words = spec.metadata["words"]
    if value in words:
        return
    kinds, kind = (int, "a whole number") if spec.metadata["whole"] else (int | float, "a number")
    if isinstance(value, bool) or not isinstance(value, kinds):
        allowed = f" or {', '.join(words)}" if words else ""
        raise ConfigError(f"{key}={value!r}: expected {kind}{allowed}")
    names = ("low", "high", "open_low", "open_high")
    low, high, open_low, open_high = (spec.metadata[name] for name in names)
    too_low = low is not None and (value <= low if open_low else value < low)
    too_high = high is not None and (value >= high if open_high else value > high)
    if not math.isfinite(value) or too_low or too_high:
        lower = "(-inf" if low is None else f"{'(' if open_low else '['}{low:g}"
        upper = "inf)" if high is None else f"{high:g}{')' if open_high else ']'}"
        raise ConfigError(f"{key}={value}: expected a number in {lower}, {upper}")


def _check_items(key: str, value: Any, spec: Any) -> None:
    if value is None or "among" not in spec.metadata:
        return
    among, positive, filled = (spec.metadata[n] for n in ("among", "positive", "filled"))
    if filled and not value:
        raise ConfigError(f"{key}=[]: at least one {spec.name.removesuffix('s')} is needed")
    if spec.metadata["distinct"] and len(set(value)) < len(value):
        raise ConfigError(f"{key}={value}: an item is there twice")
    if among and (unknown := [item for item in value if item not in among]):
        names = f"{', '.join(among[:-1])} and {among[-1]}"
        raise ConfigError(f"{key}: unknown {unknown}; expected some of {names}")
    if (least := spec.metadata["least"]) is not None and any(item < least for item in value):
        raise ConfigError(f"{key}={value}: expected {spec.name} of at least {least}")
    if positive and not all(0 < item < math.inf for item in value):
        raise ConfigError(f"{key}={value}: expected positive {spec.name}")
