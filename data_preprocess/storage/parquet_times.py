"""What DuckDB does not say, or says of the first file alone, about the times in Parquet files."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import nanoarrow
from nanoarrow.ipc import InputStream

from configs.runtime.errors import DataError

# Arrow's format of a duration: the minutes that 1 of its unit stands for.
_DURATIONS = {"tDs": 1 / 60, "tDm": 1e-3 / 60, "tDu": 1e-6 / 60, "tDn": 1e-9 / 60}
ZONED = "TIMESTAMP WITH TIME ZONE"

# Of a length of time the minutes that its number 1 stands for; ZONED of a stamp in a zone; None of
# anything else.
Kind = float | str | None


def kinds_of_times(connection: duckdb.DuckDBPyConnection, file: str) -> dict[str, Kind]:
    """The kind of every column, named in lower case as DuckDB compares names.

    Args:
        file: the SQL literal that opens it.
    """
    described = connection.execute(
        f"DESCRIBE FROM read_parquet({file}, hive_partitioning = false)"
    ).fetchall()
    metadata = f"SELECT key, value FROM parquet_kv_metadata({file})"
    stored = {bytes(k): bytes(v) for k, v in connection.execute(metadata).fetchall()}
    units = duration_units(stored.get(b"ARROW:schema", b""))
    return {
        str(name).lower(): ZONED if kind == ZONED else units.get(str(name))
        for name, kind, *_ in described
    }


def one_kind_each(files: Sequence[Mapping[str, Kind]], path: Path) -> dict[str, Kind]:
    """The kind of every column of all files of the folder `path`.

    Raises:
        DataError: a column has another kind in another file.
    """
    found: dict[str, Kind] = {}
    for kinds in files:
        for name, kind in kinds.items():
            if found.setdefault(name, kind) != kind:
                raise DataError(
                    f"{path}: the times in {name} differ in unit or time zone between the files; "
                    "write them in one way"
                )
    return found


def duration_units(schema: bytes) -> dict[str, float]:
    """Per column that holds lengths of time: the minutes that its number 1 stands for.

    Parquet has no type for a length of time: pandas, polars and ricu write whole numbers and keep
    the type in the Arrow schema beside the data, which DuckDB does not read. A column of hours
    would arrive as nanoseconds without a unit.

    Args:
        schema: as stored (an IPC message, base64). Of another encoding nothing is known: the checks
            on the window still hold.
    """
    try:
        with InputStream.from_readable(io.BytesIO(base64.b64decode(schema))) as stream:
            columns = list(nanoarrow.c_array_stream(stream).get_schema().children)
    except (RuntimeError, ValueError, EOFError):
        return {}
    return {c.name: _DURATIONS[c.format] for c in columns if c.format in _DURATIONS}
