"""on_grid: the measured values of a user's table in the window, as the mean of each step."""

import numpy as np
from jaxtyping import Float

from configs.runtime.errors import DataError
from data_preprocess.sources.registry import Settings
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.times import STAMPS, Moments
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile

ROUNDING = 5e-8  # minutes; stamps are minutes since 1970 as doubles, which are 1.5e-8 apart
_MOST_OUTSIDE = 0.5
# An early part of a series is a slip if the gap after it is this many times what follows.
_SLIP_GAP = 10


def on_grid(
    engine: Engine,
    table: TableFile,
    form: TableForm,
    times: Moments,
    shape: tuple[int, int],
    settings: Settings,
) -> tuple[Float[np.ndarray, "n channel time"], list[str]]:
    """The mean per step (NaN where none) and counts for the card.

    Args:
        shape: numbers of series and of channels.

    Raises:
        DataError: most values lie outside the window, or every series has one step only: the unit
            or the origin of the times is not what was assumed.
    """
    notes = _place_in_time(engine, form, times, settings)
    width = settings.step_minutes
    rounding = min(ROUNDING, width / 4)  # on a grid of microseconds half a step is no rounding
    step = f"floor((minute + {rounding}) / {width} + 1e-9)"
    # A window that ends at a moment holds the values of that moment.
    if form.end is not None and form.start is None:
        step = f"ceil((minute - {rounding}) / {width} - 1e-9) - 1"
    inside = f"{step} >= 0 AND {step} < {settings.num_steps} AND NOT late"
    engine.run(
        f"""CREATE TABLE cells AS SELECT row, channel, ({step})::BIGINT AS step, avg(v) AS v
        FROM placed WHERE {inside} GROUP BY ALL""",
    )
    values = engine.grid((*shape, settings.num_steps), np.float64)
    total = engine.number("SELECT count(*) FROM placed")
    outside = engine.number(f"SELECT count(*) FROM placed WHERE NOT ({inside})")
    _require_plausible(values, outside, total, table, form, times, settings)
    return values, [f"values outside the window, not used: {outside:,}"] * (outside > 0) + notes


def _place_in_time(
    engine: Engine, form: TableForm, times: Moments, settings: Settings
) -> list[str]:
    """Makes `placed`: `measured` with `minute` from the window's start, `late` after the end."""
    zero, source, notes = "0", "measured JOIN ids USING (row)", []
    if form.start is not None:
        zero = "first"
    elif form.end is not None:
        zero = f"last - {settings.window_hours * 60}"
    elif times.kind == STAMPS:
        _find_origins(engine, settings.window_hours * 60)
        zero, source = "origin", f"{source} JOIN origins USING (row)"
        early = f"SELECT count(*) FROM {source} WHERE moment < origin"
        what = "values dated long before all others of their series, not used"
        notes = engine.counted({what: early})
    engine.run(
        f"""CREATE TABLE placed AS SELECT row, channel, v, moment - ({zero}) AS minute,
            coalesce(moment > last, false) AS late FROM {source}"""
    )
    return notes


def _find_origins(engine: Engine, window_minutes: float) -> None:
    """Makes `origins` (row, origin): the first moment of each series.

    Fewer than half of the moments, before a gap longer than the window and ten times what follows,
    are a slip in the date and open no window.
    """
    engine.run(f"""
        CREATE TABLE origins AS
        WITH apart AS (SELECT DISTINCT row, moment FROM measured),
        gaps AS (SELECT row, moment, moment - lag(moment) OVER (PARTITION BY row ORDER BY moment)
                 AS gap FROM apart),
        widest AS (SELECT row, max(gap) AS gap, arg_max(moment, gap) AS after, min(moment) AS low,
                   max(moment) AS high, count(*) AS n FROM gaps GROUP BY row),
        early AS (SELECT row, count(*) AS n FROM apart JOIN widest USING (row)
                  WHERE moment < after GROUP BY row)
        SELECT row, CASE WHEN gap > greatest({window_minutes}, {_SLIP_GAP} * (high - after))
            AND 2 * early.n < widest.n THEN after ELSE low END AS origin
        FROM widest LEFT JOIN early USING (row)""")


def _require_plausible(
    values: Float[np.ndarray, "n channel time"],
    outside: int,
    total: int,
    table: TableFile,
    form: TableForm,
    times: Moments,
    settings: Settings,
) -> None:
    """The checks on the unit and origin of the times; see `on_grid`."""
    window = f"the window of {settings.window_hours:g} h"
    if total and outside == total:
        raise DataError(
            f"{table.path}: no value lies in {window}; times were taken as {times.described(form)}"
        )
    assumed = (
        f"times were taken as {times.described(form)}, counted from {times.zero(form)}"
        + form.advice(" (data.table.start names a column with time zero)")
    )
    if not form.drop_outside and outside > _MOST_OUTSIDE * total:
        raise DataError(
            f"{table.path}: {outside:,} of {total:,} values lie outside {window}; {assumed}. If "
            "that is right, set data.table.drop_outside=true"
        )
    steps = (~np.isnan(values)).any(axis=1).sum(axis=1)
    if settings.num_steps > 1 and len(steps) and steps.max() <= 1:
        raise DataError(
            f"{table.path}: in every series {settings.num_steps - 1} of {settings.num_steps} steps "
            f"are empty; {assumed}. Does the time count steps or another unit?"
        )
