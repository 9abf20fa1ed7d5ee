"""read_yaib: a cohort of YAIB, ricu or OpenICU -> series. The inverse of export/yaib.py.

A cohort is three tables: `dyn` (stay_id, time, one column per variable), `sta` (stay_id, age, sex,
...) and `outc` (stay_id, label; with a time where each hour has a label). They are read as a user's
wide table; what is made here are the labels.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs.runtime.errors import ConfigError, DataError, MissingInputError
from data_preprocess.cohort import FlowStep, Rules, apply_rules
from data_preprocess.dataset import bare_name
from data_preprocess.export.parquet_tables import require_distinct
from data_preprocess.export.yaib import STATIC, VARIABLES
from data_preprocess.sources.registry import Settings, SourceData, reader, require_folder
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.outcomes import MAX_LEVELS, free_texts, require_clear_ids
from data_preprocess.sources.user_table.reader import read_series
from data_preprocess.sources.user_table.times import STAMPS, moments
from data_preprocess.storage.cell_text import id_sql, text_sql, truth_or_number_sql
from data_preprocess.storage.duckdb_engine import Engine, open_engine
from data_preprocess.storage.table_file import (
    TableFile,
    identifier,
    open_table,
    quoted,
    require_all_rows,
    require_columns,
    require_known,
    require_one_row,
)

log = logging.getLogger("tardiff.data")

TABLES = ("dyn", "sta", "outc")
ID, TIME, LABEL = "stay_id", "time", "label"
MOST_CLASSES = 50
_HINT = "a cohort of YAIB has stay_id, time and label"


@reader("yaib")
def read_yaib(section: Any, settings: Settings) -> SourceData:
    """The stays of a cohort on the grid; labels by hour become one by `section.rule`.

    Rule "later" removes stays that are positive within the window; "longer" takes the labels for
    the remaining hours.

    Raises:
        MissingInputError: a table is not there.
        DataError: a column is missing, a stay stands twice, or nobody is left.
    """
    folder = require_folder(section.folder, "yaib")
    files = {name: folder / f"{name}.parquet" for name in TABLES}
    absent = [path.name for path in files.values() if not path.is_file()]
    if absent:
        raise MissingInputError(
            f"{folder}: no {', '.join(absent)}; data.yaib.folder is a folder with dyn.parquet, "
            "sta.parquet and outc.parquet, as YAIB, ricu and OpenICU write them"
        )
    tables = {name: open_table(path, key="data.yaib.folder") for name, path in files.items()}
    for name, columns in {"dyn": [ID, TIME], "sta": [ID], "outc": [ID, LABEL]}.items():
        require_columns(tables[name], columns, _HINT)
    with open_engine(
        memory_limit=settings.memory_limit, threads=settings.threads, source=folder
    ) as engine:
        for name in ("sta", "outc"):
            require_clear_ids(engine, tables[name], ID)
        columns = _columns(engine, tables["dyn"], section.channels)
        names = label_names(section.rule, settings) if TIME in tables["outc"].columns else None
        flow = _make_labels(engine, tables["outc"], section.rule, settings)
        static = {name: STATIC.get(name, name) for name in _covariates(engine, tables["sta"])}
        labels = _label_view(engine, tables, static, section)
        form = TableForm(
            series=str(files["dyn"]),
            layout="wide",
            id=ID,
            time=TIME,
            time_unit="hours",
            subject="subject" if section.subjects else None,
            static=[*static.values()],
            channels=columns,
            classes=names,
            source="yaib",
            drop_outside=True,  # a cohort holds whole stays, the window their beginning
        )
        source = read_series(engine, tables["dyn"], labels, form, settings)
    pool = source.pool.with_classes(section.classes, "data.yaib.classes")
    pool = replace(
        pool,
        feature_names=tuple(VARIABLES.get(column, column) for column in columns),
        flow=(*flow, *pool.flow),
    )
    subjects = (Path(section.subjects),) if section.subjects else ()
    return SourceData(pool, files=(*files.values(), *subjects))


def label_names(rule: str, settings: Settings) -> tuple[str, str] | None:
    """The classes that a rule makes; None where the labels themselves are classes."""
    return {
        "later": ("no event", "event later"),
        "longer": (f"stay <= {settings.los_days:g} days", f"stay > {settings.los_days:g} days"),
    }.get(rule)


def _columns(engine: Engine, table: TableFile, channels: list[str] | None) -> list[str]:
    """The columns of the channels in order."""
    there = [name for name in table.columns if name not in (ID, TIME)]
    if channels is None:
        counts = engine.rows(
            f"SELECT {', '.join(f'count({identifier(n)})' for n in there)} FROM {table.scan}"
        )[0]
        return [name for name, count in zip(there, counts, strict=True) if count]
    ours = {bare_name(VARIABLES[name]): name for name in there if name in VARIABLES}
    unknown = [name for name in channels if name not in there and name not in ours]
    if unknown:
        raise ConfigError(
            f"data.yaib.channels: {table.path} has no {', '.join(unknown)}; it has "
            f"{', '.join(there)}"
        )
    return [ours.get(name, name) for name in channels]


def _covariates(engine: Engine, table: TableFile) -> list[str]:
    """The columns of static covariates: all but the stay and free text, of which it warns."""
    there = [name for name in table.columns if name != ID]
    free = free_texts(engine, table, there)
    for name, count in free.items():
        log.warning(
            "%s: %s has %d different texts and is no static covariate (at most %d categories)",
            table.path,
            name,
            count,
            MAX_LEVELS,
        )
    return [name for name in there if name not in free]


def _make_labels(engine: Engine, table: TableFile, rule: str, settings: Settings) -> list[FlowStep]:
    """Makes the table `stay_labels` (id, label): one label per stay; returns who was removed."""
    stay = id_sql(identifier(ID))
    if TIME not in table.columns:
        engine.run(
            f"CREATE TABLE stay_labels AS SELECT {stay} AS id, {text_sql(identifier(LABEL))} "
            f"AS label FROM {table.scan}",
            source=table.path,
        )
        return _labelled(engine, table, {})
    times = moments(engine, table, TIME, TableForm(series=None, time_unit="hours", source="yaib"))
    if times.kind == STAMPS:
        raise DataError(f"{table.path}: {TIME} holds {STAMPS}, expected hours since admission")
    window = settings.window_hours * 60
    engine.run(
        f"""CREATE TABLE hours AS SELECT {stay} AS id, {times.sql} AS minute,
            {truth_or_number_sql(identifier(LABEL))} AS label, {text_sql(identifier(LABEL))} AS text
            FROM {table.scan}""",
        source=table.path,
    )
    strange, first = engine.rows("SELECT count(*), min(text) FROM hours WHERE isnan(label)")[0]
    if strange:
        raise DataError(
            f"{table.path}: {strange:,} labels of {LABEL} are no numbers (such as {first!r})"
        )
    inside, names = f"minute < {window}", label_names(rule, settings)
    label = {
        "last": f"arg_max(label, minute) FILTER ({inside})",
        "max": "max(label)",
        "later": f"coalesce(max(label) FILTER (NOT {inside}), 0) > 0",
        # Remaining hours of the first labelled hour, and the hours before it.
        "longer": f"arg_min(label + minute / 60, minute) > {settings.los_days * 24}",
    }[rule]
    if names is not None:
        label = (
            f"CASE WHEN count(label) = 0 THEN NULL WHEN {label} THEN {quoted(names[1])} "
            f"ELSE {quoted(names[0])} END"
        )
    engine.run(f"""CREATE TABLE stay_labels AS SELECT id, ({label})::VARCHAR AS label,
        max(minute) AS latest, coalesce(max(label) FILTER ({inside}), 0) > 0 AS early
        FROM hours GROUP BY id""")
    hours = f"{settings.window_hours:g} h"
    rules = {}
    if rule in ("later", "longer"):
        rules[f"shorter than {hours}"] = (
            f"coalesce(latest >= {window - settings.step_minutes}, true)"
        )
    if rule == "later":
        rules[f"labelled within the first {hours}"] = "NOT early"
    flow = _labelled(engine, table, rules)
    kinds = engine.number("SELECT count(DISTINCT label) FROM stay_labels")
    if kinds > MOST_CLASSES:
        raise DataError(
            f"{table.path}: data.yaib.rule={rule} makes {kinds} different labels of "
            f"{flow[0].left:,} stays; for remaining hours choose longer, for an event by hour "
            "later, last or max"
        )
    return flow


def _labelled(engine: Engine, table: TableFile, rules: Rules) -> list[FlowStep]:
    """Leaves in `stay_labels` who has a label and keeps the rules; how many there were and are."""
    total = engine.number("SELECT count(*) FROM stay_labels")
    flow = [FlowStep(f"stays of {table.path.name}", 0, total)]
    apply_rules(engine, "stay_labels", {"without a label": "label IS NOT NULL", **rules}, flow)
    return flow


def _label_view(
    engine: Engine, tables: Mapping[str, TableFile], static: dict[str, str], section: Any
) -> TableFile:
    """`stay_labels` with static covariates and patients, as a table of its own."""
    if static:
        _require_one_known(engine, tables["sta"], ID, list(static))
    facts = "".join(f", s.{identifier(a)} AS {identifier(b)}" for a, b in static.items())
    sql = (
        f"SELECT l.id AS {ID}, l.label AS {LABEL}{facts} FROM stay_labels l LEFT JOIN "
        f"{tables['sta'].scan} s ON l.id = {id_sql(f's.{identifier(ID)}')}"
    )
    names = [ID, LABEL, *["subject"] * bool(section.subjects), *static.values()]
    require_distinct(names, f"{tables['sta'].path.name} beside {tables['outc'].path.name}")
    if section.subjects:
        people = open_table(Path(section.subjects), key="data.yaib.subjects")
        require_columns(
            people,
            [section.subject_key, section.subject],
            "name yours with data.yaib.subject_key= and data.yaib.subject=",
        )
        require_all_rows(engine, people)
        _require_one_known(engine, people, section.subject_key, [section.subject])
        sql = (
            f"SELECT v.*, p.{identifier(section.subject)} AS subject FROM ({sql}) v LEFT JOIN "
            f"{people.scan} p ON v.{ID} = {id_sql(f'p.{identifier(section.subject_key)}')}"
        )
    return replace(tables["outc"], columns=tuple(names), scan=f"({sql})", durations={})


def _require_one_known(engine: Engine, table: TableFile, key: str, columns: Sequence[str]) -> None:
    """Refuses a table of other stays, which would leave all unknown, and rows of one stay that
    differ, which would make two of it."""
    stay = id_sql(identifier(key))
    require_known(engine, table, key, cell=stay, known="stay_labels")
    rows = f"{table.scan} WHERE {stay} IN (SELECT l.id FROM stay_labels l)"
    cells = {text_sql(identifier(name)): name for name in columns}
    require_one_row(engine, table.path, rows, stay, cells, of="stay")
