"""The variable dictionary: variables.yaml as checked objects, and the item tables made from it.

The YAML is data so that a clinician can review it; this module refuses a dictionary that lists an
alarm limit, a ventilator setting or a skin probe, since no range check would notice those.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from configs.runtime.errors import DataError

DICTIONARY = Path(__file__).with_name("variables.yaml")


@dataclass(frozen=True)
class Conversion:
    """value * scale + shift, for raw values within [low, high]."""

    name: str
    low: float
    high: float
    scale: float
    shift: float


@dataclass(frozen=True)
class Source:
    """One item id (MIMIC) or one column (eICU) that holds a variable.

    Attributes:
        key: the item id, or the column name in lower case.
        system: "carevue" or "metavision" (MIMIC), or "eicu".
        table: table of the release, lower case.
        scale, shift: raw value -> the variable's unit.
        pair: key of the diastolic source charted with this systolic one.
        rescue: a known slip of this unit and its own conversion.
        label: the item's label in the release's D_ITEMS; empty for a column.
        reference: public place the id was taken from.
    """

    key: int | str
    system: str
    table: str
    unit: str
    scale: float
    shift: float
    pair: int | str | None
    rescue: Conversion | None
    label: str
    reference: str


@dataclass(frozen=True)
class Variable:
    """One channel: its unit, closed valid range, how values combine, and where it is found."""

    name: str
    unit: str
    low: float
    high: float
    combine: str
    sources: tuple[Source, ...]

    @property
    def feature_name(self) -> str:
        """Name with unit, as datasets carry it: "heart_rate[bpm]"."""
        return f"{self.name}[{self.unit}]"


def load_variables(path: Path = DICTIONARY) -> dict[str, Variable]:
    """Every variable of the dictionary by name.

    Raises:
        DataError: an id is on the `refused` list or listed twice, a reference, unit or pair is
            unknown, a range is empty, or a key is missing; the message names the entry.
    """
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    try:
        found = {name: _variable(name, entry, plain) for name, entry in plain["variables"].items()}
        _require_sound(found, plain)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: an entry lacks {error}") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return found


def choose_variables(
    names: Sequence[str], systems: Sequence[str], *, dictionary: Path = DICTIONARY
) -> list[Variable]:
    """The named variables, in order, with only the sources of the given charting systems.

    Raises:
        DataError: an unknown or repeated name, or a variable that none of the systems charts.
    """
    known = load_variables(dictionary)
    kept = {n: tuple(s for s in v.sources if s.system in systems) for n, v in known.items()}
    charted = {n: replace(known[n], sources=sources) for n, sources in kept.items() if sources}
    for name in names:
        if name not in charted:
            raise DataError(
                f"channel {name!r}: not charted by {' or '.join(systems)}; this dictionary has "
                f"{', '.join(charted)}"
            )
    if not names or len(set(names)) != len(names):
        raise DataError(f"channels {list(names)}: expected at least one name, and each only once")
    return [charted[name] for name in names]


def _variable(name: str, entry: dict[str, Any], plain: dict[str, Any]) -> Variable:
    low, high = entry["range"]
    if not low < high:
        raise DataError(f"{name}: range [{low}, {high}] is empty")
    combine = entry.get("combine", "mean")
    if combine not in ("mean", "sum"):
        raise DataError(f"{name}: combine is {combine!r}, expected mean or sum")
    rescues = {
        rescue["unit"]: Conversion(
            rescue["name"], *(float(rescue[key]) for key in ("low", "high", "scale", "shift"))
        )
        for rescue in entry.get("rescue", ())
    }
    sources = tuple(_source(source, rescues, plain["units"]) for source in entry["sources"])
    for source in sources:
        _require_apart(name, source, float(low), float(high))
    return Variable(name, entry["unit"], float(low), float(high), combine, sources)


def _source(entry: dict[str, Any], rescues: dict[str, Conversion], units: dict[str, Any]) -> Source:
    conversion = units.get(entry["unit"], {"scale": 1.0, "shift": 0.0})
    return Source(
        key=entry["id"] if "id" in entry else entry["column"],
        system=entry["system"],
        table=entry["table"],
        unit=entry["unit"],
        scale=float(conversion["scale"]),
        shift=float(conversion["shift"]),
        pair=entry.get("pair"),
        rescue=rescues.get(entry["unit"]),
        label=entry.get("label", ""),
        reference=entry["from"],
    )


def _require_apart(name: str, source: Source, low: float, high: float) -> None:
    """A rescue must not catch a raw value that is valid as it stands."""
    if source.rescue is None:
        return
    raw_low, raw_high = ((bound - source.shift) / source.scale for bound in (low, high))
    if source.rescue.low <= raw_high and raw_low <= source.rescue.high:
        raise DataError(
            f"{name}: rescue {source.rescue.name!r} catches [{source.rescue.low:g}, "
            f"{source.rescue.high:g}], which overlaps the valid raw range "
            f"[{raw_low:g}, {raw_high:g}] of unit {source.unit}"
        )


def _require_sound(variables: dict[str, Variable], plain: dict[str, Any]) -> None:
    owner: dict[tuple[str, int | str], str] = {}
    every = [(name, source) for name, entry in variables.items() for source in entry.sources]
    for name, source in every:
        if source.key in plain["refused"]:
            raise DataError(f"{name}: id {source.key} is refused - {plain['refused'][source.key]}")
        if source.reference not in plain["references"]:
            raise DataError(f"{name}: id {source.key} cites unknown reference {source.reference}")
        if owner.setdefault((source.table, source.key), name) != name:
            raise DataError(
                f"id {source.key} stands for both {owner[source.table, source.key]} and {name}"
            )
    for name, source in every:
        if source.pair is not None and (source.table, source.pair) not in owner:
            raise DataError(f"{name}: id {source.key} is paired with unknown {source.pair}")
