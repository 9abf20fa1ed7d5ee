"""read_mimic: the tables of MIMIC-III and MIMIC-IV as PhysioNet ships them -> a cohort on a grid.

The releases differ in folders, column names, how age is given and whether rows carry an error
mark; a `Release` says so. The item ids of MIMIC-IV are the MetaVision ones of MIMIC-III. No data of
MIMIC-IV were at hand: tested on made-up tables with the documented columns.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from configs.runtime.errors import DataError
from data_preprocess.cohort import FlowStep, apply_rules
from data_preprocess.sources.hospital import inclusion_criteria as stays
from data_preprocess.sources.hospital.resample import BAD_MARK, FAR_AWAY, MARKED, make_items
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
    NO,
    YES,
    code_sql,
    id_sql,
    number_sql,
    stamp_sql,
    text_sql,
    unknown_code_sql,
)
from data_preprocess.storage.duckdb_engine import Engine, open_engine
from data_preprocess.storage.table_file import TableFile, require_all_rows, require_known

VALUES = {"chartevents": "valuenum", "outputevents": "value"}  # the number in a chart table
PAPER_SYSTEMS = ("metavision",)  # whose item ids the paper preset takes
OPTIONAL = {"deathtime"}  # cut-down tables may lack it; then no death is known to be early
# No stay has rows a month before its admission or after its end; such a date is a slip.
_FAR_SECONDS = 30 * 86400


@dataclass(frozen=True)
class Release:
    """How one MIMIC release names things.

    Attributes:
        source: its value of `data.source`.
        stay_id: the column that names an ICU stay.
        systems: charting systems whose item ids it uses.
        age: SQL for the age in years at admission to the unit, over `i` (stay) and `p` (patient).
        patient_columns: what `age` needs from PATIENTS, with the SQL that reads a cell.
        mark_columns: per chart table, the error mark, where there is one.
        published: the counts of that preset; None if none exist.
    """

    source: str
    stay_id: str
    systems: tuple[str, ...]
    age: str
    patient_columns: Mapping[str, Callable[[str], str]]
    mark_columns: Mapping[str, str]
    published: stays.Published | None = None


PAPER_CHANNELS = (
    "heart_rate",
    "systolic_pressure",
    "diastolic_pressure",
    "mean_pressure",
    "respiratory_rate",
    "temperature",
    "spo2",
)
MIMIC3 = Release(
    source="mimic3",
    stay_id="icustay_id",
    systems=("carevue", "metavision"),
    # Dates of birth of patients above 89 are shifted back to hide their age; the release's
    # documentation gives no more than "above 89", which 90 stands for.
    # Without a date of birth least() would be 90.
    age="CASE WHEN p.dob < i.intime "
    "THEN least(90, epoch(i.intime - p.dob) / (365.2425 * 86400)) END",
    patient_columns={"dob": stamp_sql},
    mark_columns={"chartevents": "error", "outputevents": "iserror"},
    # TarDiff's numbers equal the cell outputs of TimeDiff's MIMIC-III notebook: MetaVision item
    # ids, every stay with a vital, no rule on age or length of stay.
    published=stays.Published(
        "MIMIC-III v1.4", "mimic3", 61_532, PAPER_CHANNELS, stays=26_150, train=20_920
    ),
)
MIMIC4 = Release(
    source="mimic4",
    stay_id="stay_id",
    systems=("metavision",),
    # anchor_age is the age in anchor_year; 91 stands for everyone older.
    age="p.anchor_age + year(i.intime) - p.anchor_year",
    patient_columns={"anchor_age": number_sql, "anchor_year": number_sql},
    mark_columns={},  # the release has no error column
)


def read_mimic(release: Release, section: Any, settings: Settings) -> SourceData:
    """The ICU stays of MIMIC, to be split by patient.

    The folder holds CHARTEVENTS, ICUSTAYS, PATIENTS, ADMISSIONS (and OUTPUTEVENTS for urine) as
    .csv.gz or .csv; those of MIMIC-IV in `hosp/` and `icu/` (and `core/`, up to version 1.0) below
    it, or all in it. Preset "clinical": adults, first stay, alive in the unit for at least the
    window; time from INTIME; mean per step. "paper": every stay with a MetaVision vital; time from
    the first charted vital; nearest value. Task "mortality" is hospital_expire_flag of the stay's
    own admission, "icustay" longer than `los_days` in the unit.

    Raises:
        MissingInputError: the folder or a table is not there.
        DataError: a table is damaged or wrong, a channel unknown, or no stay is left; names the
            file.
        UserError: the paper preset on a full release gives other counts than published.
    """
    folder, is_paper = require_folder(section.folder, release.source), section.preset == "paper"
    variables = choose_variables(section.channels, PAPER_SYSTEMS if is_paper else release.systems)
    charts = {}
    for name in sorted({source.table for v in variables for source in v.sources}):
        columns = [release.stay_id, "itemid", "charttime", VALUES[name]]
        columns += [mark for table, mark in release.mark_columns.items() if table == name]
        charts[name] = find_table(folder, name, columns)  # a missing table is known at once
    window = settings.num_steps * settings.step_minutes * 60
    with open_engine(memory_limit=settings.memory_limit, threads=settings.threads) as engine:
        small, flow, unread = _load_stays(engine, release, folder)
        total = flow[0].left
        if not is_paper:
            apply_rules(engine, "stays", stays.clinical_rules(settings), flow)
        notes = unread + stays.oddities(engine, settings.window_hours)
        make_items(engine, variables)
        for name, table in charts.items():
            notes += _read_chart(
                engine, release, table, name, variables, None if is_paper else window
            )
        charted = None
        if is_paper:
            notes += _start_at_first_vital(engine, window)
            timed = f"second >= 0 AND fault IS DISTINCT FROM '{FAR_AWAY}'"
            charted = engine.columns(
                "SELECT stay IN (SELECT stay FROM chart WHERE stay IS NOT NULL AND "
                f"{timed}) AS charted FROM cohort ORDER BY stay"
            )["charted"]
            if release.published:
                left = int(charted.sum())
                notes += stays.published_note(release.published, section, left=left, total=total)
        cohort = stays.cohort_of(
            engine, variables, settings, flow, notes, nearest=is_paper, charted=charted
        )
    return SourceData(
        cohort, files=(DICTIONARY, *(table.path for table in (*small, *charts.values())))
    )


read_mimic3 = reader("mimic3")(partial(read_mimic, MIMIC3))
read_mimic4 = reader("mimic4")(partial(read_mimic, MIMIC4))


def _load_stays(
    engine: Engine, release: Release, folder: Path
) -> tuple[list[TableFile], list[FlowStep], list[str]]:
    """Fills `stays`; returns its files, the begin of the flow and counts for the card."""
    stay_id = release.stay_id
    read: dict[str, dict[str, Callable[[str], str]]] = {
        "icustays": {
            **dict.fromkeys((stay_id, "subject_id", "hadm_id"), id_sql),
            **dict.fromkeys(("intime", "outtime"), stamp_sql),
        },
        "patients": {"subject_id": id_sql, "gender": text_sql, **release.patient_columns},
        "admissions": {"hadm_id": id_sql, "hospital_expire_flag": text_sql, "deathtime": stamp_sql},
    }
    tables = {
        name: find_table(folder, name, list(set(columns) - OPTIONAL))
        for name, columns in read.items()
    }
    unread = [
        note
        for name, table in tables.items()
        for note in load_table(engine, name, table, read[name])
    ]
    require_unique(engine, "icustays", stay_id, tables["icustays"].path)
    require_readable(
        engine,
        tables["icustays"],
        ["intime"],
        made="icustays",
        bad="intime IS NULL",
        unreadable=f"{stamp_sql('intime')} IS NULL",
    )
    for name, key in (("patients", "subject_id"), ("admissions", "hadm_id")):
        require_unique(engine, name, key, tables[name].path)
        _require_match(engine, name, key, tables[name])
    died = {1: YES, 0: NO}
    engine.run(
        f"""CREATE TABLE stays AS SELECT
            i.{stay_id}::BIGINT AS id, i.subject_id::BIGINT AS subject, i.intime,
            epoch(i.outtime - i.intime) / 3600 AS hours,
            {release.age} AS age, {code_sql("p.gender", stays.SEX)} AS male,
            {code_sql("a.hospital_expire_flag", died)} AS died,
            epoch(a.deathtime - i.intime) / 3600 AS dead_at,
            {unknown_code_sql("p.gender", stays.SEX)} AS unknown_sex,
            {unknown_code_sql("a.hospital_expire_flag", died)} AS unknown_outcome,
            row_number() OVER (PARTITION BY subject ORDER BY i.intime, id) AS visit
        FROM icustays i JOIN patients p USING (subject_id) JOIN admissions a USING (hadm_id)""",
        source=tables["icustays"].path,
    )
    total = engine.number("SELECT count(*) FROM stays")
    flow = [FlowStep(f"ICU stays of {tables['icustays'].path.name}", 0, total)]
    return list(tables.values()), flow, unread


def _require_match(engine: Engine, name: str, key: str, table: TableFile) -> None:
    orphans = engine.rows(f"SELECT {key} FROM icustays ANTI JOIN {name} USING ({key}) ORDER BY 1")
    if orphans:
        raise DataError(
            f"{table.path}: {len(orphans)} ICU stays name a {key} that is not in it (first "
            f"{orphans[0][0]}); are all tables from one release?"
        )


def _read_chart(
    engine: Engine,
    release: Release,
    table: TableFile,
    name: str,
    variables: Sequence[Variable],
    window_seconds: float | None,
) -> list[str]:
    """One projected pass over a chart table; only the cohort's rows of the wanted items stay, and
    where a window is given those in it. Returns how many lay outside, for the card."""
    keys = sorted(str(s.key) for v in variables for s in v.sources if s.table == name)
    # Exports through tables of decimals write 220045 as 220045.0.
    wanted = ", ".join(f"'{key}', '{key}.0'" for key in keys)
    mark, value = release.mark_columns.get(name), number_sql(VALUES[name])
    fault = _mark_sql(mark) if mark else "NULL"
    outside = "false" if window_seconds is None else f"second < 0 OR second >= {window_seconds}"
    require_all_rows(engine, table)
    engine.run(
        f"""INSERT INTO chart SELECT stay, item, second, raw, CASE
                WHEN second < -{_FAR_SECONDS} OR second > hours * 3600 + {_FAR_SECONDS}
                THEN '{FAR_AWAY}' ELSE fault END
        FROM (
            SELECT stay, item, e.id, epoch(charted - intime)::BIGINT AS second, raw, fault, hours
            FROM (SELECT TRY_CAST({release.stay_id} AS BIGINT) AS id,
                         itemid::DOUBLE::BIGINT AS item, {stamp_sql("charttime")} AS charted,
                         {value} AS raw, {fault} AS fault
                  FROM {table.scan} WHERE itemid IN ({wanted})) e
            LEFT JOIN cohort ON e.id = cohort.id)
        WHERE id IS NULL OR stay IS NOT NULL""",
        source=table.path,
    )
    key = release.stay_id
    require_known(engine, table, key, cell=f"TRY_CAST({key} AS BIGINT)", known="cohort")
    notes = drop_outside(engine, "chart", outside, table.path.name)
    unreadable = f"isnan({value}) OR {stamp_sql('charttime')} IS NULL"
    require_readable(
        engine,
        table,
        ["charttime", VALUES[name]],
        made="chart",
        # The second of a row without a stay is not known, whatever its time.
        bad="isnan(raw) OR (second IS NULL AND stay IS NOT NULL)",
        unreadable=f"itemid IN ({wanted}) AND ({unreadable})",
    )
    return notes


def _mark_sql(column: str) -> str:
    codes = {1: (*YES, "error"), 0: NO}
    return (
        f"CASE WHEN {code_sql(column, codes)} = 1 THEN '{MARKED}' "
        f"WHEN {unknown_code_sql(column, codes)} IS NOT NULL THEN '{BAD_MARK}' END"
    )


def _start_at_first_vital(engine: Engine, window_seconds: float) -> list[str]:
    """Makes the first charted row of each stay second 0 (TimeDiff's notebook, hence the paper);
    returns how many rows lie after the window, for the card.

    A row dated far outside its stay is a slip: it opens no window.
    """
    slip = f"coalesce(fault = '{FAR_AWAY}', false)"
    engine.run(f"""
        CREATE TABLE shifted AS
        SELECT stay, item, second - first AS second, raw, fault
        FROM chart LEFT JOIN
            (SELECT stay, min(second) FILTER (NOT {slip}) AS first FROM chart GROUP BY stay)
            USING (stay)""")
    engine.run("DROP TABLE chart")
    engine.run("ALTER TABLE shifted RENAME TO chart")
    after = f"stay IS NOT NULL AND NOT {slip} AND second >= {window_seconds}"
    return drop_outside(engine, "chart", after, "charts")
