"""as_written: text stays the text that was written, wherever the schema says text.

YAML 1.1 reads No and On as truth values, 0012 as an octal number and 12:30 as a number of base 60,
before anybody looks at the schema. Here every value is read twice, typed and as written, and the
schema decides which one counts.
"""

import dataclasses
import re
import types
import typing
from typing import Any

import yaml

from configs.runtime.errors import ConfigError

_OTHER_BASE = re.compile(r"[-+]?0[0-9]+|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")


def as_written(typed: Any, raw: Any, kind: Any, key: str = "") -> Any:
    """`typed` with every value that `kind` declares as text replaced by its text in `raw`.

    Args:
        typed: what a YAML loader made of a value; raw: the same by `read_text`.
        kind: the declared type: a dataclass, str, list[...], dict[...], `... | None` or another.
        key: of the value, for messages.

    Raises:
        ConfigError: a number that YAML reads in another base than ten.
    """
    kind = without_none(kind)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(typed, dict) and isinstance(raw, dict):
        kinds = typing.get_type_hints(kind) if dataclasses.is_dataclass(kind) else {}
        fallback = inner[1] if origin is dict else Any
        # One mapping read twice: its items come in the same order, and under raw keys.
        return {
            name: as_written(value, text, kinds.get(name, fallback), f"{key}.{name}".strip("."))
            for value, (name, text) in zip(typed.values(), raw.items(), strict=True)
        }
    if isinstance(typed, list) and isinstance(raw, list):
        item = inner[0] if origin is list else Any
        return [as_written(*both, item, key) for both in zip(typed, raw, strict=True)]
    if not isinstance(raw, str) or typed is None:
        return typed
    if kind is str:
        return raw
    is_number = isinstance(typed, (int, float)) and not isinstance(typed, bool)
    if is_number and _OTHER_BASE.fullmatch(raw):
        raise ConfigError(f"{key}: YAML reads {raw} as {typed}; write the number in base ten")
    return typed


def read_text(text: str) -> Any:
    """The YAML `text` with every scalar as the text that was written."""
    return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes text only


def without_none(kind: Any) -> Any:
    """The declared type of a value that is there: str of `str | None`."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        left = [part for part in typing.get_args(kind) if part is not type(None)]
        return left[0] if len(left) == 1 else Any
    return kind
