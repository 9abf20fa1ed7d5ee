"""open_table: a table on disk as SQL, with nothing guessed.

Every reader scans its tables through this file. DuckDB would take brackets and question marks of a
path for a pattern, turn folder names such as `time=24` into columns, and guess quotes, comments and
rows to skip from a sample. Here the path is exact, columns of CSV files are text, the header is the
first line and every row counts; Parquet files keep their types.
"""

import csv
import gzip
import io
import logging
import re
import zlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import duckdb

from configs.runtime.errors import DataError, MissingInputError, first_line
from data_preprocess.storage.duckdb_engine import SAVE_AS_UTF8, Engine
from data_preprocess.storage.parquet_times import kinds_of_times, one_kind_each

log = logging.getLogger("tardiff.data")

SUFFIXES = (".csv", ".csv.gz", ".parquet")
MAX_HEADER_BYTES = 1 << 20
# Larger files are not read a second time to count their rows.
MAX_COUNTED_BYTES = 32 << 20
_DELIMITERS = ",;\t|"
# Up to and with a line break outside quotes, which open at the beginning of a cell.
_ROW = re.compile(rb'(?:(?:^|(?<=[,;\t|]))"(?:[^"]|"")*"|[^\r\n])*\r?\n?')


@dataclass(frozen=True)
class TableFile:
    """A table found on disk.

    Attributes:
        path: the file, or the folder of Parquet parts.
        columns: its header in order, without spaces around the names.
        scan: SQL that yields the rows; CSV columns as text, an empty cell as NULL.
        is_text: True for CSV.
        delimiter: of a CSV file.
        durations: for a Parquet column that holds lengths of time: the minutes that 1 stands for.
    """

    path: Path
    columns: tuple[str, ...]
    scan: str
    is_text: bool
    delimiter: str = ","
    durations: Mapping[str, float] = field(default_factory=dict)


def open_table(path: Path, *, key: str, lower: bool = False) -> TableFile:
    """The table in `path`: .csv, .csv.gz, .parquet, or a folder of .parquet files.

    Args:
        key: the configuration key that named it, for messages.
        lower: give the columns in lower case.

    Raises:
        MissingInputError: no such file.
        DataError: it is no such table; says what it is.
    """
    if path.is_dir():
        parts = sorted(part for part in path.rglob("*") if part.suffix.lower() == ".parquet")
        if not parts:
            raise DataError(f"{path} ({key}) is a folder without a .parquet file; expected a table")
        return _parquet(path, parts, lower=lower)
    if not path.is_file():
        raise MissingInputError(
            f"{path.absolute()} does not exist ({key} names it); expected a table: "
            f"{', '.join(SUFFIXES)} or a folder of .parquet files"
        )
    if path.suffix.lower() == ".parquet":
        return _parquet(path, [path], lower=lower)
    if path.name.lower().endswith((".csv", ".csv.gz")):
        return _csv(path, lower=lower)
    raise DataError(f"{path} ({key}): unknown kind of table; expected {', '.join(SUFFIXES)}")


def require_columns(table: TableFile, wanted: list[str], hint: str) -> None:
    """Raises DataError unless `table` has all `wanted` columns; `hint` ends the message."""
    absent = [name for name in wanted if name not in table.columns]
    if absent:
        raise DataError(
            f"{table.path}: no column {', '.join(absent)}; it has {', '.join(table.columns)} - "
            f"{hint}"
        )


def column_type(engine: Engine, table: TableFile, column: str) -> str:
    """DuckDB's name for the type of a column."""
    described = f"DESCRIBE SELECT {identifier(column)} FROM {table.scan}"
    return str(engine.rows(described, source=table.path)[0][1])


def load(
    engine: Engine, table: TableFile, name: str, wanted: Collection[str | None] | None = None
) -> TableFile:
    """A CSV file as the engine's table `name`; Parquet, which is fast to scan, as it is.

    A query parses a file anew, and what is computed of each of its cells is computed once of each
    different cell here, as DuckDB keeps a column's different values.

    Args:
        wanted: the columns that are kept; None: all of them.

    Raises:
        DataError: not all rows are read (`require_all_rows`), or the file is damaged.
    """
    if not table.is_text:
        return table
    log.info("reading %s (%.0f MB) ...", table.path.name, table.path.stat().st_size / 1e6)
    kept = [identifier(c) for c in table.columns if wanted is None or c in wanted] or ["NULL"]
    engine.run(
        f"CREATE TABLE {name} AS SELECT {', '.join(kept)} FROM {table.scan}", source=table.path
    )
    loaded = replace(table, scan=name)
    require_all_rows(engine, loaded)
    return loaded


def require_all_rows(engine: Engine, table: TableFile) -> None:
    """Raises DataError unless DuckDB reads as many rows as a CSV file of moderate size holds."""
    if not table.is_text or table.path.stat().st_size > MAX_COUNTED_BYTES:
        return
    csv.field_size_limit(1 << 30)
    opened = gzip.open if _is_gzip(table.path) else open
    with opened(table.path, "rt", encoding="utf-8-sig", errors="replace", newline="") as lines:
        try:
            there = sum(1 for row in csv.reader(lines, delimiter=table.delimiter) if row) - 1
        except (OSError, EOFError, zlib.error, ValueError, csv.Error) as error:
            raise _damaged(table.path, error) from error
    read = engine.number(f"SELECT count(*) FROM {table.scan}", source=table.path)
    if read != there:
        raise DataError(
            f"{table.path}: {there:,} rows are in the file but {read:,} were read; write it anew "
            "as plain CSV (comma, double quotes, UTF-8, one kind of line end)"
        )


def require_known(engine: Engine, table: TableFile, key: str, *, cell: str, known: str) -> None:
    """Refuses a table of which no row names a stay: a join with it finds nothing, and says nothing.

    Args:
        key: its column of stay ids; cell: SQL over it, of the type of the ids of `known`.
        known: the engine's table of stays, with the column `id`.

    Raises:
        DataError: names the file and an id of either side.
    """
    # DuckDB would take a cast that stands in the SELECT for the type of the file's column.
    if engine.rows(f"SELECT 1 FROM {table.scan} WHERE {cell} IN (SELECT id FROM {known}) LIMIT 1"):
        return
    column = identifier(key)
    theirs, ours = (
        engine.rows(f"SELECT {name} FROM {where} ORDER BY 1 LIMIT 1")
        for name, where in (
            (column, f"{table.scan} WHERE trim({column}::VARCHAR) <> ''"),
            ("id", known),
        )
    )
    raise DataError(
        f"{table.path}: no row names a stay of the cohort ({key} here: "
        f"{theirs[0][0] if theirs else 'none'}, in the cohort: {ours[0][0] if ours else 'none'}); "
        "are all tables from one release or cohort?"
    )


def require_one_row(
    engine: Engine, path: Path, rows: str, key: str, cells: Mapping[str, str], *, of: str = "id"
) -> None:
    """Raises DataError where `rows` (SQL behind FROM) of one `of` differ in what SQL `cells` give.

    Args:
        key: SQL of the id; cells: SQL -> column, for the message.
    """
    kinds = ", ".join(f"count(DISTINCT {c}) + bool_or({c} IS NULL)::INTEGER" for c in cells)
    twice = engine.rows(
        f"SELECT {key}, count(*), {kinds} FROM {rows} GROUP BY 1 HAVING greatest({kinds}) > 1 "
        "ORDER BY 1",
        source=path,
    )
    if twice:
        first, count, *found = twice[0]
        differ = [name for name, n in zip(cells.values(), found, strict=True) if n > 1]
        raise DataError(
            f"{path}: the {of} {first} has {count} rows that differ in {', '.join(differ)} "
            f"({len(twice):,} such {of}s); expected one row per {of}"
        )


def quoted(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def exact(path: Path) -> str:
    """The SQL literal by which DuckDB opens this file and no other.

    Raises:
        DataError: a name with both a pattern character and a backslash, which DuckDB takes for the
            border of a folder whatever stands around it.
    """
    name = str(path.absolute())
    escaped = re.sub(r"([*?\[])", r"[\1]", name)
    if escaped != name and "\\" in name:
        raise DataError(
            f"{path}: the name has a backslash beside one of * ? [, and DuckDB would read another "
            "file; rename the file or its folder"
        )
    return quoted(escaped)


def _csv(path: Path, *, lower: bool) -> TableFile:
    header = _header(path)
    delimiter = max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", header).count)
    cells = next(csv.reader(io.StringIO(header, newline=""), delimiter=delimiter))
    names = _names(cells, path, lower=lower)
    columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in names)
    scan = (
        f"read_csv({exact(path)}, columns = {{{columns}}}, auto_detect = false, header = true, "
        f"skip = 0, comment = '', delim = {quoted(delimiter)}, quote = '\"', escape = '\"', "
        f"nullstr = '', {_line_end(header)}hive_partitioning = false, "
        f"compression = '{'gzip' if _is_gzip(path) else 'none'}')"
    )
    return TableFile(path, names, scan, True, delimiter)


def _line_end(header: str) -> str:
    """How rows end, where a name has a line break: DuckDB would take that for the end of a row,
    and Excel writes \\n within a cell and \\r\\n behind a row."""
    row = header.rstrip("\r\n")
    end = header.removeprefix(row).encode("unicode_escape").decode()
    return f"new_line = '{end}', " if re.search(r"[\r\n]", row) and end else ""


def _parquet(path: Path, parts: list[Path], *, lower: bool) -> TableFile:
    files = ", ".join(exact(part) for part in parts)
    scan = f"read_parquet([{files}], hive_partitioning = false, union_by_name = true)"
    try:
        with duckdb.connect() as connection:
            given = [str(row[0]) for row in connection.execute(f"DESCRIBE FROM {scan}").fetchall()]
            kinds = [kinds_of_times(connection, exact(part)) for part in parts]
    except duckdb.Error as error:
        raise DataError(f"{path}: not readable as Parquet ({first_line(error)})") from error
    kind_of = one_kind_each(kinds, path)
    names = _names(given, path, lower=lower)
    renamed = [f"{identifier(a)} AS {identifier(b)}" for a, b in zip(given, names, strict=True)]
    found = {b: kind_of[a.lower()] for a, b in zip(given, names, strict=True)}
    durations = {name: kind for name, kind in found.items() if isinstance(kind, float)}
    rows = f"(SELECT {', '.join(renamed)} FROM {scan})"
    return TableFile(path, names, rows, False, durations=durations)


def _names(given: list[str], path: Path, *, lower: bool) -> tuple[str, ...]:
    names = [re.sub(r"\s*[\r\n]\s*", " ", name.strip()) for name in given]
    names = [name.lower() for name in names] if lower else names
    # DuckDB compares names without regard to case.
    twice = [name for name, n in Counter(name.lower() for name in names).items() if n > 1]
    if twice or "" in names:
        what = f"the column {twice[0]!r} stands twice" if twice else "a column has no name"
        raise DataError(f"{path}: {what} in the header {', '.join(given)}; name every column")
    return tuple(names)


def _header(path: Path) -> str:
    """The first row of a CSV file; a quoted name may go on in the next line."""
    start = b""
    with gzip.open(path) if _is_gzip(path) else path.open("rb") as handle:
        try:
            start = handle.read(MAX_HEADER_BYTES)
        except (OSError, EOFError, zlib.error) as error:
            raise _damaged(path, error) from error
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start[:4096]:
        raise DataError(f"{path}: not UTF-8 text (UTF-16 or binary); {SAVE_AS_UTF8}")
    if start.startswith(b"PK\x03\x04"):
        raise DataError(f"{path}: a zip archive or spreadsheet; save it as CSV or Parquet")
    text = start.removeprefix(BOM_UTF8).lstrip(b"\r\n")
    row = next(_ROW.finditer(text))[0]
    if len(row) == len(text) and len(start) == MAX_HEADER_BYTES:
        raise DataError(f"{path}: no line break in the first {MAX_HEADER_BYTES:,} bytes")
    if not row.strip():
        raise DataError(f"{path}: the file is empty, expected a header line")
    try:
        header = row.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: the header is not UTF-8 text; {SAVE_AS_UTF8}") from error
    if re.fullmatch(r"sep=.?\s*", header, re.IGNORECASE):
        raise DataError(
            f"{path}: the first line is for Excel and no header; delete the line {header.strip()}"
        )
    return header


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as handle:
        return path.suffix == ".gz" or handle.read(2) == b"\x1f\x8b"


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: not readable as {'gzip' if _is_gzip(path) else 'text'} ({error}); the file is "
        "damaged or incomplete - fetch it again and compare with SHA256SUMS.txt"
    )
