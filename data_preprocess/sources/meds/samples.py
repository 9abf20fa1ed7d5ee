"""The samples of a MEDS data set: who is asked about when, with which label, in which split."""

from pathlib import Path
from typing import Any

import numpy as np

from configs.runtime.errors import DataError
from data_preprocess.sources.registry import Settings, SourceData
from data_preprocess.sources.user_table.form import PREDICTION_TIME
from data_preprocess.sources.user_table.outcomes import require_clear_ids
from data_preprocess.storage.cell_text import id_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import (
    TableFile,
    column_type,
    identifier,
    open_table,
    require_columns,
)

VALUE_COLUMNS = ("boolean_value", "integer_value", "categorical_value", "float_value")
SPLITS = {"train": "pool", "tuning": "val", "held_out": "test"}
COLUMNS_HINT = "data.meds.subject_id=, time=, code= and value= say what yours are called"


def make_samples(
    engine: Engine, events: TableFile, labels: TableFile, section: Any, settings: Settings
) -> None:
    """Makes `samples` (id, subject, label, starts, ends): one row per subject and prediction.

    `starts` and `ends` are the window in seconds since 1970.

    Raises:
        DataError: no column of labels, several, or times with a zone in one table only.
    """
    _require_one_clock(engine, events, labels, section)
    for table in (events, labels):
        require_clear_ids(engine, table, section.subject_id)
    if (kind := column_type(engine, events, section.value)) == "VARCHAR":
        raise DataError(f"{events.path}: {section.value} holds {kind}, expected numbers")
    column = _label_column(engine, labels, section)
    subject = subject_sql(engine, labels, section)
    ends = f"epoch({identifier(PREDICTION_TIME)})"
    engine.run(
        f"""CREATE TABLE samples AS SELECT DISTINCT {subject} || ' at ' ||
            strftime({identifier(PREDICTION_TIME)}::TIMESTAMP, '%Y-%m-%d %H:%M:%S.%f') AS id,
            {subject} AS subject, {identifier(column)}::VARCHAR AS label, {ends} AS ends,
            {ends} - {settings.window_hours * 3600} AS starts FROM {labels.scan}""",
        source=labels.path,
    )


def _require_one_clock(engine: Engine, events: TableFile, labels: TableFile, section: Any) -> None:
    kinds = {
        table.path: column_type(engine, table, name)
        for table, name in ((events, section.time), (labels, PREDICTION_TIME))
    }
    shown = ", ".join(f"{path}: {kind}" for path, kind in kinds.items())
    if not all(kind.startswith("TIMESTAMP") for kind in kinds.values()):
        raise DataError(f"times are not time stamps ({shown}); MEDS has microseconds without zone")
    if len({"ZONE" in kind for kind in kinds.values()}) > 1:
        raise DataError(
            f"only one of the tables has times with a zone ({shown}), so their distance is "
            "unknown; write both without a zone, or both with one"
        )


def _label_column(engine: Engine, labels: TableFile, section: Any) -> str:
    if section.label is not None:
        require_columns(labels, [section.label], "data.meds.label names the column")
        return str(section.label)
    there = [name for name in VALUE_COLUMNS if name in labels.columns]
    counts = ", ".join(f"count({identifier(name)})" for name in there)
    row = engine.rows(f"SELECT {counts} FROM {labels.scan}")[0] if there else ()
    filled = [name for name, count in zip(there, row, strict=True) if count]
    if len(filled) != 1 or filled == ["float_value"]:
        raise DataError(
            f"{labels.path}: {', '.join(filled) or 'none'} of {', '.join(VALUE_COLUMNS)} "
            "has values; expected one with classes - choose with data.meds.label (a float is no "
            "class: see docs/method.md)"
        )
    return filled[0]


def subject_sql(engine: Engine, table: TableFile, section: Any) -> str:
    """SQL for a subject as text, equal in all tables; whole numbers need no cleaning."""
    column = identifier(section.subject_id)
    is_number = column_type(engine, table, section.subject_id).endswith("INT")
    return f"{column}::VARCHAR" if is_number else id_sql(column)


def by_split(engine: Engine, folder: Path, source: SourceData, section: Any) -> SourceData:
    """The pool by the splits of the data set; subjects without one are removed and counted.

    Raises:
        MissingInputError: no metadata/subject_splits.parquet. DataError: an unknown split, a
            subject in two, or nobody in train.
    """
    table = open_table(folder / "metadata" / "subject_splits.parquet", key="data.meds.splits")
    require_columns(table, [section.subject_id, "split"], COLUMNS_HINT)
    rows = engine.rows(
        f"SELECT DISTINCT ids.patient, s.split FROM ids JOIN (SELECT "
        f"{subject_sql(engine, table, section)} AS subject, split FROM {table.scan}) s "
        "USING (subject)"
    )
    unknown = sorted({str(split) for _, split in rows} - set(SPLITS))
    patients = [patient for patient, _ in rows]
    if unknown or len(set(patients)) < len(patients):
        what = f"unknown splits {', '.join(unknown)}" if unknown else "a subject is in two splits"
        raise DataError(f"{table.path}: {what}; expected one of {', '.join(SPLITS)} per subject")
    cohort, parts = source.pool, {}
    for name, role in SPLITS.items():
        mine = [patient for patient, split in rows if split == name]
        part = cohort.remove({f"not in the split {name}": ~np.isin(cohort.subject_ids, mine)})
        if len(part):
            parts[role] = part
    if "pool" not in parts:
        raise DataError(f"{table.path}: no labelled subject is in the split train")
    return SourceData(**parts, files=(*source.files, table.path))
