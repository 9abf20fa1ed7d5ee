"""find_channels and find_static: which columns of a user's table are measured, which covariates."""

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

from configs.runtime.errors import DataError, few
from data_preprocess.new_experiment.columns import (
    Variable,
    constant_within,
    plain,
    variables_of,
)
from data_preprocess.new_experiment.proposal import Proposal
from data_preprocess.new_experiment.roles import Tables
from data_preprocess.sources.user_table.outcomes import MAX_LEVELS, free_texts

# Plain names (columns.plain).
STATIC = ("age", "sex", "gender", "height", "weight", "bmi", "ethnicity", "race", "icutype")


def find_channels(tables: Tables, proposal: Proposal, section: Mapping[str, Any]) -> list[str]:
    """The variables of a long table, or the numeric columns of a wide one that change.

    Raises:
        DataError: there is none, or a wide table looks like a long one.
    """
    series, given = tables.series, tables.given
    taken = {section.get(name) for name in ("id", "time", "label", "subject")}
    taken |= {given.get(name) for name in ("start", "end")}
    if section["layout"] == "long":
        taken |= {section["variable"], section["value"]}
        numeric = []
        found = variables_of(tables.engine, series.table, section["variable"], section["value"])
    else:
        every = {
            name: column
            for name, column in series.columns.items()
            if name not in taken and column.is_numeric and not column.is_index
        }
        same = constant_within(
            tables.engine, series.table, section["id"], every, only_repeated=True
        )
        numeric = [column for name, column in every.items() if not same[name]]
        found = {
            c.name: Variable(c.different, c.filled - max(c.numbers, c.comma_numbers), c.odd)
            for c in numeric
        }
        if len(numeric) == 1 and given.get("layout") != "wide":
            _require_no_variable(tables, section["id"], numeric[0].name, taken)
    channels = given.get("channels") or _varying(found, proposal)
    if not channels:
        raise DataError(
            f"{series.table.path}: no column of numbers that change within a series "
            f"({few(series.columns)}); a table needs measurements, one column each or as "
            "variable and value"
        )
    keys = [c.name for c in numeric if c.name in channels and c.may_be_key]
    if keys and not given.get("channels"):
        others = json.dumps([name for name in channels if name not in keys], ensure_ascii=False)
        proposal.decide.append(
            f"{few(f'`{key}`' for key in keys)}: measured? If they number rows or name people or "
            f"things, data.table.channels='{others}' leaves them out"
        )
    with_unit = any(name.rstrip().endswith(("]", ")")) for name in channels)
    unnamed = "" if with_unit else "; no units named"
    proposal.understood["channels"] = f"{len(channels)}: {few(channels)}{unnamed}"
    if not given.get("drop_unreadable"):
        proposal.decide += [
            f"{found[name].bad:,} cells of `{name}` are no numbers, first {found[name].odd!r}: "
            "stage 1 refuses them unless data.table.drop_unreadable=true"
            for name in channels
            if name in found and found[name].bad
        ]
    used = taken | set(channels) | set(section.get("static", []))
    _tell_not_used(tables, proposal, section, used)
    return list(channels)


def _tell_not_used(
    tables: Tables, proposal: Proposal, section: Mapping[str, Any], used: Set[Any]
) -> None:
    """Tells the columns that are not used, and which of them may be static covariates."""
    series, labels = tables.series, tables.labels
    left = [name for seen in (series, labels) for name in seen.columns if name not in used]
    same = constant_within(
        tables.engine, series.table, section["id"], [n for n in left if n in series.columns]
    )
    change = {name: series.columns[name] for name, one in same.items() if not one}
    texts = {name: column.odd for name, column in change.items() if not column.is_numeric}
    if section["layout"] == "wide" and not tables.given.get("channels"):
        _tell_texts(texts, proposal)
        change = {name: column for name, column in change.items() if name not in texts}
    not_used = [f"{few(change)} (changes within a series)"] if change else []
    if fixed := [name for name in left if same.get(name, True)]:
        how = "data.table.static=[...]"
        if not any(name in labels.columns for name in fixed):
            how = f"copied into {labels.table.path.name} and named in {how}"
        not_used.append(
            f"{few(dict.fromkeys(fixed))}; as static covariates, if known at time zero: {how}"
        )
    if not_used:
        proposal.understood["not used"] = "; ".join(not_used)


def _require_no_variable(tables: Tables, key: str, value: str, taken: Set[Any]) -> None:
    """Raises DataError if the texts of a column change within a series beside one column of
    numbers: as of a long table, whose variables would be averaged."""
    columns = tables.series.columns.items()
    texts = [name for name, c in columns if name not in taken and c.filled and not c.is_numeric]
    same = constant_within(tables.engine, tables.series.table, key, texts, only_repeated=True)
    if variable := next((name for name in texts if not same[name]), None):
        raise DataError(
            f"{tables.series.table.path}: `{variable}` changes within a series beside one column "
            f"of numbers, `{value}`. If it names what was measured, this is a long table: "
            f"data.table.variable={variable} data.table.value={value}; if not, "
            "data.table.layout=wide"
        )


def _varying(found: Mapping[str, Variable], proposal: Proposal) -> list[str]:
    """The channels with two different numbers or more; the others are told."""
    left = {name: one for name, one in found.items() if one.different < 2}
    if same := [name for name, one in left.items() if not one.bad]:
        proposal.understood["left out"] = f"{few(same)}: never changes, so it is no channel"
    _tell_texts({name: one.odd for name, one in left.items() if one.bad}, proposal)
    return [name for name in found if name not in left]


def _tell_texts(first: Mapping[str, str], proposal: Proposal) -> None:
    """Tells what changes and is no channel, as its cells are texts; `first` is one of each."""
    if first:
        proposal.understood["texts"] = (
            f"{few(f'{name} (such as {cell!r})' for name, cell in first.items())}: most cells are "
            "no numbers, so no channel; write numbers (1 and 0 for yes and no) if it was measured"
        )


def find_static(tables: Tables, fixed: Sequence[str], proposal: Proposal) -> list[str]:
    """The static covariates among the columns with one value per series; free text is told."""
    names = [name for name in fixed if plain(name) in STATIC]
    free = free_texts(tables.engine, tables.labels.table, names)
    proposal.decide += [
        f"`{name}` has {levels:,} different texts, so it is left out; a static covariate has "
        f"numbers or at most {MAX_LEVELS} categories (data.table.static)"
        for name, levels in free.items()
    ]
    return [name for name in names if name not in free]
