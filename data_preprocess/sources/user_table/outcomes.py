"""read_outcomes: labels, patients, static covariates and anchors in time, one row per series."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from configs.runtime.errors import DataError, few
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.times import Moments, moments
from data_preprocess.storage.cell_text import id_sql, number_sql, text_sql, truth_or_number_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import (
    TableFile,
    column_type,
    identifier,
    quoted,
    require_columns,
    require_one_row,
)

COLUMNS_HINT = "name yours with data.table.id=, time=, variable=, value=, label="
MAX_LEVELS = 20
OPEN_END = r"(?:[<>]=? ?)?([0-9]+(?:[.][0-9]+)?)[+]?"  # "> 89", "90+"
_SEX = {"m": 1.0, "male": 1.0, "f": 0.0, "female": 0.0}

log = logging.getLogger("tardiff.data")


def read_outcomes(
    engine: Engine, table: TableFile, series: TableFile, form: TableForm, time_kind: Moments
) -> tuple[dict[str, Any], int, list[str]]:
    """Reads the labels and makes the engine's table `ids` (row, id, first, last), by ascending id.

    `first` and `last` are the minutes of `form.start` and `form.end`, NULL where not asked for.
    Patients that the label table does not name are taken from the series. Returns what a Cohort
    wants to know of its stays, the number of rows removed, and counts for the card. DataError where
    a column is missing, an id stands twice or has no label, or labels make no classes.
    """
    elsewhere = form.subject not in table.columns and form.subject in series.columns
    here = None if elsewhere else form.subject
    named = [form.id, form.label, here or form.id, form.start, form.end, *form.static]
    require_columns(table, [name for name in named if name is not None], COLUMNS_HINT)
    for each in {table.path: table, series.path: series}.values():
        require_clear_ids(engine, each, form.id)
    subject = identifier(here) if here else "NULL::VARCHAR"
    anchors = [_anchor(engine, table, column, form, time_kind) for column in (form.start, form.end)]
    static = ", ".join(
        f"{text_sql(identifier(name))} AS static_{k}" for k, name in enumerate(form.static)
    )
    engine.run(
        f"""CREATE TABLE outcomes AS SELECT DISTINCT {text_sql(identifier(form.id))} AS raw,
            {id_sql(identifier(form.id))} AS id, {id_sql(identifier(form.label))} AS label,
            {id_sql(subject)} AS subject, {anchors[0]} AS first, {anchors[1]} AS last
            {", " + static if static else ""} FROM {table.scan}""",
        source=table.path,
    )
    if elsewhere:
        _take_patients(engine, series, form)
    if table is series:
        # One table: what stands on some rows of a series holds for the whole series.
        columns = ["label", "subject", "first", "last"]
        columns += [f"static_{k}" for k in range(len(form.static))]
        filled = (f"coalesce({c}, min({c}) OVER (PARTITION BY id)) AS {c}" for c in columns)
        engine.run(
            "CREATE OR REPLACE TABLE outcomes AS SELECT DISTINCT raw, id, "
            f"{', '.join(filled)} FROM outcomes"
        )
    removed = _remove_unclear(engine, table, form)
    cells = {"label": form.label, "subject": form.subject, "first": form.start, "last": form.end}
    cells |= {f"static_{k}": name for k, name in enumerate(form.static)}
    given = {cell: name for cell, name in cells.items() if name}
    require_one_row(engine, table.path, "outcomes", "id", given)
    _warn_of_patients(engine, series if elsewhere else table, form)
    # A series whose patient is unknown is a patient of its own.
    engine.run(
        "CREATE TABLE ids AS SELECT (row_number() OVER (ORDER BY id) - 1)::INTEGER AS row, *, "
        "dense_rank() OVER (ORDER BY coalesce('p ' || subject, 's ' || id)) AS patient "
        "FROM outcomes"
    )
    found = engine.rows("SELECT label, patient, subject IS NULL FROM ids ORDER BY row")
    label_names, codes, notes = _classes([str(row[0]) for row in found], form, table.path)
    covariates, static_names = _static(engine, table, form)
    if form.subject is None:
        notes.append("no column of patients is named: every series counts as its own patient")
    elif unknown := sum(bool(row[2]) for row in found):
        notes.append(f"series whose patient is unknown, each a patient of its own: {unknown:,}")
    facts = {
        "labels": codes,
        "label_names": label_names,
        "subject_ids": np.array([row[1] for row in found], np.int64),
        "static": covariates,
        "static_names": static_names,
    }
    return facts, removed, notes


def require_clear_ids(engine: Engine, table: TableFile, column: str) -> None:
    """Refuses ids that may stand for two series.

    Raises:
        DataError: an id is a number that floating point has rounded, or one is spelled in two ways.
    """
    cell, raw = identifier(column), text_sql(identifier(column))
    if "INT" in column_type(engine, table, column):  # exact, in one spelling
        return
    exact = f"CASE typeof({cell}) WHEN 'FLOAT' THEN {2**24} ELSE {2**53} END"
    # Excel writes 1.2E+15, with at least two digits of the exponent.
    rounded = (
        f"regexp_full_match({raw}, '-?[0-9]([.,][0-9]*)?[eE][+][0-9]{{2,}}') OR (regexp_full_match("
        f"{raw}, '-?[0-9]+[.]0*') AND abs(TRY_CAST({raw} AS DOUBLE)) >= {exact})"
    )
    unclear = engine.rows(
        f"""SELECT min(raw), max(raw), bool_or(rounded) FROM (SELECT DISTINCT {raw} AS raw,
            {id_sql(cell)} AS id, {rounded} AS rounded FROM (SELECT DISTINCT {cell} FROM
            {table.scan})) WHERE id IS NOT NULL
        GROUP BY id HAVING count(*) > 1 OR bool_or(rounded) ORDER BY 1""",
        source=table.path,
    )
    if not unclear:
        return
    one, other, was_rounded = unclear[0]
    if was_rounded:
        raise DataError(
            f"{table.path}: the id {one} in {column} is a rounded number ({len(unclear):,} such "
            "ids), in which two series may have become one; write ids as whole numbers or text"
        )
    raise DataError(
        f"{table.path}: the ids {one} and {other} in {column} are the same number "
        f"({len(unclear):,} such ids); write each id in one way"
    )


def _anchor(
    engine: Engine, table: TableFile, column: str | None, form: TableForm, time_kind: Moments
) -> str:
    if column is None:
        return "NULL::DOUBLE"
    found = moments(engine, table, column, form)
    if found.kind != time_kind.kind:
        raise DataError(
            f"{table.path}: the column {column} holds {found.kind}, but the times of the series "
            f"are {time_kind.kind}; expected the same kind"
        )
    if found.zoned != time_kind.zoned:
        with_zone, without = (column, form.time) if found.zoned else (form.time, column)
        raise DataError(
            f"{table.path}: the time stamps of {with_zone} have a zone, those of {without} have "
            "none, so their distance is unknown; write both with one, or both without"
        )
    return found.sql


def _take_patients(engine: Engine, series: TableFile, form: TableForm) -> None:
    """Fills the patients of `outcomes` from the table of series."""
    subject = id_sql(identifier(str(form.subject)))
    engine.run(
        f"""CREATE TABLE patients AS SELECT {id_sql(identifier(form.id))} AS id,
            min({subject}) AS subject, count(DISTINCT {subject}) AS n FROM {series.scan}
            GROUP BY 1""",
        source=series.path,
    )
    several = engine.rows("SELECT id, n FROM patients WHERE n > 1 ORDER BY id")
    if several:
        raise DataError(
            f"{series.path}: the series {several[0][0]} has {several[0][1]} patients in "
            f"{form.subject} ({len(several):,} such series); expected one"
        )
    engine.run("UPDATE outcomes SET subject = p.subject FROM patients p WHERE p.id = outcomes.id")


def _remove_unclear(engine: Engine, table: TableFile, form: TableForm) -> int:
    """Removes rows without id, label or anchor if `form` says so, else refuses them by name."""
    needed = ["id", "label"] + ["first"] * bool(form.start) + ["last"] * bool(form.end)
    unclear = " OR ".join(f"{name} IS NULL" for name in needed)
    rows = engine.rows(f"SELECT raw FROM outcomes WHERE {unclear} ORDER BY raw NULLS FIRST")
    if rows and not form.drop_unreadable:
        columns = [form.id, form.label, *(c for c in (form.start, form.end) if c is not None)]
        shown = few(["(no id)" if row[0] is None else row[0] for row in rows], 3)
        raise DataError(
            f"{table.path}: {len(rows):,} rows have an empty or unreadable cell in "
            f"{', '.join(columns)}: id {shown}; complete them, or "
            + form.advice(
                "leave them out with data.table.drop_unreadable=true", "take them out of the file"
            )
            + missing_words(engine, table, form.label)
        )
    engine.run(f"DELETE FROM outcomes WHERE {unclear}")
    if not engine.number("SELECT count(*) FROM outcomes"):
        raise DataError(f"{table.path}: no row with an id and a label")
    return len(rows)


def missing_words(engine: Engine, table: TableFile, label: str) -> str:
    """What to say of words among the labels that are read as missing: a class may be called so."""
    cell = identifier(label)
    found = engine.rows(
        f"SELECT trim({cell}::VARCHAR) AS word FROM {table.scan} "
        f"WHERE {text_sql(cell)} IS NULL AND word <> '' GROUP BY 1 ORDER BY count(*) DESC, 1"
    )
    words = few([repr(word) for (word,) in found], 3)
    return words and f". {words} is read as missing: rename such a class"


def _warn_of_patients(engine: Engine, table: TableFile, form: TableForm) -> None:
    """Warns of patients that differ by case only, as ids of chance letters may."""
    alike = engine.rows(
        "SELECT min(subject), max(subject) FROM outcomes WHERE subject IS NOT NULL "
        "GROUP BY lower(subject) HAVING min(subject) < max(subject) ORDER BY 1"
    )
    if alike:
        log.warning(
            "%s: the patients %s and %s in %s differ by case only (%d such) and count as two, who "
            "may be in two splits. If they are one, write each patient in one way",
            table.path,
            *alike[0],
            form.subject,
            len(alike),
        )


def _classes(
    labels: Sequence[str], form: TableForm, where: Path
) -> tuple[tuple[str, ...], Int[np.ndarray, " n"], list[str]]:
    """Class names in order, the class of every label, and what was taken as one class."""
    spellings: dict[str, Counter[str]] = {}
    for label in labels:
        spellings.setdefault(label.casefold(), Counter())[label] += 1
    names = {key: max(sorted(found), key=found.__getitem__) for key, found in spellings.items()}
    numbers = [key for key in names if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", key)]
    if any("." in key for key in numbers) or 0 < len(numbers) < len(names):
        raise DataError(
            f"{where}: the labels are {few(sorted(names.values()))}; expected classes, as whole "
            "numbers or as words, not both"
        )
    order = sorted(names, key=int) if numbers else sorted(names)
    if form.classes is not None:
        given = [name.strip().casefold() for name in form.classes]
        if not numbers or set(given) & set(names):
            order = given  # the labels themselves; else names of numbers, in their order
        if set(names) - set(order) or len(set(given)) < len(given) or len(given) != len(order):
            raise DataError(
                f"{where}: the labels are {few(sorted(names.values()))}, but "
                f"data.table.classes={list(form.classes)}; name every class once"
            )
        names = dict(zip(order, form.classes, strict=True))
    notes = [
        f"labels taken as one class: {', '.join(sorted(found))}"
        for found in spellings.values()
        if len(found) > 1
    ]
    label_names = tuple(names[key] for key in order)
    codes = np.array([order.index(label.casefold()) for label in labels], np.int64)
    return label_names, codes, notes


def free_texts(engine: Engine, table: TableFile, names: Sequence[str]) -> dict[str, int]:
    """Those of some columns that hold free text and so are no static covariates: more than
    MAX_LEVELS different texts, not all of them numbers or all like "> 89"; and how many."""
    levels = []
    for name in names:
        raw, text = identifier(name), text_sql(identifier(name))
        kinds = [f"NOT isnan({truth_or_number_sql(raw, decimal=sign)})" for sign in ".,"]
        kinds.append(f"regexp_full_match({text}, {quoted(OPEN_END)})")
        counts = ", ".join(f"count(*) FILTER ({kind})" for kind in kinds)
        levels.append(f"count(DISTINCT lower({text})) * (count({text}) NOT IN ({counts}))::INTEGER")
    found = engine.rows(f"SELECT {', '.join(levels)} FROM {table.scan}")[0] if levels else ()
    return {n: count for n, count in zip(names, found, strict=True) if count > MAX_LEVELS}


def _static(
    engine: Engine, table: TableFile, form: TableForm
) -> tuple[Float[np.ndarray, "n static"], tuple[str, ...]]:
    """The static covariates: numbers as they are, "> 89" as the number in it, words as codes, which
    the name explains."""
    static, names = np.zeros((engine.number("SELECT count(*) FROM ids"), len(form.static))), []
    for k, name in enumerate(form.static):
        number = number_sql(f"static_{k}", decimal=form.decimal if table.is_text else ".")
        rows = engine.rows(f"SELECT static_{k}, {number} FROM ids ORDER BY row")
        texts = [text and text.casefold() for text, _ in rows]
        numbers = {t: row[1] for t, row in zip(texts, rows, strict=True) if t}
        codes = {text: numbers[text] for text in sorted(numbers)}
        ends = {text: re.fullmatch(OPEN_END, text) for text in codes}
        if np.isnan([*codes.values()]).any():
            if all(ends.values()):
                codes = {text: float(end[1]) for text, end in ends.items() if end}
            elif len(codes) > MAX_LEVELS:
                raise DataError(
                    f"{table.path}: the static covariate {name} has {len(codes)} different texts "
                    f"({few(codes)}); expected numbers, or at most {MAX_LEVELS} categories: group "
                    "them, or leave the column out of the static covariates"
                )
            elif set(codes) <= set(_SEX):
                codes, name = _SEX, f"{name}[1=male]"
            else:
                codes = {level: code for code, level in enumerate(codes)}
                name += f"[{','.join(f'{code}={level}' for level, code in codes.items())}]"
        static[:, k] = [codes[text] if text else np.nan for text in texts]
        names.append(name)
    return static.astype(np.float32), tuple(names)
