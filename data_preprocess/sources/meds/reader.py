"""read_meds: a MEDS data set with a table of labels -> series. The inverse of export/meds.py.

A sample is a row of the label table: a subject and the moment of the prediction. It sees the window
of `window_hours` that ends there, and nothing of that moment or later.
"""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from configs.runtime.errors import DataError, few
from data_preprocess.export.meds import MAPPING
from data_preprocess.sources.meds.mapping import CodeMapping, load_mapping
from data_preprocess.sources.meds.samples import (
    COLUMNS_HINT,
    by_split,
    make_samples,
    subject_sql,
)
from data_preprocess.sources.registry import Settings, SourceData, reader, require_folder
from data_preprocess.sources.user_table.form import PREDICTION_TIME, TableForm
from data_preprocess.sources.user_table.reader import read_series
from data_preprocess.sources.user_table.values import warn_of_units
from data_preprocess.storage.duckdb_engine import Engine, open_engine
from data_preprocess.storage.table_file import (
    TableFile,
    identifier,
    open_table,
    quoted,
    require_all_rows,
    require_columns,
)

log = logging.getLogger("tardiff.data")

SHOWN_CODES = 40
_YEAR = 365.25 * 24 * 3600
_STATIC_FORM = {
    "birth": "with a time",
    "codes": "without a time",
    "code": "without a time, with a number",
}


@reader("meds")
def read_meds(section: Any, settings: Settings) -> SourceData:
    """The samples on the grid: mean per step, NaN where nothing was measured.

    Raises:
        MissingInputError: a file is not there.
        DataError: a column, code or label is not what it should be, or only one of the tables has
            times with a zone.
    """
    folder = require_folder(section.folder, "meds")
    events = open_table(folder / "data", key="data.meds.folder")
    require_columns(
        events, [section.subject_id, section.time, section.code, section.value], COLUMNS_HINT
    )
    labels = open_table(Path(section.labels or folder / "labels.parquet"), key="data.meds.labels")
    require_columns(labels, [section.subject_id, PREDICTION_TIME], COLUMNS_HINT)
    with open_engine(
        memory_limit=settings.memory_limit, threads=settings.threads, source=folder
    ) as engine:
        require_all_rows(engine, labels)
        known = _known_codes(engine, events, section)
        mapping_file = Path(section.mapping or folder / MAPPING)
        mapping = load_mapping(mapping_file, known)
        make_samples(engine, events, labels, section, settings)
        notes = _make_window(engine, events, mapping, section)
        there = {str(row[0]) for row in engine.rows("SELECT code FROM code_counts")}
        for name, wanted in mapping.channels.items():
            if not there & set(wanted):
                codes = ", ".join(wanted)
                raise DataError(
                    f"{events.path}: no value of the codes of channel {name}: {codes}. {known}"
                )
        if not engine.number("SELECT count(*) FROM windowed"):
            raise DataError(
                f"{events.path}: no value of a channel lies in the {settings.window_hours:g} h "
                f"before a {PREDICTION_TIME} of {labels.path}; correct these times, or widen "
                "data.window_hours"
            )
        _add_static(engine, events, mapping, section)
        source = _read(engine, events, labels, mapping, settings)
        cohort = source.pool.with_classes(section.classes, "data.meds.classes")
        cohort = replace(cohort, notes=(*notes, *_metadata_notes(folder)))
        source = source._replace(pool=cohort, files=(*source.files, mapping_file))
        return by_split(engine, folder, source, section) if section.splits else source


def _known_codes(engine: Engine, events: TableFile, section: Any) -> str:
    code, value = identifier(section.code), identifier(section.value)
    engine.run(
        f"CREATE TABLE code_counts AS SELECT {code} AS code, count({value}) AS n "
        f"FROM {events.scan} GROUP BY 1 HAVING n > 0",
        source=events.path,
    )
    rows = engine.rows(f"SELECT code, n FROM code_counts ORDER BY n DESC, code LIMIT {SHOWN_CODES}")
    more = engine.number("SELECT count(*) FROM code_counts") - len(rows)
    listed = ", ".join(f"{name} ({n:,})" for name, n in rows)
    return f"Codes with numbers there: {listed}{f' and {more:,} more' if more > 0 else ''}"


def _make_window(
    engine: Engine, events: TableFile, mapping: CodeMapping, section: Any
) -> list[str]:
    """Makes `windowed` (id, time, variable, value): what every sample may see, in minutes; returns
    counts of what it may not.
    """
    engine.fill(
        "mapping",
        "code VARCHAR, variable VARCHAR, scale DOUBLE, shift DOUBLE, low DOUBLE, high DOUBLE",
        mapping.rows,
    )
    _warn_of_units(engine, events, section)
    time, code = (f"e.{identifier(name)}" for name in (section.time, section.code))
    # Two steps: with all conditions at once, DuckDB compares every event with every sample.
    engine.run(
        f"""CREATE TABLE coded AS
        SELECT {subject_sql(engine, events, section)} AS subject, epoch({time}) AS moment,
            m.variable, {identifier(section.value)} * m.scale + m.shift AS value, m.low, m.high
        FROM {events.scan} e JOIN mapping m ON {code} = m.code
        WHERE {time} IS NOT NULL AND {identifier(section.value)} IS NOT NULL""",
        source=events.path,
    )
    engine.run(
        """CREATE TABLE windowed AS
        SELECT s.id, (c.moment - s.starts) / 60 AS time, c.variable, c.value
        FROM coded c JOIN samples s USING (subject)
        WHERE c.moment >= s.starts AND c.moment < s.ends
            AND isfinite(c.value) AND coalesce(c.value BETWEEN c.low AND c.high, true)"""
    )
    joined = "SELECT count(*) FROM coded JOIN samples USING (subject) WHERE moment"
    inside = f"{joined} >= starts AND moment < ends"
    counts = {
        "samples without a label": "SELECT count(*) FROM samples WHERE label IS NULL",
        "samples without a subject or a time": "SELECT count(*) FROM samples WHERE id IS NULL",
        "values at the prediction time or after it": f"{joined} >= ends",
        "values that are not finite": f"{inside} AND NOT isfinite(value)",
        "values outside their range": f"{inside} AND isfinite(value) "
        "AND NOT value BETWEEN low AND high",
    }
    notes = engine.counted({f"{what}, not used": sql for what, sql in counts.items()})
    engine.run("DELETE FROM samples WHERE label IS NULL OR id IS NULL")
    return notes


def _warn_of_units(engine: Engine, events: TableFile, section: Any) -> None:
    """Of a channel, or of each of its codes where these are converted in several ways."""
    name = "channel or code"
    scan = f"""(SELECT e.*, CASE WHEN m.ways = 1 THEN m.variable ELSE m.code END AS "{name}"
        FROM {events.scan} e JOIN (SELECT code, variable, ways FROM mapping JOIN (SELECT variable,
            count(DISTINCT (scale, shift)) AS ways FROM mapping GROUP BY 1) USING (variable)) m
        ON e.{identifier(section.code)} = m.code)"""
    names = [str(row[0]) for row in engine.rows("SELECT unnest([variable, code]) FROM mapping")]
    form = TableForm(series=str(events.path), variable=name, value=section.value)
    warn_of_units(engine, replace(events, scan=scan), form, names)


def _add_static(engine: Engine, events: TableFile, mapping: CodeMapping, section: Any) -> None:
    """Adds the static covariates to `samples`, as columns named static_0, ..."""
    code, time = identifier(section.code), identifier(section.time)
    parts, wanted = [], []
    for kind, what in mapping.static.values():
        wanted += [*what] if kind == "codes" else [what]
        if kind == "birth":
            parts.append(f"min(epoch({time})) FILTER ({code} = {quoted(what)})")
        elif kind == "codes":
            cases = " ".join(f"WHEN {quoted(name)} THEN {n!r}::DOUBLE" for name, n in what.items())
            parts.append(f"max(CASE {code} {cases} END) FILTER ({time} IS NULL)")
        else:
            value = identifier(section.value)
            parts.append(f"max({value}) FILTER ({code} = {quoted(what)} AND {time} IS NULL)")
    columns = "".join(f", {sql} AS static_{k}" for k, sql in enumerate(parts))
    subject = subject_sql(engine, events, section)
    engine.run(
        f"""CREATE TABLE facts AS SELECT {subject} AS subject{columns}
        FROM {events.scan} WHERE {code} IN ({", ".join(quoted(n) for n in wanted) or "NULL"})
        GROUP BY 1""",
        source=events.path,
    )
    total = engine.number("SELECT count(*) FROM samples")
    for k, (name, (kind, what)) in enumerate(mapping.static.items()):
        own = [*what] if kind == "codes" else [what]
        known = engine.number(f"SELECT count(static_{k}) FROM samples JOIN facts USING (subject)")
        if 0 < known < total:
            log.info(
                "  static covariate %s: unknown for %s of %s samples, no event %s %s",
                name,
                f"{total - known:,}",
                f"{total:,}",
                few(own),
                _STATIC_FORM[kind],
            )
        if not known:
            there = f"FROM {events.scan} WHERE {code} IN ({', '.join(map(quoted, own))})"
            raise DataError(
                f"{events.path}: no labelled subject has a value of static covariate {name}: "
                f"{engine.number(f'SELECT count(*) {there}'):,} events are {' or '.join(own)}, "
                f"{engine.number(f'SELECT count({time}) {there}'):,} of them with a time; expected "
                f"events {_STATIC_FORM[kind]}. Correct the mapping, or leave {name} out"
            )


def _read(
    engine: Engine, events: TableFile, labels: TableFile, mapping: CodeMapping, settings: Settings
) -> SourceData:
    # Not under their own names: a covariate may be called label.
    names = [f"static_{k}" for k in range(len(mapping.static))]
    facts = "".join(
        f", {f'(ends - {name}) / {_YEAR}' if kind == 'birth' else name} AS {name}"
        for name, (kind, _) in zip(names, mapping.static.values(), strict=True)
    )
    label_view = replace(
        labels,
        columns=("id", "label", "subject", *names),
        scan=f"(SELECT id, label, subject{facts} FROM samples LEFT JOIN facts USING (subject))",
    )
    event_view = replace(events, columns=("id", "time", "variable", "value"), scan="windowed")
    form = TableForm(
        series=str(events.path),
        subject="subject",
        source="meds",
        static=names,
        channels=[*mapping.channels],
    )
    source = read_series(engine, event_view, label_view, form, settings)
    return source._replace(pool=replace(source.pool, static_names=tuple(mapping.static)))


def _metadata_notes(folder: Path) -> list[str]:
    path = folder / "metadata" / "dataset.json"
    if not path.is_file():
        return [f"no {path.name}: the version of MEDS is unknown"]
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        keys = ("dataset_name", "dataset_version", "meds_version", "license")
        return [f"{key}: {facts[key]}" for key in keys if facts.get(key)]
    except (ValueError, AttributeError) as error:
        raise DataError(f"{path}: not the metadata of a MEDS data set ({error})") from error
