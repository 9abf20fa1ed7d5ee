"""TableWriter: appends rows to a .csv.gz table as PhysioNet ships them, chunk by chunk.

DuckDB formats a chunk (many times faster than pandas), gzip level 1 packs it; memory stays at one
chunk whatever the table's size.
"""

import gzip
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import duckdb

from configs.runtime.atomic_files import atomic_path


class TableWriter:
    """A context manager around one table; the file appears under its name when it closes whole."""

    def __init__(self, path: Path, columns: Sequence[str], text: Sequence[str]) -> None:
        """`columns` is the header as released; `text` the columns whose cells are quoted."""
        self._columns, self._text = list(columns), list(text)
        self._final: AbstractContextManager[Path] = atomic_path(path)
        self._connection = duckdb.connect()

    def __enter__(self) -> "TableWriter":
        self._temporary = self._final.__enter__()
        self._handle = gzip.open(self._temporary, "wb", compresslevel=1)
        header = ",".join(f'"{name}"' if name.isupper() else name for name in self._columns)
        self._handle.write(f"{header}\n".encode())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self._handle.close()
        self._connection.close()
        return self._final.__exit__(kind, error, trace)

    def append(self, select: str, **tables: Any) -> None:
        """Writes the rows of `select`, an SQL query over the given data frames by name."""
        for name, frame in tables.items():
            self._connection.register(name, frame)
        quotes = ", ".join(f'"{name}"' for name in self._text)
        force = f", FORCE_QUOTE ({quotes})" if quotes else ""
        with tempfile.TemporaryDirectory(prefix="tardiff-raw-") as scratch:
            chunk = Path(scratch) / "chunk.csv"
            self._connection.execute(
                f"COPY ({select}) TO '{chunk}' (FORMAT csv, HEADER false{force})"
            )
            with chunk.open("rb") as source:
                while block := source.read(1 << 20):
                    self._handle.write(block)
