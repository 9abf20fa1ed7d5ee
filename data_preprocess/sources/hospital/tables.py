"""The tables of a raw hospital release: .csv or .csv.gz files in its folder.

Every column is read as text and cast where it is used, after the item filter, so the millions of
rows that are not wanted are never parsed.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from configs.runtime.errors import DataError, MissingInputError, few
from data_preprocess.storage.cell_text import text_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import (
    TableFile,
    open_table,
    require_all_rows,
    require_columns,
)

MOST_UNREADABLE = 0.01
FOLDERS = ("icu", "hosp", "core")  # of MIMIC-IV; core/ up to version 1.0


def find_table(folder: Path, name: str, needed: Sequence[str]) -> TableFile:
    """The table `name` in `folder` or, as MIMIC-IV has it, in one of FOLDERS below it: .csv.gz
    (preferred, as released) or .csv, in any case.

    Args:
        needed: columns that must be there, lower case.

    Raises:
        MissingInputError: no such folder or file.
        DataError: the file is empty, not gzip, cut off in the header, or lacks a column.
    """
    if not folder.is_dir():
        raise MissingInputError(
            f"folder {folder.absolute()} {'is a file' if folder.exists() else 'does not exist'}; "
            f"expected the folder of the release that holds {name}.csv.gz"
        )
    places = [place for sub in (".", *FOLDERS) if (place := folder / sub).is_dir()]
    for suffix in (".csv.gz", ".csv"):
        for path in (path for place in places for path in sorted(place.iterdir())):
            if path.name.lower() == name.lower() + suffix and path.is_file():
                table = open_table(path, key=name, lower=True)
                require_columns(table, list(needed), f"is this really the table {name}?")
                return table
    above = folder.absolute().parent
    near = (
        *folder.glob("*/*"),
        *above.glob("*"),
        *(p for f in FOLDERS for p in above.glob(f"{f}/*")),
    )
    level = [path for path in near if path.name.lower() in (f"{name}.csv.gz", f"{name}.csv")]
    raise MissingInputError(
        f"{name}.csv.gz (or .csv) is not in {', '.join(map(str, places))}, "
        + (
            f"but {level[0]} is there: give the folder of the release, one level lower or higher"
            if level
            else f"which holds {few(sorted(p.name for p in folder.iterdir())) or 'nothing'}; "
            "download it from PhysioNet, where a full release needs credentialed access and the "
            "demo does not"
        )
    )


def drop_outside(engine: Engine, made: str, outside: str, where: str) -> list[str]:
    """Removes the rows of the engine's table `made` that lie outside the window, by the SQL
    `outside`; their count for the card, with `where` they were charted."""
    rows = f"SELECT count(*) FROM {made} WHERE {outside}"
    notes = engine.counted({f"{where}: rows outside the window, not used": rows})
    if notes:
        engine.run(f"DELETE FROM {made} WHERE {outside}")
    return notes


def load_table(
    engine: Engine, name: str, table: TableFile, cells: Mapping[str, Callable[[str], str]]
) -> list[str]:
    """Makes the engine's table `name`: the columns of `cells`, each read by its function of
    cell_text.py; NULL where `table` lacks one or the cell cannot be read. Returns counts of
    these cells for the card.

    Raises:
        DataError: more than 1 % of a column's cells cannot be read. Unknown would be the wrong
            word for them: a death in the window, say, would not be seen.
    """
    require_all_rows(engine, table)
    # NaN, a number that cannot be read, is greater than every bound.
    read = {
        column: f"(CASE WHEN {cell(column)}::VARCHAR <> 'nan' THEN {cell(column)} END)"
        for column, cell in cells.items()
        if column in table.columns
    }
    picked = ", ".join(
        f"{read.get(column, cell('NULL'))} AS {column}" for column, cell in cells.items()
    )
    kept = f"{name}_cells"  # the file is read once
    engine.run(
        f"CREATE TABLE {kept} AS SELECT {', '.join(read)} FROM {table.scan}", source=table.path
    )
    engine.run(f"CREATE TABLE {name} AS SELECT {picked} FROM {kept}")
    notes = []
    for column, value in read.items():
        bad = f"{text_sql(column)} IS NOT NULL AND {value} IS NULL"
        if lost := require_readable(engine, table, [column], made=kept, bad=bad, unreadable=bad):
            what = "cells that cannot be read, taken as unknown"
            notes.append(f"{name}.{column}: {what}: {lost:,}")
    engine.run(f"DROP TABLE {kept}")
    return notes


def require_readable(
    engine: Engine,
    table: TableFile,
    columns: Sequence[str],
    *,
    made: str,
    bad: str,
    unreadable: str,
) -> int:
    """The rows of a table with a time or number that cannot be read; refused if more than 1 %.

    Args:
        columns: the cells that the message shows.
        made: the engine's table of these rows; bad: SQL over it that finds a bad one.
        unreadable: SQL over `table` itself that finds one.

    Raises:
        DataError: names the file and the first such cells.
    """
    total = engine.number(f"SELECT count(*) FROM {made}")
    count = engine.number(f"SELECT count(*) FROM {made} WHERE {bad}")
    if count <= MOST_UNREADABLE * total:
        return count
    shown = ", ".join(columns)
    example = engine.rows(f"SELECT {shown} FROM {table.scan} WHERE {unreadable} LIMIT 1")
    raise DataError(
        f"{table.path}: {count:,} of {total:,} rows have a time or a number that cannot be read "
        f"({shown}: {', '.join(repr(cell) for cell in example[0]) if example else 'empty'}); "
        "expected times as YYYY-MM-DD HH:MM:SS and numbers as digits in nearly every row"
    )


def require_unique(engine: Engine, name: str, key: str, path: Path) -> None:
    """Raises DataError if a value of `key` stands in two rows of the engine's table `name`."""
    twice = engine.rows(
        f"SELECT {key}, count(*) FROM {name} GROUP BY {key} HAVING count(*) > 1 ORDER BY 1"
    )
    if twice:
        raise DataError(
            f"{path}: {key} {twice[0][0]} stands in {twice[0][1]} rows ({len(twice)} such ids); "
            "every row must have an id of its own - was the file joined from pieces?"
        )
