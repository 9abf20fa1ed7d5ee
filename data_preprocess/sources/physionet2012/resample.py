"""Sorts the events of PhysioNet 2012 into a regular grid: cleaning, unit repair, aggregation."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from data_preprocess.sources.physionet2012.variables import PARAMETERS, RESCALES, Channel

# What no adult has is unknown: -1 marks it, and some heights are in another unit.
STATIC = {
    "Age": ("age[years]", 15, 120),
    "Gender": ("sex[1=male]", 0, 1),
    "Height": ("height[cm]", 120, 230),
    "Weight": ("weight[kg]", 20, 350),
    "ICUType": ("icu_type[1=coronary,2=cardiac surgery,3=medical,4=surgical]", 1, 4),
}
_CODES = ("Gender", "ICUType")  # whole numbers


@dataclass(frozen=True)
class RecordGrid:
    """The records and the time steps that values are sorted into.

    Attributes:
        records: RecordID per row, ascending.
        num_steps: steps from admission on.
        step_minutes: length of a step.
    """

    records: np.ndarray
    num_steps: int
    step_minutes: float

    def cells(self, events: pd.DataFrame) -> np.ndarray:
        """Flat index row * num_steps + step of every event."""
        rows = np.searchsorted(self.records, events["record"].to_numpy())
        steps = (events["minute"].to_numpy() // self.step_minutes).astype(np.int64)
        return rows * self.num_steps + steps


def grid_values(
    events: pd.DataFrame, grid: RecordGrid, channels: tuple[Channel, ...]
) -> tuple[Float[np.ndarray, "n channel time"], list[str]]:
    """Values per record, channel and step (NaN where none), and what was repaired or refused."""
    notes: list[str] = []
    by_parameter = dict(iter(events.groupby("parameter", observed=True)))
    columns = []
    for channel in channels:
        column = np.full(len(grid.records) * grid.num_steps, np.nan)
        for parameter in channel.parameters:
            if parameter in by_parameter:
                clean, found = _clean(by_parameter[parameter], parameter)
                notes += found
                fresh = _aggregate(clean, grid, summed=channel.summed)
                column = np.where(np.isnan(column), fresh, column)
        columns.append(column.reshape(len(grid.records), grid.num_steps))
    return np.stack(columns, axis=1), notes


def _clean(events: pd.DataFrame, parameter: str) -> tuple[pd.DataFrame, list[str]]:
    """The plausible rows of one parameter in its unit, and counted notes."""
    value = events["value"].to_numpy(copy=True)
    notes = []
    for rule in RESCALES:
        hit = (value >= rule.low) & (value <= rule.high)
        if rule.parameter == parameter and hit.any():
            value[hit] = rule.scale * value[hit] + rule.offset
            notes.append(f"{parameter}: {rule.what}: {int(hit.sum()):,} of {len(value):,} values")
    unit, low, high = PARAMETERS[parameter]
    plausible = (value >= low) & (value <= high)
    if not plausible.all():
        notes.append(
            f"{parameter}: outside {low:g}..{high:g} {unit}, set to missing: "
            f"{int((~plausible).sum()):,} of {len(value):,} values"
        )
    return events.assign(value=value).query(f"{low} <= value <= {high}"), notes


def _aggregate(events: pd.DataFrame, grid: RecordGrid, *, summed: bool) -> np.ndarray:
    """Mean (or sum) per cell, NaN where a cell has no value."""
    cells = grid.cells(events)
    size = len(grid.records) * grid.num_steps
    counts = np.bincount(cells, minlength=size)
    totals = np.bincount(cells, weights=events["value"].to_numpy(), minlength=size)
    amounts = totals if summed else totals / np.maximum(counts, 1)
    return np.where(counts > 0, amounts, np.nan)


def static_covariates(events: pd.DataFrame, grid: RecordGrid) -> Float[np.ndarray, "n static"]:
    """The descriptors at admission, NaN where unknown or impossible.

    Where a -1 stands beside a value, the value counts.
    """
    columns = []
    for parameter, (_, low, high) in STATIC.items():
        rows = events.query(f"parameter == {parameter!r} and minute == 0")
        rows = rows.query(f"{low} <= value <= {high}")
        if parameter in _CODES:
            rows = rows.query("value % 1 == 0")
        columns.append(rows.groupby("record")["value"].first().reindex(grid.records).to_numpy())
    return np.stack(columns, axis=1).astype(np.float32)
