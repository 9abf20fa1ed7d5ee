"""RawTable: one table of a raw release, as a .csv or .csv.gz file, and the SQL that scans it.

Nothing is sniffed: DuckDB's guess of the quote character fails on CHARTEVENTS, whose first quoted
comma stands far below any sample. Every column is read as text and cast where it is used, after
the item filter, so the millions of rows that are not wanted are never parsed.
"""

import gzip
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.runtime.errors import DataError, MissingInputError

MAX_HEADER_BYTES = 1 << 20


@dataclass(frozen=True)
class RawTable:
    """A table found on disk.

    Attributes:
        path: the file.
        columns: its header, in order, in lower case and without quotes.
    """

    path: Path
    columns: tuple[str, ...]

    @property
    def scan(self) -> str:
        """A `read_csv(...)` table function over the file; unused columns are never converted."""
        columns = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in self.columns)
        compression = "gzip" if self.path.suffix == ".gz" else "none"
        return (
            f"read_csv({quoted(str(self.path))}, columns = {{{columns}}}, auto_detect = false, "
            f"header = true, delim = ',', quote = '\"', escape = '\"', nullstr = '', "
            f"compression = '{compression}')"
        )


def find_table(
    folder: Path, name: str, needed: Sequence[str], *, subfolders: Sequence[str] = (".",)
) -> RawTable:
    """The table `name` in `folder`, as .csv.gz (preferred, as released) or .csv, in any case.

    Args:
        needed: columns that must be there, lower case.
        subfolders: places below `folder` to look in, first to last.

    Raises:
        MissingInputError: no such folder or file.
        DataError: the file is empty, not gzip, cut off in the header, or lacks a column.
    """
    if not folder.is_dir():
        raise MissingInputError(
            f"folder {folder} does not exist; expected the folder of the release that holds "
            f"{name}.csv.gz"
        )
    path = _locate(folder, name, subfolders)
    columns = _read_header(path)
    absent = [column for column in needed if column not in columns]
    if absent:
        raise DataError(
            f"{path}: no column {', '.join(absent)}; its header is {', '.join(columns)} - is this "
            f"really the table {name}?"
        )
    return RawTable(path, columns)


def quoted(text: str) -> str:
    """`text` as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _locate(folder: Path, name: str, subfolders: Sequence[str]) -> Path:
    places = [folder / sub for sub in subfolders if (folder / sub).is_dir()]
    for suffix in (".csv.gz", ".csv"):
        for place in places:
            for path in sorted(place.iterdir()):
                if path.name.lower() == name.lower() + suffix and path.is_file():
                    return path
    looked = ", ".join(str(place) for place in places) or str(folder)
    raise MissingInputError(
        f"{name}.csv.gz (or .csv) is not in {looked}; download it from PhysioNet, where a full "
        "release needs credentialed access and the demo does not"
    )


def _read_header(path: Path) -> tuple[str, ...]:
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rb") as handle:
                line = handle.readline(MAX_HEADER_BYTES)
        else:
            with path.open("rb") as handle:
                line = handle.readline(MAX_HEADER_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"{path}: not readable as {'gzip' if path.suffix == '.gz' else 'text'} ({error}); the "
            "download is damaged or incomplete - fetch it again and compare with SHA256SUMS.txt"
        ) from error
    if len(line) == MAX_HEADER_BYTES:
        raise DataError(f"{path}: no line break in the first {MAX_HEADER_BYTES:,} bytes")
    text = line.decode("utf-8-sig", errors="replace").strip()
    if not text:
        raise DataError(f"{path}: the file is empty, expected a header line")
    return tuple(name.strip().strip('"').lower() for name in text.split(","))
