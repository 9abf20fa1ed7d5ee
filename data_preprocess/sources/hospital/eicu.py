"""read_eicu: the tables of the eICU Collaborative Research Database -> a cohort on a regular grid.

eICU charts one column per vital and one row per stay and time, in minutes from unit admission, so
no item ids and no time stamps are involved. vitalPeriodic holds the 5-minute medians of the bedside
monitor; vitalAperiodic the cuff pressures.
"""

from collections.abc import Sequence
from pathlib import Path

from configs.runtime.errors import DataError
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.hospital import inclusion_criteria as stays
from data_preprocess.sources.hospital.duckdb_engine import Engine, open_engine
from data_preprocess.sources.hospital.extraction_request import Request, Task, require_folder
from data_preprocess.sources.hospital.resample import grid_chart, item_codes, make_items
from data_preprocess.sources.hospital.tables import RawTable, find_table
from data_preprocess.sources.hospital.variables import Variable, choose_variables

PATIENT_COLUMNS = (
    "patientunitstayid",
    "patienthealthsystemstayid",
    "uniquepid",
    "gender",
    "age",
    "hospitaldischargeyear",
    "hospitaldischargestatus",
    "unitvisitnumber",
    "unitdischargeoffset",
)
FULL_STAYS = 200_859  # unit stays of release 2.0
PAPER_STAYS = 31_065
PAPER_CHANNELS = ("heart_rate", "respiratory_rate", "spo2")
_DAY_MINUTES = 1440


def read_eicu(
    *,
    folder: str | None,
    preset: str,
    channels: list[str],
    allow_other_counts: bool,
    memory_limit: str,
    threads: int,
    task: str,
    los_days: float,
    window_hours: float,
    step_minutes: float,
) -> tuple[Cohort, None]:
    """The unit stays of eICU, to be split by patient.

    Args:
        folder: holds patient, vitalPeriodic and, for cuff pressures, vitalAperiodic, as .csv.gz
            or .csv.
        preset: "clinical" (adults, first stay, at least the window in the unit) or "paper" (known
            outcome, monitored from the first hour to the end of the first day).
        task: "mortality" (hospitaldischargestatus Expired) or "icustay" (longer than `los_days` in
            the unit).

    The other arguments and the errors are those of `read_mimic3`.
    """
    request = Request(
        folder=require_folder(folder, "eicu"),
        preset=preset,
        channels=channels,
        task=Task(task, los_days),
        window_hours=window_hours,
        step_minutes=step_minutes,
        allow_other_counts=allow_other_counts,
        memory_limit=memory_limit,
        threads=threads,
    )
    variables = choose_variables(channels, ["eicu"])
    charts = _find_charts(request.folder, variables)  # a missing table is known at once
    if request.is_paper and "vitalperiodic" not in charts:
        raise DataError("the paper preset of eICU needs a channel of vitalPeriodic")
    grid = request.grid()
    with open_engine(memory_limit=memory_limit, threads=threads) as engine:
        flow, is_full = _load_stays(engine, request)
        for name, table in charts.items():
            _stage(engine, name, table, variables, grid.window_seconds / 60, request.is_paper)
        notes = _require_monitored(engine, request, flow, is_full) if request.is_paper else []
        num_stays = stays.number_stays(engine)
        make_items(engine, variables)
        for name in charts:
            _unpivot(engine, name, variables)
        values, counts = grid_chart(engine, variables, grid, num_stays)
        found = stays.extraction(engine, request.task, values, counts)
    measured = stays.is_measured(values)
    stays.add_step(flow, "no value of any channel in the window", int(measured.sum()))
    return found.cohort(
        measured, variables=variables, task=request.task, flow=flow, notes=notes
    ), None


def _find_charts(folder: Path, variables: Sequence[Variable]) -> dict[str, RawTable]:
    names = sorted({source.table for variable in variables for source in variable.sources})
    return {
        name: find_table(
            folder, name, ["patientunitstayid", "observationoffset", *_columns(name, variables)]
        )
        for name in names
    }


def _columns(table: str, variables: Sequence[Variable]) -> list[str]:
    every = [source for variable in variables for source in variable.sources]
    return [str(source.key) for source in every if source.table == table]


def _load_stays(engine: Engine, request: Request) -> tuple[list[FlowStep], bool]:
    """Fills `stays`; returns the flow so far and whether this is the full release."""
    patient = find_table(request.folder, "patient", PATIENT_COLUMNS)
    cells = ", ".join(f"nullif({column}, '') AS {column}" for column in PATIENT_COLUMNS)
    # The order of hospital stays within a year is not released; the lowest id stands in for it.
    engine.run(
        f"""CREATE TABLE stays AS SELECT
            patientunitstayid::BIGINT AS id,
            dense_rank() OVER (ORDER BY uniquepid) AS subject,
            unitdischargeoffset::DOUBLE / 60 AS hours,
            CASE WHEN age = '> 89' THEN 90 ELSE age::DOUBLE END AS age,
            CASE gender WHEN 'Male' THEN 1 WHEN 'Female' THEN 0 END AS male,
            CASE hospitaldischargestatus WHEN 'Expired' THEN 1 WHEN 'Alive' THEN 0 END AS died,
            row_number() OVER (PARTITION BY uniquepid ORDER BY hospitaldischargeyear::INTEGER,
                patienthealthsystemstayid::BIGINT, unitvisitnumber::INTEGER, id) AS visit
        FROM (SELECT {cells} FROM {patient.scan})""",
        source=patient.path,
    )
    stays.require_unique(engine, "stays", "id", str(patient.path))
    total = engine.number("SELECT count(*) FROM stays")
    flow = [FlowStep(f"unit stays of {patient.path.name}", 0, total)]
    stays.apply_rules(engine, _rules(request), flow)
    return flow, total == FULL_STAYS


def _rules(request: Request) -> list[stays.Rule]:
    if request.is_paper:
        return [stays.Rule("outcome unknown", f"({request.task.label_sql}) IS NOT NULL")]
    return stays.clinical_rules(request.task, request.window_hours)


def _stage(
    engine: Engine,
    name: str,
    table: RawTable,
    variables: Sequence[Variable],
    window_minutes: float,
    keep_times: bool,
) -> None:
    """One projected pass over a wide chart table into `staged_<name>`.

    Outside the window only the times are kept, and only if `keep_times`: the paper's rule asks
    how long a stay was monitored.
    """
    inside = f"minute >= 0 AND minute < {window_minutes}"
    columns = _columns(name, variables)
    raw = ", ".join(f"nullif({column}, '')::DOUBLE AS {column}" for column in columns)
    kept = ", ".join(f"CASE WHEN {inside} THEN {column} END AS {column}" for column in columns)
    engine.run(
        f"""CREATE TABLE staged_{name} AS SELECT id, minute, {kept}
        FROM (SELECT patientunitstayid::BIGINT AS id, observationoffset::INTEGER AS minute, {raw}
              FROM {table.scan})
        SEMI JOIN stays USING (id) WHERE {"true" if keep_times else inside}""",
        desc=f"read {table.path.name}",
        source=table.path,
    )


def _require_monitored(
    engine: Engine, request: Request, flow: list[FlowStep], is_full: bool
) -> list[str]:
    """TimeDiff's rule: first offset within the first hour, last one at 24 h or later."""
    engine.run(f"""
        CREATE TABLE monitored AS SELECT id FROM staged_vitalperiodic GROUP BY id
        HAVING min(minute) <= 60 AND max(minute) >= {_DAY_MINUTES}""")
    rule = stays.Rule("not monitored from the first hour to 24 h", "id IN (FROM monitored)")
    stays.apply_rules(engine, [rule], flow)
    if set(request.channels) != set(PAPER_CHANNELS):
        return []
    note = stays.published_note(
        left=flow[-1].left,
        stays=PAPER_STAYS,
        train=None,
        is_full=is_full,
        allow=request.allow_other_counts,
        release="eICU v2.0",
    )
    return [note]


def _unpivot(engine: Engine, name: str, variables: Sequence[Variable]) -> None:
    """Moves the staged cells of the cohort into `chart`; an empty cell is no charted value."""
    codes = item_codes(variables)
    columns = _columns(name, variables)
    items = ", ".join(str(codes[name, column]) for column in columns)
    engine.run(
        f"""INSERT INTO chart SELECT stay, item, second, raw, false FROM (
            SELECT stay, unnest([{items}]) AS item, minute * 60 AS second,
                   unnest([{", ".join(columns)}]) AS raw
            FROM staged_{name} JOIN cohort USING (id)) WHERE raw IS NOT NULL""",
        desc=f"arrange {name}",
    )
    engine.run(f"DROP TABLE staged_{name}")
