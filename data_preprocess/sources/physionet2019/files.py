"""Reads the records of PhysioNet 2019 (.psv, one row an hour) as one table.

Parsing 15,000 small files one by one takes minutes; they are joined into one text and parsed at
once, and only when that fails is the culprit looked for.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from configs.runtime.errors import DataError, MissingInputError
from data_preprocess.sources.record_archive import RecordFormat, read_bodies

HEADER = (
    "HR|O2Sat|Temp|SBP|MAP|DBP|Resp|EtCO2|BaseExcess|HCO3|FiO2|pH|PaCO2|SaO2|AST|BUN|Alkalinephos|"
    "Calcium|Chloride|Creatinine|Bilirubin_direct|Glucose|Lactate|Magnesium|Phosphate|Potassium|"
    "Bilirubin_total|TroponinI|Hct|Hgb|PTT|WBC|Fibrinogen|Platelets|Age|Gender|Unit1|Unit2|"
    "HospAdmTime|ICULOS|SepsisLabel"
)
COLUMNS = HEADER.split("|")
ADDRESS = "https://physionet.org/content/challenge-2019/1.0.0/"
_FORMAT = RecordFormat(re.compile(r"p(\d+)\.psv"), HEADER, "training_setX/p<number>.psv")


def find_set(folder: Path, set_name: str) -> Path:
    """The archive, the folder, or else the one archive of a part of a set.

    Raises:
        MissingInputError: there is none; says where to get it.
        DataError: archives of several parts.
    """
    name = f"training_set{set_name}"
    for path in (folder / f"{name}.tar.gz", folder / name):
        if path.exists():
            return path
    parts = sorted(folder.glob(f"{name}?*.tar.gz"))
    if len(parts) > 1:
        raise DataError(f"{folder}: which set is meant? {', '.join(p.name for p in parts)}")
    if parts:
        return parts[0]
    raise MissingInputError(
        f"neither {folder / name}.tar.gz nor {folder / name}/ exists. `python -m "
        f"data_preprocess.download physionet2019` fetches {name}/ from {ADDRESS} ; or set "
        "data.physionet2019.folder to where it is. No data at hand? `bash scripts/quickstart.sh` "
        "runs the embedded cohort"
    )


def read_rows(source: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The hourly rows of all records by record number, then hour.

    Args:
        source: what `find_set` found.
        columns: those to read beside the labels; NaN where nothing was measured.

    Returns:
        `record` (number), `hour` (from 0, counted from the record's first row), `columns`,
        `SepsisLabel` (0 or 1).

    Raises:
        DataError: damaged or wrong files, a row that cannot be parsed, hours that do not follow
            each other, or another label than 0 and 1; names the file.
    """
    bodies = dict(sorted(read_bodies(source, _FORMAT).items()))
    lengths = np.array([body.count("\n") + 1 for body in bodies.values()])
    rows = _parse(bodies, source, [*columns, "ICULOS", "SepsisLabel"], int(lengths.sum()))
    starts = np.repeat(np.cumsum(lengths) - lengths, lengths)
    hours = np.arange(len(rows)) - starts
    counted = rows["ICULOS"].to_numpy()
    records = np.repeat(np.array([*bodies]), lengths)
    for wrong, what in (
        (counted != counted[starts] + hours, "ICULOS does not count the hours one by one"),
        (~rows["SepsisLabel"].isin([0, 1]).to_numpy(), "SepsisLabel is not 0 or 1"),
    ):
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{source}: p{records[row]:06d}.psv line {hours[row] + 2}: {what}")
    return rows.drop(columns="ICULOS").assign(record=records, hour=hours)


def _parse(bodies: dict[int, str], source: Path, columns: list[str], expected: int) -> pd.DataFrame:
    joined = "\n".join(bodies.values()).encode()
    try:
        rows = pd.read_csv(
            io.BytesIO(joined),
            sep="|",
            header=None,
            names=COLUMNS,
            usecols=columns,
            dtype=np.float64,
            na_values=["NaN"],
            keep_default_na=False,
            skip_blank_lines=False,
        )
    except ValueError as error:  # pandas' ParserError and EmptyDataError are ValueErrors
        raise _culprit(bodies, source, str(error)) from error
    whole = len(rows) == expected and joined.count(b"|") == (len(COLUMNS) - 1) * expected
    if not whole or np.isinf(rows.to_numpy()).any():
        raise _culprit(bodies, source, "missing or extra cells")
    return rows


def _culprit(bodies: dict[int, str], source: Path, reason: str) -> DataError:
    """The error that names the first row which is not as many numbers as there are columns."""
    for record, body in bodies.items():
        for number, line in enumerate(body.split("\n"), start=2):
            if not _is_row(line):
                return DataError(
                    f"{source}: p{record:06d}.psv line {number}: {line[:80]!r} is not a row of "
                    f"{len(COLUMNS)} numbers or NaN"
                )
    return DataError(f"{source}: cannot be parsed ({reason})")


def _is_row(line: str) -> bool:
    try:
        cells = [float(cell) for cell in line.split("|")]
    except ValueError:
        return False
    return len(cells) == len(COLUMNS) and not np.isinf(cells).any()
