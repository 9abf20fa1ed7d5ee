"""Reads the records of PhysioNet 2012, from the tar as a stream or from a folder, as one table.

The tar is never unpacked to disk. 4,000 small files are joined into one text and parsed at once,
since parsing them one by one takes minutes; only when that fails is the culprit looked for.
"""

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from tqdm import tqdm

from configs.runtime.errors import DataError, MissingInputError

HEADER = "Time,Parameter,Value"
MOST_UNREADABLE = 0.01  # share of rows; sets with more are refused
MAX_MEMBER_BYTES = 1_000_000  # the largest real record has 40 kB
MAX_SET_BYTES = 512 << 20  # a real set has 30 to 70 MB
_RECORD_NAME = re.compile(r"(\d+)\.txt")
_TIME = re.compile(r"(\d{1,2}):([0-5]\d)")


def read_events(folder: Path, set_name: str, expected: int) -> tuple[pd.DataFrame, list[str]]:
    """All rows of a set: record (int), minute since admission (int), parameter, value (float).

    Rows that are no such row (the public sets hold some without a parameter's name) are left out;
    the second return value counts them.

    Args:
        folder: holds `set-a.tar.gz` or a folder `set-a/`.
        set_name: "a", "b" or "c".
        expected: records to expect, for the progress bar.

    Raises:
        MissingInputError: neither is there.
        DataError: damaged archive, unexpected member, missing column, or more than 1 % of the rows
            cannot be parsed; names the file.
    """
    source = find_set(folder, set_name)
    records = _from_tar(source) if source.suffix == ".gz" else _from_folder(source)
    bar = tqdm(records, total=expected, desc=f"reading {source.name}", unit="record", disable=None)
    texts: dict[int, str] = {}
    for name, text in bar:
        record = int(name.split(".")[0])
        if record in texts:
            raise DataError(f"{source}: record {name} is there twice")
        texts[record] = _body(text, f"{source}: {name}")
    if not texts:
        raise DataError(f"{source}: holds no record (<number>.txt)")
    return _parse(texts, source)


def find_set(folder: Path, set_name: str) -> Path:
    """The archive, or else the folder, of a set."""
    archive, unpacked = folder / f"set-{set_name}.tar.gz", folder / f"set-{set_name}"
    if archive.is_file():
        return archive
    if unpacked.is_dir():
        return unpacked
    raise MissingInputError(
        f"neither {archive} nor {unpacked}/ exists. PhysioNet 2012 is free to download: "
        "https://physionet.org/content/challenge-2012/1.0.0/ ; set data.physionet2012.folder to "
        "where it is. No data at hand? `bash scripts/quickstart.sh` runs the embedded cohort"
    )


def _from_tar(path: Path) -> Iterator[tuple[str, str]]:
    try:
        with (
            gzip.open(path) as packed,
            tarfile.open(fileobj=_Bounded(packed, path), mode="r|") as archive,  # type: ignore[call-overload]
        ):
            for member in archive:
                if member.isdir():
                    continue
                name = _safe_name(member, path)
                handle = archive.extractfile(member)
                assert handle is not None  # a regular file has content
                yield name, _decode(handle.read(), f"{path}: {name}")
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


def _safe_name(member: tarfile.TarInfo, path: Path) -> str:
    parts = PurePosixPath(member.name)
    if not member.isreg() or parts.is_absolute() or ".." in parts.parts:
        raise DataError(f"{path}: refuses member {member.name!r}: not a plain file inside the set")
    if not _RECORD_NAME.fullmatch(parts.name) or len(parts.parts) > 2:
        raise DataError(f"{path}: unexpected member {member.name!r}; expected set-x/<number>.txt")
    if member.size > MAX_MEMBER_BYTES:
        raise DataError(
            f"{path}: member {member.name!r} has {member.size:,} bytes, a record has at most "
            f"{MAX_MEMBER_BYTES:,}"
        )
    return parts.name


def _from_folder(path: Path) -> Iterator[tuple[str, str]]:
    for file in sorted(path.glob("*.txt")):
        if not _RECORD_NAME.fullmatch(file.name):
            raise DataError(f"{file}: unexpected file; expected <number>.txt")
        if file.stat().st_size > MAX_MEMBER_BYTES:
            raise DataError(f"{file}: larger than {MAX_MEMBER_BYTES:,} bytes, not a record")
        yield file.name, _decode(file.read_bytes(), str(file))


def _decode(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: not a text file ({error.reason} at byte {error.start})"
        ) from error


def _body(text: str, where: str) -> str:
    header, _, body = text.replace("\r", "").partition("\n")
    if header.strip() != HEADER:
        raise DataError(f"{where}: first line is {header[:80]!r}, expected {HEADER!r}")
    return body.rstrip("\n")


def _parse(texts: dict[int, str], source: Path) -> tuple[pd.DataFrame, list[str]]:
    total = sum(body.count("\n") + 1 for body in texts.values() if body)
    try:
        return _table(texts, source), []
    except DataError as error:
        sound, bad = _sound_rows(texts)
        if bad > MOST_UNREADABLE * total:
            raise DataError(f"{error}; {bad:,} of {total:,} rows are none") from error
        return _table(sound, source), [
            f"{source.name}: rows that are no Time,Parameter,Value, left out: {bad:,} of {total:,}"
        ]


def _table(texts: dict[int, str], source: Path) -> pd.DataFrame:
    joined = "\n".join(
        f"{record}," + body.replace("\n", f"\n{record},") for record, body in texts.items() if body
    )
    try:
        events = pd.read_csv(
            io.StringIO(joined),
            header=None,
            names=["record", "time", "parameter", "value"],
            dtype={"record": "int64", "time": "category", "parameter": "category", "value": float},
        )
    except ValueError as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise _culprit(texts, source, str(error)) from error
    times = events["time"].cat
    matches = [_TIME.fullmatch(text) for text in times.categories]
    broken = any(match is None for match in matches) or joined.count(",") != 3 * len(events)
    if broken or events.isna().to_numpy().any() or not np.isfinite(events["value"]).all():
        raise _culprit(texts, source, "missing or extra cells")
    minutes = np.array([60 * int(m[1]) + int(m[2]) for m in matches if m is not None])
    return events.assign(minute=minutes[times.codes.to_numpy()]).drop(columns="time")


def _sound_rows(texts: dict[int, str]) -> tuple[dict[int, str], int]:
    """The texts without the rows that are none, and how many these were."""
    sound, bad = {}, 0
    for record, body in texts.items():
        lines = body.split("\n") if body else []
        kept = [line for line in lines if _is_row(line)]
        sound[record], bad = "\n".join(kept), bad + len(lines) - len(kept)
    return sound, bad


def _culprit(texts: dict[int, str], source: Path, reason: str) -> DataError:
    """The error that names the first row which is not `HH:MM,name,number`."""
    for record, body in texts.items():
        for number, line in enumerate(body.split("\n") if body else [], start=2):
            if not _is_row(line):
                return DataError(
                    f"{source}: {record}.txt line {number}: {line[:80]!r} is not a row of "
                    f"{HEADER} with Time as HH:MM and a finite Value"
                )
    return DataError(f"{source}: cannot be parsed ({reason})")


def _is_row(line: str) -> bool:
    cells = line.split(",")
    if len(cells) != 3 or not _TIME.fullmatch(cells[0]) or not cells[1]:
        return False
    try:
        return bool(np.isfinite(float(cells[2])))
    except ValueError:
        return False
