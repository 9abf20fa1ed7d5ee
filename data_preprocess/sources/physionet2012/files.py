"""Reads the records of PhysioNet 2012 as one table.

4,000 small files are joined into one text and parsed at once,
since parsing them one by one takes minutes; only when that fails is the culprit looked for.
"""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

from configs.runtime.errors import DataError, MissingInputError
from data_preprocess.sources.record_archive import RecordFormat, read_bodies

HEADER = "Time,Parameter,Value"
MOST_UNREADABLE = 0.01  # share of rows; sets with more are refused
ADDRESS = "https://physionet.org/content/challenge-2012/1.0.0/"
FILES = "set-a.tar.gz, set-b.tar.gz, Outcomes-a.txt and Outcomes-b.txt"
_FORMAT = RecordFormat(re.compile(r"(\d+)\.txt"), HEADER, "set-x/<number>.txt")
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
    return _parse(read_bodies(source, _FORMAT, expected), source)


def find_set(folder: Path, set_name: str) -> Path:
    """The archive, or else the folder, of a set."""
    archive, unpacked = folder / f"set-{set_name}.tar.gz", folder / f"set-{set_name}"
    if archive.is_file():
        return archive
    if unpacked.is_dir():
        return unpacked
    raise MissingInputError(
        f"neither {archive} nor {unpacked}/ exists. `python -m data_preprocess.download "
        f"physionet2012` fetches {FILES} from {ADDRESS} ; or set data.physionet2012.folder to "
        "where they are. No data at hand? `bash scripts/quickstart.sh` runs the embedded cohort"
    )


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
