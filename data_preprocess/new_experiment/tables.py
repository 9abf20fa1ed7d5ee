"""propose_table: the section `data.table` for a table of series, and its labels, nobody described.

Roles are given by the names of columns, and checked against what the columns hold; what is not
clear is asked for by its key and never guessed from the first rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.runtime.errors import DataError, few
from data_preprocess.new_experiment.columns import (
    Column,
    constant_within,
    look,
    named,
    plain,
    unit_of,
)
from data_preprocess.new_experiment.proposal import Proposal, class_order, shares
from data_preprocess.new_experiment.timing import find_timing
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.storage.cell_text import id_sql, text_sql
from data_preprocess.storage.duckdb_engine import Engine, open_engine
from data_preprocess.storage.table_file import TableFile, identifier, open_table, require_all_rows

# Plain names (columns.plain), the most telling first.
STAY = ("id", "stayid", "icustayid", "patientunitstayid", "encounterid", "visitid", "hadmid")
STAY += ("admissionid", "episodeid", "recordid", "caseid", "seriesid", "sampleid", "stay", "case")
PATIENT = ("subjectid", "patientid", "subject", "patient", "pid", "mrn", "uniquepid")
TIME = ("time", "charttime", "timestamp", "datetime", "hours", "hour", "minutes", "minute")
TIME += ("seconds", "second", "offset", "observationoffset", "days", "day", "date", "t")
VARIABLE = ("variable", "variablename", "parameter", "param", "item", "itemid", "itemname", "code")
VARIABLE += ("channel", "signal", "measurement", "feature", "vital", "test", "name")
VALUE = ("value", "valuenum", "numericvalue", "result", "reading", "val")
LABEL = ("label", "outcome", "died", "death", "dead", "mortality", "inhospitaldeath")
LABEL += ("hospitalexpireflag", "expired", "survived", "target", "y", "class", "event", "sepsis")
LABEL += ("readmitted", "readmission", "status", "diagnosis")
STATIC = ("age", "sex", "gender", "height", "weight", "bmi", "ethnicity", "race", "icutype")
MOST_CLASSES = 10


@dataclass(frozen=True)
class _Seen:
    """A table and its columns."""

    table: TableFile
    columns: Mapping[str, Column]

    def find(self, wanted: Sequence[str]) -> str | None:
        return named(list(self.columns), wanted)

    @property
    def time(self) -> str | None:
        found = self.find(TIME)
        starts = (c for c in self.columns if plain(c).startswith("time"))
        return found or next(starts, None)


def propose_table(paths: Sequence[Path], given: Mapping[str, Any]) -> Proposal:
    """What the table says about itself.

    Args:
        paths: the series, and where they stand apart the labels, in either order.
        given: keys of `data.table` that the user named; they are not looked for.

    Raises:
        DataError: a role has no column, or the column that has its name cannot play it; one
            sentence that names the key to give.
    """
    tables = [open_table(path, key="your file") for path in paths]
    with open_engine(memory_limit="1GB", threads=0, source=paths[0]) as engine:
        for table in tables:
            require_all_rows(engine, table)
        seen = [_Seen(table, look(engine, table)) for table in tables]
        series = next((s for s in seen if s.time or given.get("time") in s.columns), seen[0])
        labels = next((s for s in seen if s is not series), series)
        return _propose(engine, series, labels, given)


def _propose(engine: Engine, series: _Seen, labels: _Seen, given: Mapping[str, Any]) -> Proposal:
    roles = _roles(series, labels, given)
    apart = labels is not series
    own = [name for name in labels.columns if name not in roles.values()]
    constant = constant_within(engine, labels.table, roles["id"], own)
    label, counts = _label(engine, labels, roles, constant, given)
    section: dict[str, Any] = {"series": str(series.table.path.absolute())}
    section |= {"labels": str(labels.table.path.absolute())} if apart else {}
    section |= {"layout": "long" if "variable" in roles else "wide"}
    section |= roles | {"label": label}
    static = [c for c, one in constant.items() if one and c != label and plain(c) in STATIC]
    section |= {"static": static} if static else {}
    proposal = Proposal({"source": "table"})
    _tell_columns(proposal, series, labels, section, apart)
    section["channels"] = _channels(engine, proposal, series, labels, section, constant, given)
    _tell_classes(proposal, section, label, counts, given)
    if any(c.comma_numbers > c.numbers for c in series.columns.values()):
        section["decimal"] = ","
        proposal.understood["decimal sign"] = "comma"
    form = TableForm(series=section["series"], id=roles["id"], time=roles["time"])
    form = TableForm(**vars(form) | {"decimal": section.get("decimal", ".")})
    timing = find_timing(engine, series.table, form, given.get("time_unit"))
    section |= {"time_unit": timing.unit} if timing.unit else {}
    proposal.understood["times"] = f"{timing.unit or 'stamps or durations'} in `{roles['time']}`"
    proposal.understood["window"] = (
        f"{timing.window_hours:g} h in steps of {timing.step_minutes:g} min: {timing.why}"
    )
    proposal.decide += [timing.doubt] if timing.doubt else []
    grid = {"window_hours": timing.window_hours, "step_minutes": timing.step_minutes}
    proposal.data |= grid | shares(sum(counts.values())) | {"table": section}
    return proposal


def _roles(series: _Seen, labels: _Seen, given: Mapping[str, Any]) -> dict[str, str]:
    """id, time and, of a long table, variable and value; the patient where it is another column."""
    both = [c for c in series.columns if c in labels.columns]
    key = given.get("id") or named(both, (*STAY, *PATIENT))
    if key is None:
        where = "both files" if labels is not series else str(series.table.path)
        raise DataError(
            f"no column of {where} looks like the id of a series ({few(both)}); name it with "
            "data.table.id=COLUMN"
        )
    time = given.get("time") or series.time
    if time is None:
        raise DataError(
            f"{series.table.path}: no column looks like a time ({few(series.columns)}); "
            "name it with data.table.time=COLUMN"
        )
    roles = {"id": key, "time": time}
    variable, value = series.find(VARIABLE), series.find(VALUE)
    long = {"variable": given.get("variable") or variable, "value": given.get("value") or value}
    if all(long.values()) and given.get("layout") != "wide":
        roles |= {name: str(column) for name, column in long.items()}
    subject = given.get("subject") or labels.find([name for name in PATIENT if name != plain(key)])
    return roles | ({"subject": subject} if subject else {})


def _label(
    engine: Engine,
    labels: _Seen,
    roles: Mapping[str, str],
    constant: Mapping[str, bool],
    given: Mapping[str, Any],
) -> tuple[str, dict[str, int]]:
    """The column of labels, and how many series have each."""
    where = labels.table.path
    label = given.get("label") or named(list(constant), LABEL)
    if label is None or label not in labels.columns:
        raise DataError(
            f"{where}: no column looks like a label ({few(constant)}); name it with "
            "data.table.label=COLUMN, or give the file with the labels as well"
        )
    if not constant.get(label, True):
        raise DataError(
            f"{where}: `{label}` changes within a series; a label is one value per series - name "
            "another column with data.table.label=COLUMN"
        )
    cell = id_sql(identifier(label))
    rows = engine.rows(
        f"SELECT {cell} AS label, count(DISTINCT {text_sql(identifier(roles['id']))}) AS n "
        f"FROM {labels.table.scan} WHERE label IS NOT NULL GROUP BY label ORDER BY label"
    )
    counts = {str(name): int(count) for name, count in rows}
    if len(counts) < 2:
        found = few(counts) or "nothing"
        raise DataError(
            f"{where}: `{label}` has one class ({found}); two or more are needed - is it the right "
            "column (data.table.label=COLUMN)?"
        )
    if len(counts) > MOST_CLASSES:
        raise DataError(
            f"{where}: `{label}` has {len(counts):,} different values in "
            f"{sum(counts.values()):,} series, so it looks like ids or measurements and no class; "
            "name another column with data.table.label=COLUMN"
        )
    return label, counts


def _channels(
    engine: Engine,
    proposal: Proposal,
    series: _Seen,
    labels: _Seen,
    section: Mapping[str, Any],
    constant: Mapping[str, bool],
    given: Mapping[str, Any],
) -> list[str]:
    """The variables of a long table, or the numeric columns of a wide one that change."""
    taken = {section[key] for key in ("id", "time", "label")} | {section.get("subject")}
    if section["layout"] == "long":
        cell = text_sql(identifier(section["variable"]))
        rows = engine.rows(f"SELECT DISTINCT {cell} AS v FROM {series.table.scan} WHERE v NOT NULL")
        channels = sorted(str(row[0]) for row in rows)
        numeric = [series.columns[section["value"]]]
        numeric = [column for column in numeric if column.is_numeric]
        taken |= {section["variable"], section["value"]}
        channels = channels if numeric else []
    else:
        same = constant if labels is series else {}
        numeric = [
            column
            for name, column in series.columns.items()
            if name not in taken and column.is_numeric and not same.get(name, False)
        ]
        channels = [column.name for column in numeric]
    channels = given.get("channels") or channels
    if not channels:
        raise DataError(
            f"{series.table.path}: no column of numbers that change within a series "
            f"({few(series.columns)}); a table needs measurements, one column each or as "
            "variable and value"
        )
    units = [name for name in channels if unit_of(name)]
    text = f"{len(channels)}: {few(channels)}"
    proposal.understood["channels"] = text + ("" if units else "; no units named")
    for column in numeric:
        bad = column.filled - max(column.numbers, column.comma_numbers)
        if bad and not given.get("drop_unreadable"):
            proposal.decide.append(
                f"{bad:,} cells of `{column.name}` are no numbers, first {column.odd!r}: stage 1 "
                "refuses them unless data.table.drop_unreadable=true"
            )
    used = taken | set(channels) | set(section.get("static", []))
    left = [name for seen in (series, labels) for name in seen.columns if name not in used]
    if left:
        proposal.understood["not used"] = few(dict.fromkeys(left)) + (
            "; as static covariates: data.table.static=[...], if known at time zero"
        )
    return list(channels)


def _tell_columns(
    proposal: Proposal, series: _Seen, labels: _Seen, section: Mapping[str, Any], apart: bool
) -> None:
    tell = proposal.understood
    tell["series"] = f"{series.table.path.name}, a {section['layout']} table"
    if apart:
        tell["labels in"] = labels.table.path.name
    tell["id"] = f"`{section['id']}`"
    subject = section.get("subject")
    if subject:
        tell["patient"] = f"`{subject}`: no patient is in two splits"
    elif plain(section["id"]) not in PATIENT:
        proposal.decide.append(
            f"no column names the patient, so every `{section['id']}` counts as one; if patients "
            "have several, name theirs with data.table.subject=COLUMN"
        )
    if section["layout"] == "long":
        tell["values"] = f"`{section['value']}` of `{section['variable']}`"
    if "static" in section:
        tell["static covariates"] = few(section["static"])


def _tell_classes(
    proposal: Proposal,
    section: dict[str, Any],
    label: str,
    counts: Mapping[str, int],
    given: Mapping[str, Any],
) -> None:
    shown = ", ".join(f"{name} ({count:,})" for name, count in counts.items())
    words = not all(name.lstrip("-").isdigit() for name in counts)
    text = f"`{label}`: {shown}"
    if words and len(counts) == 2 and not given.get("classes"):
        section["classes"], why = class_order(counts)
        text += f"; positive is {section['classes'][-1]}, {why}"
        proposal.decide.append(
            f"is {section['classes'][-1]!r} the class to be predicted? Else swap data.table.classes"
        )
    proposal.understood["label"] = text
