"""duration_units: which columns of a Parquet file are lengths of time, and in which unit.

Parquet has no type for a length of time: pandas, polars and ricu write whole numbers and keep the
type in the Arrow schema beside the data, which DuckDB does not read. A column of hours would arrive
as nanoseconds without a unit. The schema is a flatbuffer (Arrow's Message.fbs and Schema.fbs).
"""

import base64
import struct
from dataclasses import dataclass

import duckdb

_SCHEMA_KEY = "ARROW:schema"
_DURATION = 18  # of the union Type
_MINUTES = (1 / 60, 1e-3 / 60, 1e-6 / 60, 1e-9 / 60)  # of a second, ms, us, ns
_DEFAULT_UNIT = 1  # a field that has its default, here milliseconds, is left out of the buffer


@dataclass(frozen=True)
class _Table:
    """A flatbuffer table at byte `at` of `raw`."""

    raw: bytes
    at: int

    def place(self, index: int) -> int | None:
        """Where field `index` stands; None if it has its default."""
        vtable = self.at - struct.unpack_from("<i", self.raw, self.at)[0]
        if 4 + 2 * index >= struct.unpack_from("<H", self.raw, vtable)[0]:
            return None
        offset = struct.unpack_from("<H", self.raw, vtable + 4 + 2 * index)[0]
        return self.at + offset if offset else None

    def number(self, index: int, kind: str, default: int) -> int:
        """The scalar field `index`."""
        place = self.place(index)
        return default if place is None else struct.unpack_from(f"<{kind}", self.raw, place)[0]

    def child(self, index: int) -> "_Table":
        """The table that field `index` refers to."""
        place = self.place(index)
        if place is None:
            raise ValueError(f"field {index} is absent")
        return _Table(self.raw, place + struct.unpack_from("<I", self.raw, place)[0])

    def children(self, index: int) -> list["_Table"]:
        """The tables of the vector in field `index`."""
        start = self.child(index).at
        places = [start + 4 + 4 * k for k in range(struct.unpack_from("<I", self.raw, start)[0])]
        return [
            _Table(self.raw, place + struct.unpack_from("<I", self.raw, place)[0])
            for place in places
        ]

    def text(self, index: int) -> str:
        """The string field `index`."""
        start = self.child(index).at
        size = struct.unpack_from("<I", self.raw, start)[0]
        return self.raw[start + 4 : start + 4 + size].decode()


def duration_units(connection: duckdb.DuckDBPyConnection, file: str) -> dict[str, float]:
    """Per column that holds lengths of time: the minutes that its number 1 stands for.

    Args:
        file: SQL literal of the Parquet file.
    """
    rows = connection.execute(f"SELECT key, value FROM parquet_kv_metadata({file})").fetchall()
    for key, value in rows:
        if bytes(key).decode(errors="replace") == _SCHEMA_KEY:
            try:
                return durations_of(base64.b64decode(bytes(value)))
            except (struct.error, ValueError, IndexError):
                return {}  # another encoding: the checks on the window still hold
    return {}


def durations_of(message: bytes) -> dict[str, float]:
    """The same from the Arrow schema itself (an IPC message)."""
    raw = message[8:] if message[:4] == b"\xff\xff\xff\xff" else message[4:]
    schema = _Table(raw, struct.unpack_from("<I", raw, 0)[0]).child(2)
    return {
        column.text(0): _MINUTES[column.child(3).number(0, "h", _DEFAULT_UNIT)]
        for column in schema.children(1)
        if column.number(2, "B", 0) == _DURATION
    }
