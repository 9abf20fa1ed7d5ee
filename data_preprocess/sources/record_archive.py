"""Text records of a set, one small file each, from a tar.gz as a stream or from a folder.

The archive is never unpacked to disk, and what it may hold is bounded: it comes from the network.
"""

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from configs.runtime.errors import DataError

MAX_MEMBER_BYTES = 1_000_000  # the largest real record has 75 kB
MAX_SET_BYTES = 512 << 20  # a real set has 30 to 130 MB


@dataclass(frozen=True)
class RecordFormat:
    """What a file of a set looks like.

    Attributes:
        name: matches the whole file name; its first group is the number of the record.
        header: the first line.
        layout: where the files lie, for messages: "set-x/<number>.txt".
    """

    name: re.Pattern[str]
    header: str
    layout: str

    @property
    def file(self) -> str:
        """The file name, for messages."""
        return PurePosixPath(self.layout).name


def read_bodies(source: Path, expects: RecordFormat, total: int | None = None) -> dict[int, str]:
    """The text below the header per record number, without the last line break.

    Args:
        source: a .tar.gz or a folder.
        total: records to expect, for the progress bar.

    Raises:
        DataError: damaged archive, unexpected file, other header, a record twice, or none; names
            the file.
    """
    records = _from_tar if source.suffix == ".gz" else _from_folder
    bar = tqdm(
        records(source, expects),
        total=total,
        desc=f"reading {source.name}",
        unit="record",
        disable=None,
    )
    bodies: dict[int, str] = {}
    for name, raw in bar:
        match = expects.name.fullmatch(name)
        assert match is not None  # both readers let nothing else through
        record = int(match[1])
        if record in bodies:
            raise DataError(f"{source}: record {name} is there twice")
        bodies[record] = _body(raw, expects.header, f"{source}: {name}")
    if not bodies:
        raise DataError(f"{source}: holds no record ({expects.file})")
    return bodies


def _from_tar(path: Path, expects: RecordFormat) -> Iterator[tuple[str, bytes]]:
    try:
        with (
            gzip.open(path) as packed,
            tarfile.open(fileobj=_Bounded(packed, path), mode="r|") as archive,  # type: ignore[call-overload]
        ):
            for member in archive:
                if member.isdir():
                    continue
                name = _safe_name(member, path, expects)
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


def _safe_name(member: tarfile.TarInfo, path: Path, expects: RecordFormat) -> str:
    parts = PurePosixPath(member.name)
    if not member.isreg() or parts.is_absolute() or ".." in parts.parts:
        raise DataError(f"{path}: refuses member {member.name!r}: not a plain file inside the set")
    if not expects.name.fullmatch(parts.name) or len(parts.parts) > 2:
        raise DataError(f"{path}: unexpected member {member.name!r}; expected {expects.layout}")
    if member.size > MAX_MEMBER_BYTES:
        raise DataError(
            f"{path}: member {member.name!r} has {member.size:,} bytes, a record has at most "
            f"{MAX_MEMBER_BYTES:,}"
        )
    return parts.name


def _from_folder(path: Path, expects: RecordFormat) -> Iterator[tuple[str, bytes]]:
    for file in sorted(path.glob(f"*{PurePosixPath(expects.layout).suffix}")):
        if not expects.name.fullmatch(file.name):
            raise DataError(f"{file}: unexpected file; expected {expects.file}")
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
