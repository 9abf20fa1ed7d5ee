"""warn_of_units: one channel of a long table in several units is most likely a mistake."""

import logging
import re
from collections.abc import Collection

from configs.runtime.errors import few
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.storage.cell_text import name_sql, text_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile, identifier, quoted

_UNITS = ("unit", "units", "uom", "valueuom", "valueunit", "unitofmeasure", "measurementunit")

log = logging.getLogger("tardiff.data")


def unit_column(table: TableFile) -> str | None:
    """The column that has a name for units."""
    plain = {re.sub(r"[^a-z]", "", name.lower()): name for name in table.columns}
    return next((plain[name] for name in _UNITS if name in plain), None)


def warn_of_units(
    engine: Engine, table: TableFile, form: TableForm, names: Collection[str]
) -> None:
    """Warns of channels with several units in a column that a long table has for them.

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
