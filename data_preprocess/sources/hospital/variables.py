"""The variable dictionary: variables.yaml as checked objects, and the item tables made from it.

The YAML is data so that a clinician can review it; this module refuses a dictionary that lists an
alarm limit, a ventilator setting or a skin probe, since no range check would notice those.
"""

from collections.abc import Iterator, Sequence
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
        fault = next(_faults(found, plain), None)
    except (KeyError, TypeError) as error:
        raise DataError(f"{path}: an entry lacks {error}") from error
    if fault is not None:
        raise DataError(f"{path}: {fault}")
    return found


def choose_variables(names: Sequence[str], systems: Sequence[str]) -> list[Variable]:
    """The named variables, in order, with only the sources of the given charting systems.

    Raises:
        DataError: an unknown or repeated name, or a variable that none of the systems charts.
    """
    known = load_variables()
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
    rescues = {
        rescue["unit"]: Conversion(
            rescue["name"], *(float(rescue[key]) for key in ("low", "high", "scale", "shift"))
        )
        for rescue in entry.get("rescue", ())
    }
    sources = tuple(_source(source, rescues, plain["units"]) for source in entry["sources"])
    low, high = map(float, entry["range"])
    return Variable(name, entry["unit"], low, high, entry.get("combine", "mean"), sources)


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


def _faults(variables: dict[str, Variable], plain: dict[str, Any]) -> Iterator[str]:
    """What is wrong with a dictionary, and where."""
    owner: dict[tuple[str, int | str], str] = {}
    every = [(variable, source) for variable in variables.values() for source in variable.sources]
    for variable, source in every:
        name, key, low, high = variable.name, source.key, variable.low, variable.high
        if not low < high:
            yield f"{name}: range [{low:g}, {high:g}] is empty"
        if variable.combine not in ("mean", "sum"):
            yield f"{name}: combine is {variable.combine!r}, expected mean or sum"
        if key in plain["refused"]:
            yield f"{name}: id {key} is refused - {plain['refused'][key]}"
        if source.reference not in plain["references"]:
            yield f"{name}: id {key} cites unknown reference {source.reference}"
        if owner.setdefault((source.table, key), name) != name:
            yield f"id {key} stands for both {owner[source.table, key]} and {name}"
        # A rescue must not catch a raw value that is valid as it stands.
        low, high = ((bound - source.shift) / source.scale for bound in (low, high))
        rescue = source.rescue
        if rescue is not None and rescue.low <= high and low <= rescue.high:
            yield (
                f"{name}: rescue {rescue.name!r} catches [{rescue.low:g}, {rescue.high:g}], which "
                f"overlaps the valid raw range [{low:g}, {high:g}] of unit {source.unit}"
            )
    for variable, source in every:
        if source.pair is not None and (source.table, source.pair) not in owner:
            yield f"{variable.name}: id {source.key} is paired with unknown {source.pair}"
