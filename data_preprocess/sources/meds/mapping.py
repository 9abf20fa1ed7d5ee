"""CodeMapping: which MEDS codes are which channel, as a small YAML.

    channels:
      heart_rate: {unit: bpm, codes: [LAB//220045//bpm], range: [10, 300]}
      temperature:
        {unit: C, codes: {LAB//223762//°C: {}, LAB//223761//°F: {scale: 0.556, shift: -17.8}}}
    static:
      age: {unit: years, birth: MEDS_BIRTH}
      sex: {unit: 1=male, codes: {GENDER//M: 1, GENDER//F: 0}}
      weight: {unit: kg, code: weight//kg}

A value x of a code becomes scale * x + shift. A static covariate is the age at the prediction since
a code, a number that a code without time stands for, or the value of such a code.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from configs.runtime.errors import DataError, MissingInputError


def _levels(codes: Mapping[str, Any]) -> dict[str, float]:
    return {str(code): float(number) for code, number in codes.items()}


# A covariate: the code since which its years count, a number by code, or the code of its value.
KINDS = {"birth": str, "codes": _levels, "code": str}


@dataclass(frozen=True)
class CodeMapping:
    """The mapping, checked.

    Attributes:
        rows: (code, feature name, scale, shift, low, high) of every code of a channel; the last two
            are None where no range is given.
        static: name of a covariate -> its kind, one of KINDS, and what the mapping says of it.
    """

    rows: list[tuple[str, str, float, float, float | None, float | None]]
    static: dict[str, tuple[str, Any]]

    @property
    def channels(self) -> dict[str, list[str]]:
        """The codes of every channel, by feature name."""
        return {name: [r[0] for r in self.rows if r[1] == name] for _, name, *_ in self.rows}


def load_mapping(path: Path, known: str) -> CodeMapping:
    """Reads a mapping.

    Args:
        known: what to say about the codes that there are, for messages.

    Raises:
        MissingInputError: no such file. DataError: it is none, or a code is named twice.
    """
    if not path.is_file():
        raise MissingInputError(
            f"{path} does not exist: data.meds.mapping names a YAML that says which codes are "
            "which channel, such as `channels: {heart_rate: {unit: bpm, codes: [...]}}`. "
            f"{known}"
        )
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
        _require_known("the mapping", plain, {"channels", "static"})
        static = {_name(n, e): e for n, e in (plain.get("static") or {}).items()}
        for name, entry in static.items():
            _require_known(name, entry, {"unit", *KINDS})
            if len(set(entry) & set(KINDS)) != 1:
                raise ValueError(f"{name}: expected one of {', '.join(KINDS)}")
        mapping = CodeMapping(
            rows=[row for n, e in plain["channels"].items() for row in _rows(_name(n, e), e)],
            static={
                name: (kind, read(entry[kind]))
                for kind, read in KINDS.items()
                for name, entry in static.items()
                if kind in entry
            },
        )
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{path}: not a mapping of codes ({type(error).__name__}: {error}); expected channels "
            "with unit and codes, as docs/data.md shows"
        ) from error
    codes = [code for code, *_ in mapping.rows]
    twice = sorted({code for code in codes if codes.count(code) > 1})
    if twice or not codes:
        raise DataError(
            f"{path}: {f'the code {twice[0]} is named twice' if twice else 'it names no code'}; "
            f"every code is one channel. {known}"
        )
    return mapping


def _name(name: str, entry: Mapping[str, Any]) -> str:
    return f"{name}[{entry['unit']}]" if entry.get("unit") else str(name)


def _require_known(name: str, entry: Mapping[str, Any], known: Collection[str]) -> None:
    if strange := set(entry) - set(known):
        raise ValueError(
            f"{name}: unknown {', '.join(sorted(map(str, strange)))}; known are "
            f"{', '.join(sorted(known))}"
        )


def _rows(name: str, entry: Mapping[str, Any]) -> Iterator[tuple]:
    _require_known(name, entry, {"unit", "codes", "range"})
    low, high = map(float, entry["range"]) if "range" in entry else (None, None)
    if low is not None and high is not None and not low < high:
        raise ValueError(f"{name}: range {entry['range']}, expected [low, high]")
    codes = entry["codes"]
    if not isinstance(codes, (list, dict)):
        raise ValueError(f"{name}: codes {codes!r}, expected a list")
    conversions = codes if isinstance(codes, dict) else dict.fromkeys(codes, {})
    for code, conversion in conversions.items():
        rule = conversion or {}
        _require_known(str(code), rule, {"scale", "shift"})
        yield str(code), name, float(rule.get("scale", 1)), float(rule.get("shift", 0)), low, high
