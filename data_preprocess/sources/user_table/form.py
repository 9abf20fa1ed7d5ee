"""TableForm: how a user's table is laid out; the values of `data.table`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from configs.runtime.errors import ConfigError

MINUTES = {"seconds": 1 / 60, "minutes": 1.0, "hours": 60.0, "days": 1440.0}
MEDS = {"id": "subject_id", "time": "time", "variable": "code", "value": "numeric_value"}
PREDICTION_TIME = "prediction_time"


@dataclass(frozen=True, kw_only=True)
class TableForm:
    """Files, column names and rules of a table: the keys of `data.table`, as
    configs/schema/data_sources.py and docs/data.md explain them.

    `source` is who made the form: of another source than "table" none of these keys is read.
    """

    series: str | None
    labels: str | None = None
    layout: str = "long"
    id: str = "id"
    time: str = "time"
    variable: str = "variable"
    value: str = "value"
    label: str = "label"
    subject: str | None = None
    start: str | None = None
    end: str | None = None
    static: Sequence[str] = ()
    channels: Sequence[str] | None = None
    classes: Sequence[str] | None = None
    ranges: Mapping[str, Sequence[float]] = field(default_factory=dict)
    time_unit: str = "minutes"
    decimal: str = "."
    drop_unreadable: bool = False
    drop_outside: bool = False
    source: str = "table"

    @property
    def used(self) -> set[str | None] | None:
        """The columns that are read, beside one of units; None: all, as each may be a channel."""
        if self.layout == "wide" and self.channels is None:
            return None
        values = self.channels or () if self.layout == "wide" else (self.variable, self.value)
        where = (self.id, self.time, self.start, self.end)
        return {*where, self.label, self.subject, *self.static, *values}

    def advice(self, keys: str, otherwise: str = "") -> str:
        """What a message says to do: by `keys` of `data.table`, where these are read."""
        return keys if self.source == "table" else otherwise

    @classmethod
    def of(cls, section: Any) -> "TableForm":
        """The form that the section `data.table` describes.

        Raises:
            ConfigError: no table is named, or a range is none.
        """
        form = section if isinstance(section, cls) else cls(**vars(section))
        if form.series is None:
            raise ConfigError(
                "data.table.series is not set: name a .csv, .csv.gz or .parquet table"
            )
        for name, bounds in form.ranges.items():
            if len(bounds) != 2 or not bounds[0] < bounds[1]:
                raise ConfigError(
                    f"data.table.ranges: {name}: {list(bounds)}, expected [low, high]"
                )
        return replace(form, **MEDS) if form.layout == "meds" else form
