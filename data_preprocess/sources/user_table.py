"""The SQL of from_table.py: opens a user's table, reads outcomes, sorts values onto a grid."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.runtime.errors import DataError, MissingInputError
from data_preprocess.sources.hospital.duckdb_engine import Engine
from data_preprocess.sources.hospital.tables import identifier, quoted


@dataclass(frozen=True)
class Names:
    """Columns of the table; `time` is minutes from the window's start, or a time stamp."""

    id: str
    time: str
    variable: str
    value: str
    label: str
    subject: str | None


def open_view(engine: Engine, name: str, path: Path) -> list[str]:
    """Makes the view `name` over a file; returns its columns."""
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist (data.table names it)")
    if path.suffix == ".parquet":
        scan = f"read_parquet({quoted(str(path))})"
    elif path.name.endswith((".csv", ".csv.gz")):
        # The quote is given: DuckDB's guess fails where the first quoted comma comes late.
        scan = (
            f"read_csv({quoted(str(path))}, header = true, delim = ',', quote = '\"', "
            "escape = '\"', all_varchar = true)"
        )
    else:
        raise DataError(f"{path}: unknown kind of table; expected .csv, .csv.gz or .parquet")
    engine.run(f"CREATE VIEW {name} AS FROM {scan}", source=path)
    return [str(row[0]) for row in engine.rows(f"DESCRIBE {name}")]


def _require(engine: Engine, view: str, wanted: Sequence[str], where: Path) -> None:
    found = [str(row[0]) for row in engine.rows(f"DESCRIBE {view}")]
    absent = [name for name in wanted if name not in found]
    if absent:
        raise DataError(
            f"{where}: no column {', '.join(absent)}; it has {', '.join(found)} - name yours with "
            "data.table.id=, time=, variable=, value=, label="
        )


def read_outcomes(
    engine: Engine, names: Names, where: Path
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Labels 0..K-1, patient numbers and class names by ascending id; makes the table `ids`."""
    subject = names.subject or names.id
    _require(engine, "outcome", [names.id, names.label, subject], where)
    picked = ", ".join(
        f"{identifier(column)}::VARCHAR AS {alias}"
        for column, alias in ((names.id, "id"), (names.label, "label"), (subject, "subject"))
    )
    engine.run(f"CREATE TABLE outcomes AS SELECT DISTINCT {picked} FROM outcome", source=where)
    unclear = engine.rows(
        "SELECT id, count(*), count(label) FROM outcomes GROUP BY id "
        "HAVING count(*) > 1 OR count(label) = 0 OR id IS NULL ORDER BY 1"
    )
    if unclear:
        raise DataError(
            f"{where}: an id has {unclear[0][1]} different rows of id, label and subject, "
            f"{unclear[0][2]} of them labelled ({len(unclear)} such ids); expected one"
        )
    engine.run(
        "CREATE TABLE ids AS SELECT (row_number() OVER (ORDER BY id) - 1)::INTEGER AS row, id, "
        "label, dense_rank() OVER (ORDER BY subject) AS subject FROM outcomes"
    )
    rows = engine.rows("SELECT label, subject FROM ids ORDER BY row")
    if not rows:
        raise DataError(f"{where}: no row")
    label_names = _label_names({str(row[0]) for row in rows})
    labels = np.array([label_names.index(str(row[0])) for row in rows], np.int64)
    subjects = np.array([row[1] for row in rows], np.int64)
    return labels, subjects, label_names


def _label_names(found: set[str]) -> tuple[str, ...]:
    """Class names in order: by number if all are whole numbers, else by name."""
    whole = all(re.fullmatch(r"-?[0-9]{1,18}", name) for name in found)
    return tuple(sorted(found, key=int) if whole else sorted(found))


def arrange(
    engine: Engine,
    names: Names,
    layout: str,
    columns: Sequence[str],
    where: Path,
    channels: list[str] | None,
) -> list[str]:
    """Makes the table `measured` (row, channel, minute, v); returns the channel names in order."""
    known = {names.id, names.time, names.label, names.subject}
    if layout == "wide":
        _require(engine, "series", [names.id, names.time], where)
        variables = channels or [column for column in columns if column not in known]
        _require(engine, "series", variables, where)
        cells = ", ".join(f"{identifier(name)}::DOUBLE" for name in variables)
        listed = ", ".join(quoted(name) for name in variables)
        pair = f"unnest([{listed}]) AS variable, unnest([{cells}]) AS v"
    else:
        _require(engine, "series", [names.id, names.time, names.variable, names.value], where)
        pair = (
            f"{identifier(names.variable)}::VARCHAR AS variable, "
            f"{identifier(names.value)}::DOUBLE AS v"
        )
        variables = channels or [
            str(row[0])
            for row in engine.rows(
                f"SELECT DISTINCT {identifier(names.variable)}::VARCHAR FROM series "
                f"WHERE {identifier(names.value)} IS NOT NULL ORDER BY 1"
            )
        ]
    engine.fill(
        "channels",
        "variable VARCHAR, channel INTEGER",
        [*zip(variables, range(len(variables)), strict=True)],
    )
    engine.run(
        f"""CREATE TABLE measured AS SELECT row, channel, {_minutes(engine, names)} AS minute, v
        FROM (SELECT {identifier(names.id)}::VARCHAR AS id, {identifier(names.time)} AS moment,
                     {pair} FROM series)
        JOIN ids USING (id) JOIN channels USING (variable)
        WHERE v IS NOT NULL AND NOT isnan(v) AND moment IS NOT NULL""",
        desc=f"read {where.name}",
        source=where,
    )
    return variables


def _minutes(engine: Engine, names: Names) -> str:
    """SQL for minutes: the number itself, or the time since the series' first value."""
    column = identifier(names.time)
    sample = engine.rows(
        f"SELECT typeof({column}), {column}::VARCHAR FROM series WHERE {column} IS NOT NULL LIMIT 1"
    )
    is_stamp = bool(sample) and (
        sample[0][0].startswith(("TIMESTAMP", "DATE")) or "-" in str(sample[0][1])[1:]
    )
    if not is_stamp:
        return "moment::DOUBLE"
    stamp = "epoch(moment::TIMESTAMP)"
    return f"({stamp} - min({stamp}) OVER (PARTITION BY id)) / 60"


def grid_values(
    engine: Engine, num_series: int, variables: Sequence[str], num_steps: int, step_minutes: float
) -> tuple[np.ndarray, int]:
    """The mean per step, and how many values lie outside the window."""
    values = np.full((num_series, len(variables), num_steps), np.nan, np.float32)
    step = f"floor(minute / {step_minutes} + 1e-9)::BIGINT"
    inside = f"{step} BETWEEN 0 AND {num_steps - 1}"
    engine.run(
        f"""CREATE TABLE cells AS SELECT row, channel, {step} AS step, avg(v)::FLOAT AS v
        FROM measured WHERE {inside} GROUP BY ALL""",
        desc="grid",
    )
    for cells in engine.chunks("SELECT row, channel, step, v FROM cells"):
        values[cells["row"], cells["channel"], cells["step"]] = cells["v"]
    outside = engine.number(f"SELECT count(*) FROM measured WHERE NOT ({inside})")
    return values, outside
