"""look: what the columns of a table hold, by reading all of its cells; and what their names say."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data_preprocess.storage.cell_text import name_sql, text_sql, truth_or_number_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile, identifier

_THOUSANDS = "'[+-]?[1-9][0-9]{0,2}[.,][0-9]{3}'"
_KEY = re.compile(r"(^|[^a-z])(id|no|nr|row)$|(seq|index)$")  # the end of a name
_PANDAS_INDEX = re.compile(r"__index_level_\d+__")
_MOSTLY = 0.5  # share of readable cells from which on a column holds numbers


@dataclass(frozen=True)
class Column:
    """The cells of one column.

    Attributes:
        filled: that are not missing; numbers, comma_numbers: that can be read with a decimal point
            and with a comma; points, commas: that have one; thousands: whose point or comma stands
            before three digits.
        different: numbers that differ as text.
        odd, point_cell, comma_cell: the first that is no number, that has a point, that has a
            comma; "" if there is none.
    """

    name: str
    filled: int
    numbers: int
    comma_numbers: int
    points: int
    commas: int
    thousands: int
    different: int
    odd: str
    point_cell: str
    comma_cell: str

    @property
    def is_numeric(self) -> bool:
        """Whether most cells are numbers, with whatever decimal sign."""
        return self.filled > 0 and max(self.numbers, self.comma_numbers) > _MOSTLY * self.filled

    @property
    def is_index(self) -> bool:
        """Whether pandas wrote it beside the columns: the numbers of rows."""
        return _PANDAS_INDEX.fullmatch(self.name) is not None

    @property
    def may_be_key(self) -> bool:
        """Whether its whole numbers may count or name something: no two are equal, or so its name
        says ("row_no", "caregiverId")."""
        whole = self.numbers == self.filled and not self.points + self.commas
        apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", self.name).lower()
        return whole and (self.different == self.filled or _KEY.search(apart) is not None)


def look(engine: Engine, table: TableFile) -> dict[str, Column]:
    """The columns of a table, by name."""
    only_point, only_comma = (
        "NOT isnan(point) AND isnan(comma)",
        "isnan(point) AND NOT isnan(comma)",
    )
    counted = (
        "cell IS NOT NULL",
        "NOT isnan(point)",
        "NOT isnan(comma)",
        only_point,
        only_comma,
        f"isnan(point) <> isnan(comma) AND regexp_full_match(cell, {_THOUSANDS})",
    )
    measures = [f"coalesce(sum(n) FILTER ({what}), 0)::BIGINT" for what in counted]
    measures.append("count(DISTINCT cell) FILTER (NOT isnan(point) OR NOT isnan(comma))")
    for what in ("isnan(point) AND isnan(comma)", only_point, only_comma):
        measures.append(f"coalesce(first(cell) FILTER ({what}), '')")
    found = {}
    for name in table.columns:
        point, comma = (truth_or_number_sql("raw", decimal=sign) for sign in (".", ","))
        row = engine.rows(  # what is equal is read once
            f"""SELECT {", ".join(measures)} FROM (
                SELECT {text_sql("raw")} AS cell, {point} AS point, {comma} AS comma, n
                FROM (SELECT {identifier(name)} AS raw, count(*) AS n FROM {table.scan} GROUP BY 1))
            """
        )[0]
        found[name] = Column(name, *row)
    return found


def constant_within(
    engine: Engine,
    table: TableFile,
    key: str,
    names: Iterable[str],
    *,
    only_repeated: bool = False,
) -> dict[str, bool]:
    """Per column, whether it has one value in every series.

    Args:
        only_repeated: and stands more than once in one: what is measured once does not.
    """
    cells = {name: text_sql(identifier(name)) for name in names}
    if not cells:
        return {}
    counts = ", ".join(
        f"min({cell}) < max({cell}) AS differ{k}, count({cell}) AS all{k}"
        for k, cell in enumerate(cells.values())
    )
    most = ", ".join(f"bool_or(differ{k}), max(all{k})" for k in range(len(cells)))
    series = text_sql(identifier(key))
    row = iter(
        engine.rows(
            f"SELECT {most} FROM (SELECT {counts} FROM {table.scan} "
            f"WHERE {series} IS NOT NULL GROUP BY {series})"
        )[0]
    )
    return {
        name: not differ and not (only_repeated and (filled or 0) <= 1)
        for name, differ, filled in zip(cells, row, row, strict=True)
    }


@dataclass(frozen=True)
class Variable:
    """The cells of one variable: numbers that differ, cells that are filled and no numbers, and the
    first of these."""

    different: int
    bad: int
    odd: str


def variables_of(
    engine: Engine, table: TableFile, variable: str, value: str
) -> dict[str, Variable]:
    """The variables of a long table, by name in order."""
    name, cell = name_sql(identifier(variable)), identifier(value)
    point, comma = (truth_or_number_sql(cell, decimal=sign) for sign in (".", ","))
    text, number = text_sql(cell), f"NOT isnan({point}) OR NOT isnan({comma})"
    rows = engine.rows(
        f"SELECT {name}, count(DISTINCT {text}) FILTER ({number}), count({text}) FILTER "
        f"(NOT ({number})), coalesce(first({text}) FILTER (NOT ({number})), '') "
        f"FROM {table.scan} WHERE {name} IS NOT NULL GROUP BY 1 ORDER BY 1"
    )
    return {str(row[0]): Variable(*row[1:]) for row in rows}


def plain(name: str) -> str:
    """A column name without unit, case and punctuation: "Stay_ID [no.]" -> "stayid"."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"[\[(].*", "", name).lower())


def named(columns: Sequence[str], wanted: Sequence[str]) -> str | None:
    """The column that has the first of the `wanted` plain names that is there."""
    by_name = {plain(name): name for name in reversed(columns)}
    return next((by_name[name] for name in wanted if name in by_name), None)
