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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from configs.runtime.errors import DataError, MissingInputError


@dataclass(frozen=True)
class CodeMapping:
    """The mapping, checked.

    Attributes:
        channels: feature name with unit -> (code, scale, shift) of its codes.
        ranges: feature name -> plausible values (inclusive), where given.
        births: name of a covariate -> the code since which its years count.
        levels: name of a covariate -> number by code.
        values: name of a covariate -> the code that carries its value.
    """

    channels: Mapping[str, list[tuple[str, float, float]]]
    ranges: Mapping[str, tuple[float, float]]
    births: Mapping[str, str]
    levels: Mapping[str, Mapping[str, float]]
    values: Mapping[str, str]

    @property
    def static_names(self) -> list[str]:
        """All covariates with units."""
        return [*self.births, *self.levels, *self.values]

    def rows(self) -> Iterator[tuple[str, str, float, float, float | None, float | None]]:
        """(code, feature name, scale, shift, low, high) of every code of a channel."""
        for name, codes in self.channels.items():
            low, high = self.ranges.get(name, (None, None))
            for code, scale, shift in codes:
                yield code, name, scale, shift, low, high


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
        static = {_name(n, e): e for n, e in (plain.get("static") or {}).items()}
        mapping = CodeMapping(
            channels={_name(n, e): [*_codes(e["codes"])] for n, e in plain["channels"].items()},
            ranges={
                _name(n, e): (float(e["range"][0]), float(e["range"][1]))
                for n, e in plain["channels"].items()
                if "range" in e
            },
            births={name: str(e["birth"]) for name, e in static.items() if "birth" in e},
            levels={
                name: {str(code): float(number) for code, number in e["codes"].items()}
                for name, e in static.items()
                if "codes" in e
            },
            values={name: str(e["code"]) for name, e in static.items() if "code" in e},
        )
    except (yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
        raise DataError(
            f"{path}: not a mapping of codes ({type(error).__name__}: {error}); expected channels "
            "with unit and codes, as docs/data.md shows"
        ) from error
    codes = [code for code, *_ in mapping.rows()]
    twice = sorted({code for code in codes if codes.count(code) > 1})
    if twice or not codes:
        raise DataError(
            f"{path}: {f'the code {twice[0]} is named twice' if twice else 'it names no code'}; "
            f"every code is one channel. {known}"
        )
    return mapping


def _name(name: str, entry: Mapping[str, Any]) -> str:
    return f"{name}[{entry['unit']}]" if entry.get("unit") else str(name)


def _codes(entry: Any) -> Iterator[tuple[str, float, float]]:
    conversions = entry if isinstance(entry, dict) else dict.fromkeys(entry, {})
    for code, conversion in conversions.items():
        rule = conversion or {}
        if strange := set(rule) - {"scale", "shift"}:
            raise ValueError(f"{code}: {', '.join(sorted(strange))}")
        yield str(code), float(rule.get("scale", 1)), float(rule.get("shift", 0))
