"""Engine: DuckDB with bounded memory, a scratch database on disk, a progress bar and clear errors.

On a terminal DuckDB draws its own bar for what takes longer than two seconds. The scratch folder is
removed in every case.
"""

import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from configs.runtime.errors import ConfigError, DataError, UserError, first_line

SAVE_AS_UTF8 = "save it as UTF-8, in Excel as 'CSV UTF-8'"
_VECTORS_PER_CHUNK = 256  # of 2,048 rows each


class Engine:
    """One DuckDB connection; make it with `open_engine`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def run(self, sql: str, *, source: Path | None = None) -> duckdb.DuckDBPyConnection:
        """Runs one statement; what it yields can be fetched from what is returned.

        Args:
            source: the file that the statement reads; errors name it.

        Raises:
            DataError: the file is cut off, malformed or holds a value that cannot be cast.
            UserError: memory or scratch space is exhausted.
            KeyboardInterrupt: the query was stopped by Ctrl-C.
        """
        with _explained(source):
            return self._connection.execute(sql)

    def rows(self, sql: str, *, source: Path | None = None) -> list[tuple[Any, ...]]:
        """All rows of a small query; `source` as in `run`."""
        return self.run(sql, source=source).fetchall()

    def number(self, sql: str, *, source: Path | None = None) -> int:
        """The one integer that `sql` yields; NULL counts as 0; `source` as in `run`."""
        return int(self.rows(sql, source=source)[0][0] or 0)

    def counted(self, queries: Mapping[str, str]) -> list[str]:
        """Notes for the card: "what: count" of every query that counts something."""
        found = {what: self.number(sql) for what, sql in queries.items()}
        return [f"{what}: {count:,}" for what, count in found.items() if count]

    def columns(self, sql: str) -> dict[str, np.ndarray]:
        """The columns of a query of moderate size, as plain arrays."""
        found = self.run(sql).fetchnumpy()
        return {name: np.asarray(column) for name, column in found.items()}

    def grid(self, shape: tuple[int, int, int], dtype: type[np.floating]) -> np.ndarray:
        """The engine's table `cells` (row, channel, step, v) as an array, NaN where it has no cell;
        read chunk by chunk, in bounded memory."""
        values = np.full(shape, np.nan, dtype)
        result = self.run("SELECT row, channel, step, v FROM cells")
        while len(frame := result.fetch_df_chunk(_VECTORS_PER_CHUNK)):
            row, channel, step, v = (frame[name].to_numpy() for name in frame.columns)
            values[row, channel, step] = v
        return values

    def fill(self, table: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        """Makes the small table `table` (`columns` as in CREATE TABLE) with the given rows."""
        self._connection.execute(f"CREATE OR REPLACE TABLE {table} ({columns})")
        marks = ", ".join("?" for _ in columns.split(","))
        if rows:
            self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)


@contextmanager
def open_engine(*, memory_limit: str, threads: int, source: Path | None = None) -> Iterator[Engine]:
    """An engine whose tables live in a scratch folder that is removed at the end.

    Args:
        memory_limit: for DuckDB's buffers, e.g. "1GB"; the process needs some 0.5 GB more. What
            does not fit is spilled to the scratch folder (TMPDIR chooses where).
        threads: 0 for one per core.
        source: what is read; named by errors of statements that name no file of their own.

    Raises:
        ConfigError: the limit is no size that DuckDB reads.
    """
    with tempfile.TemporaryDirectory(prefix="tardiff-extract-") as scratch:
        settings: dict[str, Any] = {"memory_limit": memory_limit, "temp_directory": scratch}
        if threads:
            settings["threads"] = threads
        try:
            connection = duckdb.connect(str(Path(scratch) / "scratch.duckdb"), config=settings)
        except (duckdb.Error, ValueError) as error:
            raise _no_scratch(error) or ConfigError(
                f"data.memory_limit={memory_limit!r}: {first_line(error)}; expected e.g. 1GB"
            ) from error
        with connection, _explained(source):
            # The order of rows carries no meaning here, and keeping it costs memory.
            connection.execute("SET preserve_insertion_order = false")
            # Time stamps with a zone mean the same wherever the computer stands.
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(f"SET enable_progress_bar = {sys.stdout.isatty()}")
            yield Engine(connection)


def _no_scratch(error: Exception) -> UserError | None:
    """What to say where the scratch folder cannot be written; None for every other error."""
    if not re.search(r"could not write|no space left|failed to create", str(error), re.IGNORECASE):
        return None
    return UserError(
        f"{tempfile.gettempdir()}: no space for scratch files ({first_line(error)}); TMPDIR "
        "chooses another folder"
    )


@contextmanager
def _explained(source: Path | None) -> Iterator[None]:
    """What DuckDB says of memory, disk and the file `source`, in words a person can act on."""
    try:
        yield
    except RuntimeError as error:  # what DuckDB makes of Ctrl-C
        if "interrupted" not in str(error):
            raise
        raise KeyboardInterrupt from error
    except duckdb.Error as error:
        if no_scratch := _no_scratch(error):
            raise no_scratch from error
        where = f"{source}: " if source else ""
        if isinstance(error, duckdb.OutOfMemoryException):
            advice = "give more with data.memory_limit=4GB"
            raise UserError(f"{where}{first_line(error)}; {advice}") from error
        of_content = (duckdb.DataError, duckdb.InvalidInputException, duckdb.OperationalError)
        if source is None or not isinstance(error, of_content):
            raise
        if "GZIP" in str(error) or isinstance(error, duckdb.IOException):
            raise DataError(
                f"{where}{first_line(error)} - the download is damaged or incomplete; fetch it "
                "again and compare with SHA256SUMS.txt"
            ) from error
        # A query may read several tables; DuckDB says which CSV file it was.
        named = re.search(r"^ *file = (.+)$", str(error), re.MULTILINE)
        advice = f"; {SAVE_AS_UTF8}" if "utf-8" in str(error).lower() else ""
        raise DataError(
            f"{named[1] if named else source}: not readable as a table ({_summary(error)}){advice}"
        ) from error


def _summary(error: Exception) -> str:
    """What DuckDB says, without its advice on options that are not offered here."""
    text = str(error).partition("Possible ")[0]
    lines = [line.strip()[:120] for line in text.splitlines() if line.strip()]
    # The place, the begin of the row, and what is wrong; a row may go on for many lines.
    return "; ".join(dict.fromkeys([*lines[:2], lines[-1]]))
