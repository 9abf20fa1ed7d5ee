"""How a schema declares a field: its default together with its choices or bounds.

`check` in configs/schema/checks.py enforces what is declared here.
"""

from dataclasses import field
from typing import Any

MISSING: Any = "???"  # OmegaConf's marker for "must be given"


def choice(default: str, *others: str) -> Any:
    """A string that must be one of the given values; the first is the default."""
    return field(default=default, metadata={"choices": (default, *others)})


def number(
    default: float | str | None,
    *,
    low: float | None = None,
    high: float | None = None,
    open_low: bool = False,
    words: tuple[str, ...] = (),
    whole: bool = False,
) -> Any:
    """A number within [low, high], or (low, high] when `open_low`; or one of `words`.

    `whole` is for fields that take words too; the others say it by their type, int.
    """
    bounds = {"low": low, "high": high, "open_low": open_low, "words": words, "whole": whole}
    return field(default=default, metadata=bounds)


def many(*default: Any) -> Any:
    """A list with the given default items."""
    return field(default_factory=lambda: list(default))
