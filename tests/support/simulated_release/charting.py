"""Simulated charting: true values per step, the rows a nurse or monitor would leave, the faults.

A reading is one charted value. Each meets at most one fault, drawn once, so the number of faults of
a kind is exactly the number of rows that the extraction must catch. Slips and swaps corrupt the
reading itself; every other fault leaves it alone and adds a row beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from tests.support.simulated_release.stays import RawStays

CHANNELS = (
    "heart_rate",
    "systolic_pressure",
    "diastolic_pressure",
    "mean_pressure",
    "respiratory_rate",
    "temperature",
    "spo2",
)
HEART, SYSTOLIC, DIASTOLIC, MEAN, RESPIRATION, TEMPERATURE, SPO2 = range(7)
PRESSURES = (SYSTOLIC, DIASTOLIC, MEAN)
_LEVEL = np.array([84.0, 122, 55, 80, 19, 36.9, 96.5])
_SPREAD = np.array([13.0, 15, 6, 9, 4, 0.5, 1.5])
_SEVERITY = np.array([6.0, -6, -4, -5, 2, 0.1, -0.8])  # change per unit of severity
_LOW = np.array([35.0, 70, 25, 45, 6, 33.0, 75])
_HIGH = np.array([190.0, 220, 65, 120, 50, 41.0, 100])
_DECIMALS = (0, 0, 0, 0, 0, 1, 0)

# slip: Fahrenheit for Celsius, the reverse, or a fraction for a percentage. swap: systolic and
# diastolic exchanged. copy: the row stands twice. error: a wrong value, marked as such by the
# release. wild: an impossible value. wordless: no number. orphan: no stay id. second_item: another
# device charts the same vital at the same time, 4 apart, and the truth is their mean.
PLAIN = "plain"
FAULTS = (PLAIN, "slip", "swap", "copy", "error", "wild", "wordless", "orphan", "second_item")
_SHARE = 0.01  # of readings, per fault that is possible for them
_SECOND_ITEM_SHIFT = 2.0
WILD_VALUES = np.array([0.0, -5.0, 9999.0])


@dataclass(frozen=True)
class Readings:
    """Charted values as parallel arrays.

    Attributes:
        stay: row in RawStays. channel: index into CHANNELS. second: from admission to the unit.
        value: in the channel's unit. fault: index into FAULTS. extra: added by the fault.
    """

    stay: Int[np.ndarray, " n"]
    channel: Int[np.ndarray, " n"]
    second: Int[np.ndarray, " n"]
    value: Float[np.ndarray, " n"]
    fault: Int[np.ndarray, " n"]
    extra: Bool[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.stay)

    def where(self, chosen: np.ndarray) -> "Readings":
        """The chosen rows (mask or indices)."""
        return Readings(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))

    def has(self, fault: str) -> Bool[np.ndarray, " n"]:
        """True for the rows with this fault."""
        return self.fault == FAULTS.index(fault)


def concatenate(parts: Sequence[Readings]) -> Readings:
    """All rows of all parts."""
    names = Readings.__dataclass_fields__
    return Readings(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def plain_readings(
    stay: np.ndarray, channel: np.ndarray, second: np.ndarray, value: np.ndarray
) -> Readings:
    """Readings without any fault."""
    nothing = np.zeros(len(stay), np.int64)
    return Readings(stay, channel, second, value, nothing, nothing.astype(bool))


def true_series(
    rng: np.random.Generator, severity: Float[np.ndarray, " n"], num_steps: int
) -> Float[np.ndarray, "n channel time"]:
    """Smooth series in charted precision (whole numbers; temperature 0.1 degrees C)."""
    noise = rng.normal(size=(len(severity), len(CHANNELS), num_steps))
    for step in range(1, num_steps):
        noise[:, :, step] = 0.9 * noise[:, :, step - 1] + 0.4359 * noise[:, :, step]
    level = _LEVEL + _SEVERITY * severity[:, None]
    values = level[:, :, None] + _SPREAD[:, None] * noise
    values = np.clip(values, _LOW[:, None], _HIGH[:, None])
    return np.stack([np.round(values[:, i], d) for i, d in enumerate(_DECIMALS)], axis=1)


def add_faults(
    rng: np.random.Generator,
    readings: Readings,
    *,
    kinds: Sequence[str],
    can_mark: Bool[np.ndarray, " n"],
    apart_seconds: int,
) -> Readings:
    """The readings with faults, and the rows that faults add.

    Args:
        kinds: faults that the format can show.
        can_mark: per reading, whether its charting system has an error mark.
        apart_seconds: how far from its reading an "error" or "wild" row stands.
    """
    fault = _draw(rng, readings, kinds, can_mark)
    charted = replace(readings, fault=fault)
    stays_put = charted.has("slip") | charted.has("swap") | charted.has("second_item")
    companions = charted.where((fault > 0) & ~charted.has("slip") & ~charted.has("swap"))
    companions = replace(companions, extra=np.ones(len(companions), bool))
    kept = replace(charted, fault=np.where(stays_put, fault, 0))
    return _corrupted(rng, concatenate([kept, companions]), apart_seconds)


def _draw(
    rng: np.random.Generator, readings: Readings, kinds: Sequence[str], can_mark: np.ndarray
) -> np.ndarray:
    channel = readings.channel
    pressure = np.isin(channel, PRESSURES)
    possible = {name: ~pressure for name in FAULTS}
    possible["slip"] = (channel == TEMPERATURE) | (channel == SPO2)
    possible["error"] = ~pressure & can_mark
    possible["swap"] = possible["second_item"] = channel == SYSTOLIC
    uniform = rng.random(len(readings))
    fault = np.zeros(len(readings), np.int64)
    for position, name in enumerate(kinds):
        drawn = (uniform >= position * _SHARE) & (uniform < (position + 1) * _SHARE)
        fault[drawn & possible[name]] = FAULTS.index(name)
    # The three pressures of one time are one measurement: they share its swap or second item.
    key = readings.stay.astype(np.int64) * 100_000_000 + readings.second
    for name in ("swap", "second_item"):
        code = FAULTS.index(name)
        fault[pressure & np.isin(key, key[fault == code])] = code
    return fault


def _corrupted(rng: np.random.Generator, readings: Readings, apart_seconds: int) -> Readings:
    value, second = readings.value.copy(), readings.second.copy()
    error, wild = readings.has("error"), readings.has("wild")
    second[error | wild] += apart_seconds
    value[error] *= 1.25
    value[wild] = rng.choice(WILD_VALUES, int(wild.sum()))
    value[readings.has("wordless")] = np.nan
    shift = np.where(readings.extra, _SECOND_ITEM_SHIFT, -_SECOND_ITEM_SHIFT)
    value += shift * readings.has("second_item")
    return replace(readings, value=_exchanged(replace(readings, value=value)), second=second)


def _exchanged(readings: Readings) -> np.ndarray:
    """Values with systolic and diastolic exchanged where a swap was drawn."""
    value = readings.value.copy()
    sides = []
    for channel in (SYSTOLIC, DIASTOLIC):
        rows = np.flatnonzero(readings.has("swap") & (readings.channel == channel))
        sides.append(rows[np.lexsort((readings.second[rows], readings.stay[rows]))])
    systolic, diastolic = sides
    value[systolic], value[diastolic] = value[diastolic].copy(), value[systolic].copy()
    return value


def during_stay(readings: Readings, stays: RawStays) -> Readings:
    """The readings up to the end of their stay."""
    return readings.where(readings.second < stays.hours[readings.stay] * 3600)


def count_faults(readings: Readings, stays: RawStays, window_seconds: int) -> dict[str, int]:
    """Faults that an extraction of the clinical cohort must meet, as "fault/channel" -> rows.

    Orphans name no stay, so all of them are met; swaps are counted as pairs under "pressure".
    """
    inside = stays.eligible[readings.stay] & (readings.second < window_seconds)
    counts: dict[str, int] = {}
    for name in FAULTS[1:]:
        met = readings.has(name) & (inside | (name == "orphan"))
        if name == "swap":
            counts["swap/pressure"] = int((met & (readings.channel == SYSTOLIC)).sum())
            continue
        met &= readings.extra | (name == "slip")
        for channel, rows in enumerate(np.bincount(readings.channel[met], minlength=7)):
            counts[f"{name}/{CHANNELS[channel]}"] = int(rows)
    return {key: rows for key, rows in counts.items() if rows}
