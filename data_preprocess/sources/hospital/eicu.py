"""read_eicu: the tables of the eICU Collaborative Research Database -> a cohort on a regular grid.

eICU charts one column per vital and one row per stay and time, in minutes from unit admission, so
no item ids and no time stamps are involved. vitalPeriodic holds the 5-minute medians of the bedside
monitor; vitalAperiodic the cuff pressures.
"""

from collections.abc import Callable, Sequence
from typing import Any

from configs.runtime.errors import DataError
from data_preprocess.cohort import FlowStep, apply_rules
from data_preprocess.sources.hospital import inclusion_criteria as stays
from data_preprocess.sources.hospital.resample import item_codes, make_items
from data_preprocess.sources.hospital.tables import (
    drop_outside,
    find_table,
    load_table,
    require_readable,
    require_unique,
)
from data_preprocess.sources.hospital.variables import DICTIONARY, Variable, choose_variables
from data_preprocess.sources.registry import Settings, SourceData, reader, require_folder
from data_preprocess.storage.cell_text import (
    code_sql,
    id_sql,
    number_sql,
    text_sql,
    unknown_code_sql,
)
from data_preprocess.storage.duckdb_engine import Engine, open_engine
from data_preprocess.storage.table_file import TableFile, require_all_rows, require_known


def _age_sql(column: str) -> str:
    """The age; 90 stands for everyone older than 89."""
    text = f"replace({text_sql(column)}, ' ', '')"
    return (
        f"(CASE WHEN regexp_full_match({text}, '(>|>=)?(89|90)[+]?') AND {text} <> '89' THEN 90 "
        f"ELSE {number_sql(column)} END)"
    )


PATIENT: dict[str, Callable[[str], str]] = {
    "patientunitstayid": id_sql,
    "patienthealthsystemstayid": number_sql,
    "uniquepid": id_sql,
    "gender": text_sql,
    "age": _age_sql,
    "hospitaldischargeyear": number_sql,
    "hospitaldischargestatus": text_sql,
    "unitvisitnumber": number_sql,
    "unitdischargeoffset": number_sql,
    "unitdischargestatus": text_sql,
    "hospitaldischargeoffset": number_sql,
}
# Cut-down tables may lack these; then no death is known to be early or contradicted.
OPTIONAL = {"unitdischargestatus", "hospitaldischargeoffset"}
OUTCOMES = {1: ("expired",), 0: ("alive",)}
NO_SEX = {2: ("unknown", "other")}  # codes of the release for a sex that is neither or not known
PAPER = stays.Published(
    "eICU v2.0", "eicu", 200_859, ("heart_rate", "respiratory_rate", "spo2"), stays=31_065
)
_DAY_MINUTES = 1440


@reader("eicu")
def read_eicu(section: Any, settings: Settings) -> SourceData:
    """The unit stays of eICU, to be split by patient.

    The folder holds patient, vitalPeriodic and, for cuff pressures, vitalAperiodic, as .csv.gz or
    .csv. Preset "clinical": adults, first stay, alive in the unit for at least the window. "paper":
    known outcome, monitored from the first hour to the end of the first day. Task "mortality" is
    hospitaldischargestatus Expired, "icustay" longer than `los_days` in the unit.

    Errors are those of `read_mimic`.
    """
    folder, is_paper = require_folder(section.folder, "eicu"), section.preset == "paper"
    variables = choose_variables(section.channels, ["eicu"])
    charts = {  # a missing table is known at once
        name: find_table(
            folder, name, ["patientunitstayid", "observationoffset", *_columns(name, variables)]
        )
        for name in sorted({source.table for v in variables for source in v.sources})
    }
    if is_paper and "vitalperiodic" not in charts:
        raise DataError("the paper preset of eICU needs a channel of vitalPeriodic")
    window_minutes = settings.num_steps * settings.step_minutes
    with open_engine(memory_limit=settings.memory_limit, threads=settings.threads) as engine:
        patient = find_table(folder, "patient", list(PATIENT.keys() - OPTIONAL))
        notes = load_table(engine, "people", patient, PATIENT)
        flow = _load_stays(engine, patient)
        total = flow[0].left
        rules = stays.known_outcome if is_paper else stays.clinical_rules
        apply_rules(engine, "stays", rules(settings), flow)
        for name, table in charts.items():
            _stage(engine, name, table, variables, window_minutes)
        if is_paper:
            engine.run(f"""CREATE TABLE monitored AS SELECT id FROM staged_vitalperiodic GROUP BY id
                HAVING min(minute) <= 60 AND max(minute) >= {_DAY_MINUTES}""")
            rule = {"not monitored from the first hour to 24 h": "id IN (FROM monitored)"}
            apply_rules(engine, "stays", rule, flow)
            left = flow[-1].left
            notes += stays.published_note(PAPER, section, left=left, total=total)
        outside = f"id IN (SELECT id FROM stays) AND NOT ({_inside(window_minutes)})"
        for name, table in charts.items():
            notes += drop_outside(engine, f"staged_{name}", outside, table.path.name)
        notes += stays.oddities(engine, settings.window_hours)
        make_items(engine, variables)
        for name, table in charts.items():
            _unpivot(engine, name, table, variables)
        cohort = stays.cohort_of(engine, variables, settings, flow, notes, nearest=is_paper)
    return SourceData(
        cohort, files=(DICTIONARY, patient.path, *(table.path for table in charts.values()))
    )


def _inside(window_minutes: float) -> str:
    return f"minute IS NULL OR (minute >= 0 AND minute < {window_minutes})"


def _columns(table: str, variables: Sequence[Variable]) -> list[str]:
    every = [source for variable in variables for source in variable.sources]
    return [str(source.key) for source in every if source.table == table]


def _load_stays(engine: Engine, patient: TableFile) -> list[FlowStep]:
    """Makes `stays` of `people`; returns the begin of the flow."""
    # Whoever died in the unit did not leave the hospital alive.
    dead_at = (
        f"CASE WHEN {code_sql('unitdischargestatus', OUTCOMES)} = 1 THEN unitdischargeoffset "
        f"WHEN {code_sql('hospitaldischargestatus', OUTCOMES)} = 1 THEN hospitaldischargeoffset END"
    )
    # The order of hospital stays within a year is not released; the lowest id stands in for it. The
    # first stay in the table may have had one before it in the same hospital stay.
    # A stay whose patient is unknown is a patient of its own.
    engine.run(
        f"""CREATE TABLE stays AS SELECT
            patientunitstayid::BIGINT AS id,
            coalesce(uniquepid, 'stay ' || patientunitstayid) AS patient,
            dense_rank() OVER (ORDER BY patient) AS subject,
            unitdischargeoffset / 60 AS hours,
            age,
            {code_sql("gender", stays.SEX)} AS male,
            {code_sql("hospitaldischargestatus", OUTCOMES)} AS died,
            ({dead_at}) / 60 AS dead_at,
            {unknown_code_sql("gender", stays.SEX | NO_SEX)} AS unknown_sex,
            {unknown_code_sql("hospitaldischargestatus", OUTCOMES)} AS unknown_outcome,
            greatest(unitvisitnumber, row_number() OVER (PARTITION BY patient ORDER BY
                hospitaldischargeyear, patienthealthsystemstayid, unitvisitnumber, id)) AS visit
        FROM people""",
        source=patient.path,
    )
    require_unique(engine, "stays", "id", patient.path)
    total = engine.number("SELECT count(*) FROM stays")
    return [FlowStep(f"unit stays of {patient.path.name}", 0, total)]


def _stage(
    engine: Engine,
    name: str,
    table: TableFile,
    variables: Sequence[Variable],
    window_minutes: float,
) -> None:
    """One projected pass over a wide chart table into `staged_<name>`.

    Outside the window only the times are kept: the paper's rule asks how long a stay was monitored.
    """
    columns = _columns(name, variables)
    kept = ", ".join(
        f"CASE WHEN {_inside(window_minutes)} THEN {number_sql(column)} END AS {column}"
        for column in columns
    )
    require_all_rows(engine, table)
    engine.run(
        f"""CREATE TABLE staged_{name} AS SELECT id, minute, {kept}
        FROM (SELECT TRY_CAST(patientunitstayid AS BIGINT) AS id,
                     TRY_CAST(TRY_CAST(observationoffset AS DOUBLE) AS INTEGER) AS minute,
                     {", ".join(columns)}
              FROM {table.scan})
        WHERE id IS NULL OR id IN (SELECT id FROM stays)""",
        source=table.path,
    )


def _unpivot(engine: Engine, name: str, table: TableFile, variables: Sequence[Variable]) -> None:
    """Moves the staged cells of the cohort into `chart`; an empty cell is no charted value."""
    codes = item_codes(variables)
    columns = _columns(name, variables)
    items = ", ".join(str(codes[name, column]) for column in columns)
    engine.run(
        f"""INSERT INTO chart SELECT stay, item, second, raw, NULL FROM (
            SELECT stay, s.id, unnest([{items}]) AS item, minute * 60 AS second,
                   unnest([{", ".join(columns)}]) AS raw
            FROM staged_{name} s LEFT JOIN cohort USING (id))
        WHERE raw IS NOT NULL AND (id IS NULL OR stay IS NOT NULL)""",
    )
    key = "patientunitstayid"
    require_known(engine, table, key, cell=f"TRY_CAST({key} AS BIGINT)", known="cohort")
    require_readable(
        engine,
        table,
        ["observationoffset", *columns],
        made="chart",
        bad="isnan(raw) OR second IS NULL",
        unreadable=" OR ".join(f"isnan({number_sql(column)})" for column in columns),
    )
    engine.run(f"DROP TABLE staged_{name}")
