"""The channels of the PhysioNet/CinC Challenges of 2012 and 2019; which values are plausible."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from configs.runtime.errors import ConfigError
from data_preprocess.sources.vocabulary import QUANTITIES, Quantity

# By the Challenge's own name.
PARAMETERS_2012 = {quantity.in_2012: quantity for quantity in QUANTITIES if quantity.in_2012}
PARAMETERS_2019 = {quantity.in_2019: quantity for quantity in QUANTITIES if quantity.in_2019}
DESCRIPTORS = ("RecordID", "Age", "Gender", "Height", "ICUType")

# A step without an invasive pressure takes the one by cuff.
_CUFF = {"SysABP": ("NISysABP",), "DiasABP": ("NIDiasABP",), "MAP": ("NIMAP",)}
SUMMED = ("Urine",)  # amounts add up within a step, everything else is averaged


@dataclass(frozen=True)
class Channel:
    """One channel: its name with unit, and the parameters that measure it, best first."""

    name: str
    parameters: tuple[str, ...]


CHANNELS_2012 = {
    quantity.name: Channel(
        f"{quantity.name}[{quantity.unit}]", (parameter, *_CUFF.get(parameter, ()))
    )
    for parameter, quantity in PARAMETERS_2012.items()
    if quantity.name
} | {
    parameter: Channel(f"{parameter}[{quantity.unit}]", (parameter,))
    for parameter, quantity in PARAMETERS_2012.items()
}
CHANNELS_2019 = {
    name: Channel(f"{quantity.name}[{quantity.unit}]", (column,))
    for column, quantity in PARAMETERS_2019.items()
    for name in (quantity.name, column)
}


def channels_named(
    names: Sequence[str], known: Mapping[str, Channel], source: str
) -> tuple[Channel, ...]:
    """The channels that the config lists, by our name or by the Challenge's.

    Raises:
        ConfigError: an unknown or repeated name, or none.
    """
    key = f"data.{source}.channels"
    for name in names:
        if name not in known:
            raise ConfigError(f"{key}: unknown channel {name!r}; known: {', '.join(known)}")
    chosen = tuple(known[name] for name in names)
    if not names or len({channel.parameters for channel in chosen}) != len(names):
        raise ConfigError(f"{key}={names}: expected one name or more, each variable once")
    return chosen


def plausible_only(
    values: Float[np.ndarray, " n"], parameter: str, quantity: Quantity
) -> tuple[Float[np.ndarray, " n"], list[str]]:
    """The values within the range, NaN elsewhere, and a note that counts what was refused."""
    low, high = quantity.low, quantity.high
    plausible = (values >= low) & (values <= high)
    measured = int((~np.isnan(values)).sum())
    outside = measured - int(plausible.sum())
    note = (
        f"{parameter}: outside {low:g}..{high:g} {quantity.unit}, set to missing: "
        f"{outside:,} of {measured:,} values"
    )
    return np.where(plausible, values, np.nan), [note] * (outside > 0)
