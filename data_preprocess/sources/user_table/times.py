"""moments: a column of times as minutes, whatever type it has.

Numbers are minutes (or `data.table.time_unit`), lengths of time have their own unit, time stamps
count from 1970 in UTC. The type of a Parquet column decides; of a CSV column the patterns of all of
its cells do, never a guess from the first one.
"""

from dataclasses import dataclass

from configs.runtime.errors import DataError
from data_preprocess.sources.user_table.form import MINUTES, TableForm
from data_preprocess.storage.cell_text import NUMBER, STAMP, ZONED_STAMP, number_sql, text_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile, column_type, identifier, quoted

NUMBERS, STAMPS, DURATIONS = "numbers", "time stamps", "durations"
_ZONED = "time stamps with a zone"
_CLOCK = r"[+-]?[0-9]+:[0-9]{2}:[0-9]{2}(\.[0-9]+)?"
_PATTERNS = {
    NUMBERS: NUMBER,
    STAMPS: STAMP,
    _ZONED: ZONED_STAMP,
    DURATIONS: rf"-?[0-9]+ days?(,? ?{_CLOCK})?|{_CLOCK}",
}
# Which number of 02.03.2020 or 02/03/2020 is the month, the user knows.
EXPECTED = (
    "expected numbers, lengths of time like 01:00:00, or stamps like 2020-01-31 13:05, as "
    "pandas.to_datetime(..., format='%d.%m.%Y %H:%M') makes them"
)


@dataclass(frozen=True)
class Moments:
    """A column of times: SQL for minutes (NULL where none can be read), and what it holds.

    Attributes:
        zoned: time stamps that say their zone.
    """

    sql: str
    kind: str
    zoned: bool = False

    def described(self, form: TableForm) -> str:
        """What the times were taken for, for messages."""
        unit = form.time_unit + form.advice(" (data.table.time_unit)")
        return unit if self.kind == NUMBERS else self.kind

    def zero(self, form: TableForm) -> str:
        """What the times count from, for messages."""
        first = "the first value of each series" if self.kind == STAMPS else "0"
        return form.start or form.end or first


def moments(engine: Engine, table: TableFile, column: str, form: TableForm) -> Moments:
    """How to read the times of a column.

    Raises:
        DataError: a type without a date, text without any time, or time stamps of which only some
            have a zone.
    """
    cell = identifier(column)
    kind = column_type(engine, table, column)
    if kind == "VARCHAR":
        return _of_text(engine, table, column, form)
    if column in table.durations:
        return Moments(f"({cell}::DOUBLE * {table.durations[column]!r})", DURATIONS)
    if kind == "TIMESTAMP WITH TIME ZONE":
        return Moments(f"(epoch({cell}) / 60)", STAMPS, zoned=True)
    if kind.startswith(("TIMESTAMP", "DATE")):
        return Moments(f"(epoch({cell}::TIMESTAMP) / 60)", STAMPS)
    if kind == "INTERVAL":
        return Moments(f"(epoch({cell}) / 60)", DURATIONS)
    if kind in ("BOOLEAN", "BLOB", "UUID") or kind.startswith(("TIME", "STRUCT")):
        raise DataError(
            f"{table.path}: the column {column} holds {kind}; expected minutes as numbers, lengths "
            "of time or time stamps"
        )
    return Moments(f"({number_sql(cell)} * {MINUTES[form.time_unit]!r})", NUMBERS)


def _of_text(engine: Engine, table: TableFile, column: str, form: TableForm) -> Moments:
    text = text_sql(identifier(column))
    counts = ", ".join(
        f"count(*) FILTER (regexp_full_match({text}, {quoted(pattern)}))"
        for pattern in _PATTERNS.values()
    )
    if form.decimal != ".":
        counts = counts.replace(text, f"replace({text}, {quoted(form.decimal)}, '.')", 1)
    row = engine.rows(f"SELECT {counts} FROM {table.scan}")[0]
    found = dict(zip(_PATTERNS, row, strict=True))
    if found[STAMPS] and found[_ZONED]:
        raise DataError(
            f"{table.path}: in the column {column} {found[_ZONED]:,} time stamps have a zone and "
            f"{found[STAMPS]:,} have none; give all or none"
        )
    other = f"SELECT {text} FROM {table.scan} WHERE {text} IS NOT NULL LIMIT 1"
    if not any(found.values()) and (cells := engine.rows(other)):
        raise DataError(unreadable(table, form, column, cells[0][0]))
    kind = max(found, key=lambda name: found[name])
    if kind == NUMBERS:
        number = number_sql(identifier(column), decimal=form.decimal)
        return Moments(f"(nullif({number}, 'nan'::DOUBLE) * {MINUTES[form.time_unit]!r})", kind)
    matches = f"regexp_full_match({text}, {quoted(_PATTERNS[kind])})"
    if kind == DURATIONS:
        plain = f"translate({text}, ',+', ' ')"
        minutes = f"epoch(TRY_CAST({plain} AS INTERVAL)) / 60"
        return Moments(f"(CASE WHEN {matches} THEN {minutes} END)", kind)
    # In a session in UTC, text without a zone is read as UTC, too.
    plain = f"replace({text}, ',', '.')"
    if kind == _ZONED:  # DuckDB wants +01:00 without a space before it, and UTC with one
        in_numbers = f"regexp_replace({plain}, '(Z|UTC|GMT)$', '+00')"
        plain = f"regexp_replace({in_numbers}, ' ([+-])', '\\1')"
    stamp = f"epoch(TRY_CAST({plain} AS TIMESTAMPTZ)) / 60"
    return Moments(f"(CASE WHEN {matches} THEN {stamp} END)", STAMPS, zoned=kind == _ZONED)


def unreadable(table: TableFile, form: TableForm, column: str, cell: str) -> str:
    """What to say of a column whose cells are no times."""
    text = f"{table.path}: the times in `{column}` cannot be read (such as {cell!r}); {EXPECTED}"
    comma = ". A decimal comma?" + form.advice(" Set data.table.decimal=','", " Write a point")
    return text + comma if "," in cell else text
