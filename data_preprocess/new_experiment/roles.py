"""find_roles: which columns of a user's table are the id, the time, the patient, and of a long one
the variable and the value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from configs.runtime.errors import DataError, few
from data_preprocess.new_experiment.columns import Column, named, plain
from data_preprocess.storage.cell_text import text_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile, identifier

# Plain names (columns.plain), the most telling first.
STAY = ("id", "stayid", "icustayid", "patientunitstayid", "encounterid", "visitid", "hadmid")
STAY += ("admissionid", "episodeid", "recordid", "caseid", "seriesid", "sampleid", "stay", "case")
PATIENT = ("subjectid", "patientid", "subject", "patient", "pid", "mrn", "uniquepid")
TIME = ("time", "charttime", "timestamp", "datetime", "hours", "hour", "minutes", "minute")
TIME += ("seconds", "second", "offset", "observationoffset", "days", "day", "date", "t")
VARIABLE = ("variable", "variablename", "parameter", "param", "item", "itemid", "itemname", "code")
VARIABLE += ("channel", "signal", "measurement", "feature", "vital", "test", "name")
VALUE = ("value", "valuenum", "numericvalue", "result", "reading", "val")
ROLES = ("id", "time", "label", "subject", "variable", "value")  # of columns


@dataclass(frozen=True)
class Seen:
    """A table and its columns."""

    table: TableFile
    columns: Mapping[str, Column]

    def find(self, wanted: Sequence[str]) -> str | None:
        """The column that has the first of the `wanted` plain names that is there."""
        return named(list(self.columns), wanted)

    @property
    def time(self) -> str | None:
        """The column of times, by its name."""
        found = self.find(TIME)
        starts = (c for c in self.columns if plain(c).startswith("time"))
        return found or next(starts, None)


@dataclass(frozen=True)
class Tables:
    """Series and labels, which may be one table, and what the user said about them."""

    engine: Engine
    series: Seen
    labels: Seen
    given: Mapping[str, Any]


def require_given(tables: Tables) -> None:
    """Raises DataError if a column that the user named is not there."""
    files = {seen.table.path.name: seen.columns for seen in (tables.series, tables.labels)}
    for role in ROLES:
        name = tables.given.get(role)
        if name is not None and not any(name in columns for columns in files.values()):
            there = "; ".join(f"{file} has {few(columns)}" for file, columns in files.items())
            raise DataError(f"data.table.{role}={name}: there is no such column; {there}")


def find_roles(tables: Tables) -> dict[str, str]:
    """id, time and, of a long table, variable and value; the patient if named apart.

    Raises:
        DataError: one of them has no column; names the key to give.
    """
    series, labels, given = tables.series, tables.labels, tables.given
    both = [c for c in series.columns if c in labels.columns]
    key = given.get("id") or _key(tables, both)
    if key is None and labels is not series and len(both) == 1:
        key = both[0]
    if not both:
        raise DataError(
            f"{series.table.path.name} ({few(series.columns)}) and {labels.table.path.name} "
            f"({few(labels.columns)}) have no column in common; the id of a series must have "
            "the same name in both"
        )
    time = given.get("time") or series.time
    if key is None or time is None:
        absent = [] if key else ["the id of a series: data.table.id=COLUMN"]
        absent += [] if time else ["a time: data.table.time=COLUMN"]
        shared = time is not None and labels is not series
        where = "both files" if shared else str(series.table.path)
        there = few(both if shared else series.columns)
        raise DataError(
            f"{where}: no column looks like {', none like '.join(absent)} (there are {there})"
        )
    roles = {"id": key, "time": time}
    found = {"variable": series.find(VARIABLE), "value": series.find(VALUE)}
    long = {name: given.get(name) or column for name, column in found.items()}
    named_one = next((name for name in long if given.get(name)), None)
    lacking = next((name for name, column in long.items() if not column), None)
    if named_one and lacking:
        raise DataError(
            f"data.table.{named_one}={given[named_one]} makes a long table, and no column "
            f"looks like its {lacking} ({few(series.columns)}); name it with "
            f"data.table.{lacking}=COLUMN"
        )
    if all(long.values()) and given.get("layout") != "wide":
        roles |= {name: str(column) for name, column in long.items()}
    patients = [name for name in PATIENT if name != plain(key)]
    subject = given.get("subject") or labels.find(patients) or series.find(patients)
    return roles | ({"subject": subject} if subject else {})


def _key(tables: Tables, both: Sequence[str]) -> str | None:
    """The column of ids: the most telling that some rows share; a number of the row is none."""
    names = [name for word in (*STAY, *PATIENT) if (name := named(both, (word,)))]
    for name in names:
        cell = text_sql(identifier(name))
        rows = tables.engine.rows(
            f"SELECT count({cell}) > count(DISTINCT {cell}) FROM {tables.series.table.scan}"
        )
        if rows[0][0]:
            return name
    return next(iter(names), None)
