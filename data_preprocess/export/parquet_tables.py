"""A data set as tables, chunk by chunk in bounded memory: names, rows and Parquet files."""

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from configs.runtime.errors import DataError, UserError, first_line
from data_preprocess.dataset import EHRDataset
from data_preprocess.storage.table_file import identifier, quoted

SERIES_PER_CHUNK = 4096


def write_parquet(path: Path, columns: Mapping[str, str], chunks: Iterable[pd.DataFrame]) -> None:
    """Writes the rows of all chunks in order.

    Args:
        columns: name -> SQL type, in order; every chunk has these columns.

    Raises:
        UserError: the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    names = ", ".join(map(identifier, columns))
    declared = ", ".join(f"{identifier(name)} {kind}" for name, kind in columns.items())
    try:
        with (
            tempfile.TemporaryDirectory(prefix="tardiff-export-") as scratch,
            duckdb.connect(str(Path(scratch) / "rows.duckdb")) as connection,
        ):
            connection.execute(f"CREATE TABLE rows ({declared})")
            for chunk in chunks:
                connection.register("chunk", chunk)
                connection.execute(f"INSERT INTO rows SELECT {names} FROM chunk")
                connection.unregister("chunk")
            connection.execute(f"COPY rows TO {quoted(str(path))} (FORMAT parquet)")
    except duckdb.IOException as error:
        raise UserError(
            f"cannot write {path}: {first_line(error)}; free some space there, or choose "
            "another folder (TMPDIR: for scratch files)"
        ) from error


def require_distinct(columns: Sequence[str], table: str) -> None:
    """Raises DataError where two columns have one name, of which the second would take the first's
    place; readers of tables do not tell upper from lower case."""
    counts = Counter(name.lower() for name in columns)
    if twice := [name for name in columns if counts[name.lower()] > 1]:
        raise DataError(
            f"{table}: the columns {', '.join(twice)} would have one name (upper and lower case "
            "are the same there); rename the channel or the static covariate"
        )


def series_chunks(dataset: EHRDataset) -> Iterator[tuple[np.ndarray, EHRDataset]]:
    """Row numbers of some series, and these series, for all of the data set in order."""
    for start in range(0, len(dataset), SERIES_PER_CHUNK):
        rows = np.arange(start, min(start + SERIES_PER_CHUNK, len(dataset)))
        yield rows, dataset.take(rows)


def measurements(dataset: EHRDataset) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Series, step, channel and value of what was observed, in the order of a chart."""
    observed = dataset.observed.transpose(0, 2, 1)
    series, step, channel = np.nonzero(observed)
    return series, step, channel, dataset.values.transpose(0, 2, 1)[observed]
