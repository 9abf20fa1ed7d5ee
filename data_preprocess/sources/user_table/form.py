"""TableForm: how a user's table is laid out; the values of `data.table`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from configs.runtime.errors import ConfigError

MINUTES = {"seconds": 1 / 60, "minutes": 1.0, "hours": 60.0, "days": 1440.0}
_MEDS = {"id": "subject_id", "time": "time", "variable": "code", "value": "numeric_value"}
MEDS_END = "prediction_time"


@dataclass(frozen=True, kw_only=True)
class TableForm:
    """Files, column names and rules of a table; docs/data.md explains each.

    Attributes:
        series: the table of values; labels: one with a row per id, None: columns of `series`.
        layout: "long", "wide" or "meds".
        id, time, variable, value, label, subject: column names.
        start, end: columns of `labels`: time zero of a series; its last moment, from which the
            window counts back where there is no `start`.
        static: columns of `labels` that become static covariates.
        channels: variables in channel order; None: all, by name.
        classes: labels in class order; None: by number or name.
        ranges: plausible values per channel, [low, high].
        time_unit: of times that are numbers, one of MINUTES.
        decimal: the decimal sign of CSV cells.
        drop_unreadable: leave cells out that cannot be read, instead of refusing the table.
        drop_outside: accept that most values lie outside the window.
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
        return replace(form, **_MEDS) if form.layout == "meds" else form
