"""arrange, on_grid: the values of a user's table as (series, channel, minute), then on the grid."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from configs.runtime.errors import ConfigError, DataError, few
from data_preprocess.sources.registry import Settings
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.outcomes import COLUMNS_HINT
from data_preprocess.sources.user_table.times import EXPECTED, STAMPS, Moments
from data_preprocess.sources.user_table.units import warn_of_units
from data_preprocess.storage.cell_text import id_sql, name_sql, text_sql, truth_or_number_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile, identifier, quoted, require_columns

ROUNDING = 5e-8  # minutes; stamps are minutes since 1970 as doubles, which are 1.5e-8 apart
_MOST_OUTSIDE = 0.5
# An early part of a series is a slip if the gap after it is this many times what follows.
_SLIP_GAP = 10
_SHOWN = 3


def choose_channels(engine: Engine, table: TableFile, form: TableForm) -> list[str]:
    """The channel names in order: those asked for, or all that the table has.

    Raises:
        DataError: a column is missing. ConfigError: `form.ranges` names no channel.
    """
    if form.layout == "wide":
        require_columns(table, [form.id, form.time, *(form.channels or ())], COLUMNS_HINT)
        other = {form.id, form.time, form.label, form.subject, form.start, form.end, *form.static}
        channels = list(form.channels or [name for name in table.columns if name not in other])
    else:
        require_columns(table, [form.id, form.time, form.variable, form.value], COLUMNS_HINT)
        channels = list(form.channels or _variables(engine, table, form))
    strange = sorted(set(form.ranges) - set(channels))
    if strange:
        raise ConfigError(
            f"data.table.ranges names {', '.join(strange)}; the channels are {', '.join(channels)}"
        )
    return channels


def _variables(engine: Engine, table: TableFile, form: TableForm) -> list[str]:
    variable, value = name_sql(identifier(form.variable)), text_sql(identifier(form.value))
    rows = engine.rows(
        f"SELECT DISTINCT {variable} FROM {table.scan} "
        f"WHERE {value} IS NOT NULL AND {variable} IS NOT NULL ORDER BY 1"
    )
    return [str(row[0]) for row in rows]


def arrange(
    engine: Engine, table: TableFile, form: TableForm, channels: Sequence[str], times: Moments
) -> list[str]:
    """Makes the table `measured` (row, channel, moment, v); returns counts for the card.

    Raises:
        DataError: cells cannot be read, no id of the labels is in the series, or a channel has no
            value.
    """
    engine.fill(
        "channels",
        "variable VARCHAR, channel INTEGER, low DOUBLE, high DOUBLE",
        [
            (name, k, *(map(float, form.ranges[name]) if name in form.ranges else (None, None)))
            for k, name in enumerate(channels)
        ],
    )
    warn_of_units(engine, table, form, channels)
    cells, pairs = _pairs(form, channels)
    engine.run(  # what stands beside unnest() in one SELECT is computed for every cell of a row
        f"""CREATE TABLE arranged AS SELECT id, row, channel, low, high, moment, time_text, v, text
        FROM (SELECT id, moment, time_text, {pairs} FROM (
            SELECT {id_sql(identifier(form.id))} AS id, {times.sql} AS moment,
                   {text_sql(identifier(form.time))} AS time_text, {cells} FROM {table.scan}))
        LEFT JOIN ids USING (id) LEFT JOIN channels USING (variable)""",
        source=table.path,
    )
    engine.run(  # beside other numbers than 1 and 0 a truth value is none of them
        "UPDATE arranged SET v = 'nan' WHERE lower(text) IN ('true', 'false') AND channel IN "
        "(SELECT channel FROM arranged WHERE v NOT IN (0, 1) AND NOT isnan(v))"
    )
    notes = _unmatched(engine, table, form)
    _require_every_channel(engine, table, form, channels)
    notes += _unreadable(engine, table, form, channels)
    outside = "SELECT count(*) FROM arranged WHERE row IS NOT NULL AND NOT v BETWEEN low AND high"
    notes += engine.counted({"values outside data.table.ranges, set to missing": outside})
    engine.run(
        "CREATE TABLE measured AS SELECT row, channel, moment, v FROM arranged WHERE row IS NOT "
        "NULL AND channel IS NOT NULL AND moment IS NOT NULL AND v IS NOT NULL AND NOT isnan(v) "
        "AND coalesce(v BETWEEN low AND high, true)"
    )
    differing = (
        "SELECT count(*) FROM (SELECT 1 FROM measured "
        "GROUP BY row, channel, moment HAVING min(v) < max(v))"
    )
    notes += engine.counted({"repeats of one channel at one time that differ, averaged": differing})
    engine.run("DROP TABLE arranged")
    return notes


def _pairs(form: TableForm, channels: Sequence[str]) -> tuple[str, str]:
    """SQL for the cells of a row, and over these for the variable, v and text of each."""
    if form.layout != "wide":
        value = identifier(form.value)
        return (
            f"{name_sql(identifier(form.variable))} AS variable, "
            f"{truth_or_number_sql(value, decimal=form.decimal)} AS v, {text_sql(value)} AS text"
        ), "variable, v, text"
    columns = [identifier(name) for name in channels]
    numbers = [truth_or_number_sql(column, decimal=form.decimal) for column in columns]
    cells = ", ".join(
        f"{number} AS v{k}, {text_sql(column)} AS text{k}"
        for k, (column, number) in enumerate(zip(columns, numbers, strict=True))
    )
    lists = (
        ", ".join(quoted(name) for name in channels),
        ", ".join(f"v{k}" for k in range(len(columns))),
        ", ".join(f"text{k}" for k in range(len(columns))),
    )
    return cells, ", ".join(
        f"unnest([{items}]) AS {name}"
        for items, name in zip(lists, ("variable", "v", "text"), strict=True)
    )


def _unmatched(engine: Engine, table: TableFile, form: TableForm) -> list[str]:
    """Counts of ids that stand on one side only."""
    matched = engine.number("SELECT count(DISTINCT row) FROM arranged")
    if not matched:
        sides = [
            ", ".join(
                str(row[0])
                for row in engine.rows(
                    f"SELECT DISTINCT id FROM {name} WHERE id IS NOT NULL ORDER BY 1 LIMIT {_SHOWN}"
                )
            )
            for name in ("ids", "arranged")
        ]
        raise DataError(
            f"{table.path}: no id of the labels is in the series (labels: {sides[0]}, ...; series: "
            f"{sides[1] or 'none'}, ...); "
            + form.advice(f"check data.table.id={form.id}", "are both files of one cohort?")
        )
    return engine.counted(
        {
            "ids of the series without a label, not read": (
                "SELECT count(DISTINCT id) FROM arranged WHERE row IS NULL"
            ),
            "rows without an id, not read": "SELECT count(*) FROM arranged WHERE id IS NULL",
        }
    )


def _require_every_channel(
    engine: Engine, table: TableFile, form: TableForm, channels: Sequence[str]
) -> None:
    rows = engine.rows("SELECT DISTINCT channel FROM arranged WHERE text IS NOT NULL")
    there = {row[0] for row in rows}
    absent = [name for k, name in enumerate(channels) if k not in there]
    if not absent:
        return
    has = f"; fill the columns, or leave them out of data.{form.source}.channels"
    if form.layout != "wide":
        known = _variables(engine, table, form)
        has = f"; the table has {few(known, 20)}"
    raise DataError(f"{table.path}: no value of {', '.join(absent)}{has}")


def _unreadable(
    engine: Engine, table: TableFile, form: TableForm, channels: Sequence[str]
) -> list[str]:
    """Counts cells that are there and cannot be read; refuses them unless `form` drops them."""
    here = "row IS NOT NULL AND channel IS NOT NULL"
    rows = engine.rows(
        f"""SELECT channel, count(*), first(text), first(id) FROM arranged
        WHERE {here} AND isnan(v) GROUP BY channel ORDER BY channel"""
    )
    found = [(str(channels[row[0]]), *row[1:]) for row in rows]
    row = engine.rows(
        f"""SELECT count(*), first(time_text), first(id) FROM arranged
        WHERE {here} AND moment IS NULL AND time_text IS NOT NULL"""
    )[0]
    found += [(form.time, *row)] if row[0] else []
    limits = engine.counted(
        {
            "cells of a limit such as <5 (write the limit, 5, into the file to keep them)": (
                f"SELECT count(*) FROM arranged WHERE {here} AND isnan(v) AND text[1] IN ('<','>')"
            )
        }
    )
    if found and not form.drop_unreadable:
        shown = "; ".join(
            f"{n} {count:,}, first {text!r} (id {who})" for n, count, text, who in found
        )
        shown = ". ".join([shown, *limits])
        raise DataError(
            f"{table.path}: cells that cannot be read as numbers or times: {shown}. "
            f"{_hint(form, found)}"
            + form.advice(
                "Leave them out with data.table.drop_unreadable=true",
                "Correct or empty these cells in the file",
            )
        )
    notes = [f"{n}: cells that cannot be read, left out: {count:,}" for n, count, _, _ in found]
    untimed = f"SELECT count(*) FROM arranged WHERE {here} AND time_text IS NULL AND v IS NOT NULL"
    return notes + limits + engine.counted({"values without a time, not used": untimed})


def _hint(form: TableForm, found: Sequence[tuple]) -> str:
    if form.decimal == "." and any("," in str(text) for _, _, text, _ in found):
        return "A decimal comma? " + form.advice("Set data.table.decimal=','. ", "Write a point. ")
    if any(name == form.time for name, *_ in found):
        return f"Of times are {EXPECTED}. "
    if form.layout == "wide" and (form.channels is None or form.source != "table"):
        return (
            f"A column that is no channel? List the channels in data.{form.source}.channels"
            + form.advice(", and columns such as age or sex in data.table.static")
            + ". "
        )
    return ""


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
    values = np.full((*shape, settings.num_steps), np.nan)
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
    for cells in engine.chunks("SELECT row, channel, step, v FROM cells"):
        values[cells["row"], cells["channel"], cells["step"]] = cells["v"]
    total = engine.number("SELECT count(*) FROM placed")
    outside = engine.number(f"SELECT count(*) FROM placed WHERE NOT ({inside})")
    _require_plausible(values, outside, total, table, form, times, settings)
    return values, [f"values outside the window, not used: {outside:,}", *notes]


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
