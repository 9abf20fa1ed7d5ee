"""propose_table: the section `data.table` for a table of series, and its labels, nobody described.

Roles are given by the names of columns, and checked against what the columns hold; what is not
clear is asked for by its key and never guessed from the first rows.
"""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.runtime.errors import DataError, few
from data_preprocess.new_experiment.channels import find_channels, find_static
from data_preprocess.new_experiment.columns import constant_within, look, plain
from data_preprocess.new_experiment.proposal import Proposal, shares
from data_preprocess.new_experiment.roles import (
    PATIENT,
    Seen,
    Tables,
    find_label,
    find_roles,
    require_given,
    tell_classes,
)
from data_preprocess.new_experiment.timing import find_timing
from data_preprocess.sources.user_table.form import MEDS, TableForm
from data_preprocess.sources.user_table.outcomes import require_clear_ids
from data_preprocess.storage.duckdb_engine import open_engine
from data_preprocess.storage.table_file import load, open_table

log = logging.getLogger("tardiff.data")


def propose_table(paths: Sequence[Path], data: Mapping[str, Any]) -> Proposal:
    """What the table says about itself.

    Args:
        paths: the series, and where they stand apart the labels, in either order.
        data: keys of `data` that the user named; those of `data.table` are not looked for.

    Raises:
        DataError: a role has no column, or the column that has its name cannot play it; one
            sentence that names the key to give.
    """
    files = [open_table(path, key="your file") for path in paths]
    if meds := [table.path for table in files if {*MEDS.values()} <= {*table.columns}]:
        raise DataError(
            f"{meds[0]}: MEDS events, whose windows end at the prediction times of labels; nothing "
            "is proposed for them. Write a YAML with `experiment: NAME` and give data=meds "
            "data.meds.folder=, data.meds.labels= and data.meds.mapping= to stage 1, as "
            "docs/data.md shows"
        )
    given = data.get("table") or {}
    resources = {"memory_limit": "1GB", "threads": 0}
    resources |= {key: data[key] for key in resources if key in data}
    with open_engine(**resources, source=paths[0]) as engine:
        files = [load(engine, table, f"file_{k}") for k, table in enumerate(files)]
        log.info("looking at the columns of %s ...", ", ".join(path.name for path in paths))
        seen = [Seen(table, look(engine, table)) for table in files]
        at = given.get("time")
        timed = [s for s in seen if (at in s.columns if at else s.time)]
        series = max(timed or seen[:1], key=lambda s: s.rows)  # labels may have a time of death
        labels = next((s for s in seen if s is not series), series)
        return _proposed(Tables(engine, series, labels, given))


def _proposed(tables: Tables) -> Proposal:
    """The section and what is told about it."""
    series, labels, given = tables.series, tables.labels, tables.given
    require_given(tables)
    roles = find_roles(tables)
    for seen in (series, labels):
        require_clear_ids(tables.engine, seen.table, roles["id"])
    own = [name for name in labels.columns if name not in roles.values()]
    constant = constant_within(tables.engine, labels.table, roles["id"], own)
    label, counts = find_label(
        tables.engine, labels.table, given.get("label"), key=roles["id"], constant=constant
    )
    section: dict[str, Any] = {"series": str(series.table.path.absolute())}
    if labels is not series:
        section["labels"] = str(labels.table.path.absolute())
    section |= {"layout": "long" if "variable" in roles else "wide"} | roles | {"label": label}
    proposal = Proposal({"source": "table"})
    fixed = [c for c, one in constant.items() if one and c != label]
    static = given.get("static", find_static(tables, fixed, proposal))
    section |= {"static": list(static)} if static else {}
    _tell_columns(tables, proposal, section)
    section["channels"] = find_channels(tables, proposal, section)
    if classes := tell_classes(proposal, label, counts, given.get("classes")):
        section["classes"] = classes
    if not given.get("decimal") and _has_decimal_commas(tables):
        section["decimal"] = ","
        proposal.understood["decimal sign"] = "comma"
    proposal.decide += _points_of_thousands(tables)
    form = TableForm(
        series=section["series"],
        id=roles["id"],
        time=roles["time"],
        decimal=given.get("decimal") or section.get("decimal", "."),
        start=given.get("start"),
        end=given.get("end"),
    )
    unit = find_timing(tables, form, proposal, section.get("variable"))
    section |= {"time_unit": unit} if unit else {}
    proposal.data |= shares(sum(counts.values())) | {"table": section}
    return proposal


def _has_decimal_commas(tables: Tables) -> bool:
    """Whether numbers are written with a comma.

    Raises:
        DataError: the commas may separate thousands.
    """
    where = tables.series.table.path
    both = (tables.series, tables.labels)
    columns = [c for seen in both for c in seen.columns.values() if c.is_numeric]
    commas = next((c for c in columns if c.commas), None)
    if commas is None:
        return False
    if points := next((c for c in columns if c.points), None):
        raise DataError(
            f"{where}: `{commas.name}` has numbers with a comma (first {commas.comma_cell!r}), "
            f"`{points.name}` with a point. Take thousands separators out; of decimal signs "
            "write one kind"
        )
    if all(c.thousands == c.commas for c in columns):
        raise DataError(
            f"{where}: every comma of `{commas.name}` stands before three digits (first "
            f"{commas.comma_cell!r}). Take thousands separators out; if they are decimal "
            "signs, say data.table.decimal=','"
        )
    return True


def _points_of_thousands(tables: Tables) -> list[str]:
    """A question where semicolons separate cells, as where a point may separate thousands."""
    return [
        f"every point of `{c.name}` stands before three digits (first {c.point_cell!r}) and is "
        "read as a decimal sign; if it separates thousands, take it out"
        for seen in {s.table.path: s for s in (tables.series, tables.labels)}.values()
        if seen.table.delimiter == ";"
        for c in seen.columns.values()
        if c.is_numeric and 0 < c.points == c.thousands
    ]


def _tell_columns(tables: Tables, proposal: Proposal, section: Mapping[str, Any]) -> None:
    tell = proposal.understood
    tell["series"] = f"{tables.series.table.path.name}, a {section['layout']} table"
    if tables.labels is not tables.series:
        tell["labels in"] = tables.labels.table.path.name
    tell["id"] = f"`{section['id']}`"
    if "subject" in section:
        tell["patient"] = f"`{section['subject']}`: no patient is in two splits"
    elif plain(section["id"]) not in PATIENT:
        proposal.decide.append(
            f"no column names the patient, so every `{section['id']}` counts as one; if "
            "patients have several, name theirs with data.table.subject=COLUMN"
        )
    if section["layout"] == "long":
        tell["values"] = f"`{section['value']}` of `{section['variable']}`"
    if "static" in section:
        tell["static covariates"] = few(section["static"])
