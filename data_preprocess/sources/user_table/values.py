"""choose_channels, arrange: the values of a user's table by series, channel and moment."""

import logging
import re
from collections.abc import Collection, Sequence

from configs.runtime.errors import ConfigError, DataError, few
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.outcomes import COLUMNS_HINT
from data_preprocess.sources.user_table.times import EXPECTED, Moments
from data_preprocess.storage.cell_text import id_sql, name_sql, text_sql, truth_or_number_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile, identifier, quoted, require_columns

_SHOWN = 3
_MANY_REPEATS = 0.05  # share of moments of a channel
_UNITS = ("unit", "units", "uom", "valueuom", "valueunit", "unitofmeasure", "measurementunit")

log = logging.getLogger("tardiff.data")


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
    both, pairs = _pairs(form, channels)
    number = truth_or_number_sql("cell", decimal=form.decimal)
    engine.run(  # what stands beside unnest() in one SELECT is computed for every cell of a row
        f"""CREATE TABLE arranged AS SELECT id, row, channel, low, high, moment, time_text,
            {number} AS v, {text_sql("cell")} AS text
        FROM (SELECT id, moment, time_text, {pairs} FROM (
            SELECT {id_sql(identifier(form.id))} AS id, {times.sql} AS moment,
                   {text_sql(identifier(form.time))} AS time_text, {both} FROM {table.scan}))
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
    engine.run("DROP TABLE arranged")
    return notes + _repeats(engine, table, form)


def _repeats(engine: Engine, table: TableFile, form: TableForm) -> list[str]:
    """Counts repeats that differ; many are most likely days on top of each other."""
    differ, total = engine.rows(
        "SELECT count(*) FILTER (low < high), count(*) FROM (SELECT min(v) AS low, max(v) AS high "
        "FROM measured GROUP BY row, channel, moment)"
    )[0]
    if differ > _MANY_REPEATS * total:
        log.warning(
            "%s: at %.0f %% of its times a channel has several values that differ; they are "
            "averaged. Is `%s` the whole time of a measurement? By a time of day without its date, "
            "or an hour without its day, all days are taken for one",
            table.path,
            100 * differ / total,
            form.time,
        )
    note = f"repeats of one channel at one time that differ, averaged: {differ:,}"
    return [note] if differ else []


def unit_column(table: TableFile) -> str | None:
    """The column that has a name for units."""
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in table.columns}
    return next((plain[name] for name in _UNITS if name in plain), None)


def warn_of_units(
    engine: Engine, table: TableFile, form: TableForm, names: Collection[str]
) -> None:
    """Warns of channels with several units in a column that a long table has for them: most likely
    a mistake.

    Args:
        names: the variables that are read.
    """
    column = unit_column(table)
    if column is None or form.layout == "wide" or column in (form.subject, *form.static):
        return
    cells = [identifier(name) for name in (form.variable, column)]
    rows = engine.rows(
        f"""SELECT variable, any_value(unit), sum(n)::BIGINT FROM (
            SELECT {name_sql(cells[0])} AS variable, {text_sql(cells[1])} AS unit, n
            FROM (SELECT {", ".join(cells)}, count({identifier(form.value)}) AS n FROM {table.scan}
                GROUP BY ALL))
        WHERE unit IS NOT NULL AND n > 0 AND variable IN ({", ".join(map(quoted, names))})
        GROUP BY variable, lower(unit) ORDER BY 1, 3 DESC, 2"""
    )
    units: dict[str, list[str]] = {}
    spellings: dict[str, set[str]] = {}
    for variable, unit, count in rows:
        units.setdefault(variable, []).append(f"{unit} {count:,}")
        spellings.setdefault(variable, set()).add(unit.lower())
    shared = set.intersection(*spellings.values()) if len(spellings) > 2 else set()
    if len(shared) > 1:  # wards, say: pressures alone share two units, and nothing else does
        return
    if mixed := [f"`{name}` ({few(found)})" for name, found in units.items() if len(found) > 1]:
        log.warning(
            "%s: values in several units by the column %s, read as one: %s. Convert them in the "
            "file, or give each unit a variable of its own",
            table.path,
            column,
            "; ".join(mixed),
        )


def _pairs(form: TableForm, channels: Sequence[str]) -> tuple[str, str]:
    """SQL for the variables and cells of a row, and over these for each variable and its cell."""
    if form.layout != "wide":
        named, value = name_sql(identifier(form.variable)), identifier(form.value)
        return f"{named} AS variable, {value} AS cell", "variable, cell"
    variables = ", ".join(map(quoted, channels))
    cells = ", ".join(_text_of_cell(identifier(name), form.decimal) for name in channels)
    return (
        f"[{variables}] AS variable, [{cells}] AS cell",
        "unnest(variable) AS variable, unnest(cell) AS cell",
    )


def _text_of_cell(column: str, decimal: str) -> str:
    """A cell as text, for a list has one type; what is no text gets the decimal sign of text."""
    text = f"{column}::VARCHAR"
    if decimal == ".":
        return text
    other = f"replace({text}, '.', {quoted(decimal)})"
    return f"CASE WHEN typeof({column}) = 'VARCHAR' THEN {text} ELSE {other} END"


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
