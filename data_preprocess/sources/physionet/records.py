"""The records of a PhysioNet Challenge: one small text file each, in a tar.gz or in a folder.

The archive is read as a stream, never unpacked to disk, and what it may hold is bounded: it comes
from the network. Parsing thousands of small files one by one takes minutes: they are joined into
one text and parsed at once, and only when that fails is the culprit looked for.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from tqdm import tqdm

from configs.runtime.errors import ConfigError, DataError, MissingInputError

MAX_MEMBER_BYTES = 1_000_000  # the largest real record has 75 kB
MAX_SET_BYTES = 512 << 20  # a real set has 30 to 130 MB


@dataclass(frozen=True)
class Challenge:
    """Where the records of a Challenge come from and what a file looks like.

    Attributes:
        source: its value of `data.source`.
        address: of its page; files: what lies there, for messages.
        set_name: of an archive or folder, SET in place of the set's name.
        file: name of a record's file, <number> in place of its number.
        columns, separator: the first line.
        row_form: of a line below it; row: what that is, for messages.
    """

    source: str
    address: str
    files: str
    set_name: str
    file: str
    columns: tuple[str, ...]
    separator: str
    row_form: re.Pattern[str]
    row: str

    def number(self, name: str) -> int | None:
        """The record's number in the name of its file; None if it is no such name."""
        match = re.fullmatch(re.escape(self.file).replace("<number>", r"(\d{1,18})"), name)
        return int(match[1]) if match else None

    def missing(self, what: str) -> MissingInputError:
        """The error that says how to get the files; `what` opens the message."""
        return MissingInputError(
            f"{what}. `python -m data_preprocess.download {self.source}` fetches {self.files} from "
            f"{self.address} ; or set data.{self.source}.folder to where they are. No data at "
            "hand? `bash scripts/quickstart.sh` runs the embedded cohort"
        )


def named_sets(section: Any, challenge: Challenge) -> list[str]:
    """The train set and, where one is named, the test set; ConfigError if they are one."""
    if section.train_set == section.test_set:
        raise ConfigError(
            f"data.{challenge.source}: train_set and test_set are both {section.train_set!r}"
        )
    return [name for name in (section.train_set, section.test_set) if name is not None]


def find_set(folder: Path, name: str, challenge: Challenge) -> Path:
    """The archive of a set, its folder, or else the one archive of a part of it.

    Raises:
        MissingInputError: there is none; says where to get it.
        DataError: archives of several parts.
    """
    stem = challenge.set_name.replace("SET", name)
    for path in (folder / f"{stem}.tar.gz", folder / stem):
        if path.exists():
            return path
    parts = sorted(folder.glob(f"{stem}?*.tar.gz"))
    if len(parts) > 1:
        raise DataError(f"{folder}: which set is meant? {', '.join(p.name for p in parts)}")
    if parts:
        return parts[0]
    raise challenge.missing(f"neither {folder / stem}.tar.gz nor {folder / stem}/ exists")


def read_bodies(source: Path, challenge: Challenge, total: int | None = None) -> dict[str, str]:
    """The text below the header per file name, without the last line break, by record number.

    Args:
        source: what `find_set` found.
        total: records to expect, for the progress bar.

    Raises:
        DataError: damaged archive, unexpected file, other header, a record twice, or none; names
            the file.
    """
    records = _from_tar if source.suffix == ".gz" else _from_folder
    bar = tqdm(
        records(source, challenge),
        total=total,
        desc=f"reading {source.name}",
        unit="record",
        disable=None,
    )
    header = challenge.separator.join(challenge.columns)
    found: dict[int | None, tuple[str, str]] = {}
    for name, raw in bar:
        if (number := challenge.number(name)) in found:
            raise DataError(f"{source}: record {name} is there twice")
        found[number] = name, _body(raw, header, f"{source}: {name}")
    if not found:
        raise DataError(f"{source}: holds no record ({challenge.file})")
    return dict(found[number] for number in sorted(found, key=lambda n: n or 0))


def parse(
    bodies: dict[str, str], challenge: Challenge, kinds: Mapping[str, type | str]
) -> pd.DataFrame:
    """The rows of all records in their order: `record` (its number), and the columns of `kinds`.

    Args:
        bodies: as `read_bodies` returns them; kinds: pandas' type of each column that is wanted.

    Raises:
        ValueError: a row has missing or extra cells, or a cell is not of its type.
    """
    separator = challenge.separator
    starts = {f"{challenge.number(name)}{separator}": body for name, body in bodies.items()}
    joined = "\n".join(start + body.replace("\n", f"\n{start}") for start, body in starts.items())
    rows = pd.read_csv(
        io.StringIO(joined),
        sep=separator,
        header=None,
        names=["record", *challenge.columns],
        usecols=["record", *kinds],
        dtype={"record": "int64", **kinds},
        na_values=["NaN"],
        keep_default_na=False,
    )
    if joined.count(separator) != len(challenge.columns) * len(rows):
        raise ValueError("missing or extra cells")
    return rows


def bad_rows(bodies: dict[str, str], challenge: Challenge) -> Iterator[tuple[str, int, str]]:
    """File name, line number and text of every line that is no row."""
    for name, body in bodies.items():
        for number, line in enumerate(body.split("\n"), start=2):
            if not challenge.row_form.fullmatch(line):
                yield name, number, line


def refused(
    source: Path, bodies: dict[str, str], challenge: Challenge, reason: object
) -> DataError:
    """The error that names the first line which is no row; where all are, that says `reason`."""
    for name, number, line in bad_rows(bodies, challenge):
        return DataError(
            f"{source}: {name} line {number}: {line[:80]!r} is not a row of {challenge.row}"
        )
    return DataError(f"{source}: cannot be parsed ({reason})")


def _from_tar(path: Path, challenge: Challenge) -> Iterator[tuple[str, bytes]]:
    try:
        with (
            gzip.open(path) as packed,
            tarfile.open(fileobj=_Bounded(packed, path), mode="r|") as archive,  # type: ignore[call-overload]
        ):
            for member in archive:
                if member.isdir():
                    continue
                name = _safe_name(member, path, challenge)
                handle = archive.extractfile(member)
                assert handle is not None  # a regular file has content
                yield name, handle.read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(
            f"{path}: damaged or truncated archive ({error}); download it again"
        ) from error


class _Bounded:
    """A stream that ends in an error where a bomb goes on unpacking."""

    def __init__(self, raw: gzip.GzipFile, path: Path) -> None:
        self._raw, self._path, self._left = raw, path, MAX_SET_BYTES

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        block = self._raw.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise DataError(f"{self._path}: unpacks to more than {MAX_SET_BYTES:,} bytes")
        return block


def _safe_name(member: tarfile.TarInfo, path: Path, challenge: Challenge) -> str:
    parts = PurePosixPath(member.name)
    if not member.isreg() or parts.is_absolute() or ".." in parts.parts:
        raise DataError(f"{path}: refuses member {member.name!r}: not a plain file inside the set")
    if challenge.number(parts.name) is None or len(parts.parts) > 2:
        expected = f"{challenge.set_name}/{challenge.file}"
        raise DataError(f"{path}: unexpected member {member.name!r}; expected {expected}")
    if member.size > MAX_MEMBER_BYTES:
        raise DataError(
            f"{path}: member {member.name!r} has {member.size:,} bytes, a record has at most "
            f"{MAX_MEMBER_BYTES:,}"
        )
    return parts.name


def _from_folder(path: Path, challenge: Challenge) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.glob(f"*{PurePosixPath(challenge.file).suffix}")):
        if challenge.number(file.name) is None:
            raise DataError(f"{file}: unexpected file; expected {challenge.file}")
        if file.stat().st_size > MAX_MEMBER_BYTES:
            raise DataError(f"{file}: larger than {MAX_MEMBER_BYTES:,} bytes, not a record")
        yield file.name, file.read_bytes()


def _body(raw: bytes, header: str, where: str) -> str:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: not a text file ({error.reason} at byte {error.start})"
        ) from error
    first, _, body = text.replace("\r", "").partition("\n")
    if first.strip() != header:
        raise DataError(f"{where}: first line is {first[:80]!r}, expected {header!r}")
    return body.rstrip("\n")
