"""What MIMIC-III and MIMIC-IV share: stays and labels, one pass over the chart, the two presets.

The releases differ in folders, column names, how age is given and whether rows carry an error
mark; a `Release` says so, and mimic3.py and mimic4.py each hold one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from configs.runtime.errors import DataError
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.hospital import inclusion_criteria as stays
from data_preprocess.sources.hospital.duckdb_engine import Engine, open_engine
from data_preprocess.sources.hospital.extraction_request import Request
from data_preprocess.sources.hospital.resample import grid_chart, make_items
from data_preprocess.sources.hospital.tables import RawTable, find_table
from data_preprocess.sources.hospital.variables import Variable, choose_variables

PAPER_CHANNELS = (
    "heart_rate",
    "systolic_pressure",
    "diastolic_pressure",
    "mean_pressure",
    "respiratory_rate",
    "temperature",
    "spo2",
)


@dataclass(frozen=True)
class Release:
    """How one MIMIC release names things.

    Attributes:
        name: as printed.
        subfolders: where its tables may lie below the release's folder.
        stay_id: the column that names an ICU stay.
        systems: charting systems whose item ids it uses.
        age: SQL for the age in years at admission to the unit, over `i` (stay) and `p` (patient).
        patient_columns: what `age` needs from PATIENTS.
        value_columns, mark_columns: per chart table, the number and the error mark ("" if none).
        full_stays: ICU stays of the complete release, by which it is recognised;
            None where nothing is compared with it.
        paper_stays, paper_train: published counts of the paper preset; None if none exist.
        paper_systems: charting systems of the paper preset.
    """

    name: str
    subfolders: tuple[str, ...]
    stay_id: str
    systems: tuple[str, ...]
    age: str
    patient_columns: tuple[str, ...]
    value_columns: dict[str, str]
    mark_columns: dict[str, str]
    full_stays: int | None
    paper_stays: int | None
    paper_train: int | None
    paper_systems: tuple[str, ...]


def read_mimic(release: Release, request: Request) -> tuple[Cohort, None]:
    """The cohort of a MIMIC release; see the readers in mimic3.py and mimic4.py.

    Raises:
        MissingInputError, DataError, UserError: as `find_table`, `Engine.run` and
            `published_note` say.
    """
    systems = release.paper_systems if request.is_paper else release.systems
    variables = choose_variables(request.channels, systems)
    charts = _find_charts(release, request, variables)  # a missing table is known at once
    grid = request.grid()
    with open_engine(memory_limit=request.memory_limit, threads=request.threads) as engine:
        flow, is_full = _load_stays(engine, release, request)
        num_stays = stays.number_stays(engine)
        make_items(engine, variables)
        for name, table in charts.items():
            window = None if request.is_paper else grid.window_seconds
            _read_chart(engine, release, table, name, variables, window)
        if request.is_paper:
            _start_at_first_vital(engine, grid.window_seconds)
        charted = _charted_stays(engine, num_stays)
        values, counts = grid_chart(engine, variables, grid, num_stays)
        found = stays.extraction(engine, request.task, values, counts)
    if request.is_paper:
        return _paper_cohort(release, request, variables, found, charted, flow, is_full), None
    measured = stays.is_measured(values)
    stays.add_step(flow, "no value of any channel in the window", int(measured.sum()))
    return found.cohort(measured, variables=variables, task=request.task, flow=flow, notes=()), None


def _paper_cohort(
    release: Release,
    request: Request,
    variables: Sequence[Variable],
    found: stays.Extraction,
    charted: np.ndarray,
    flow: list[FlowStep],
    is_full: bool,
) -> Cohort:
    """Every stay with a charted vital, plausible or not, compared with the published counts."""
    stays.add_step(flow, "no MetaVision vital charted", int(charted.sum()))
    notes = []
    if release.paper_stays is not None and set(request.channels) == set(PAPER_CHANNELS):
        notes.append(
            stays.published_note(
                left=int(charted.sum()),
                stays=release.paper_stays,
                train=release.paper_train,
                is_full=is_full,
                allow=request.allow_other_counts,
                release=release.name,
            )
        )
    kept = charted & (found.labels >= 0)
    stays.add_step(flow, "outcome unknown", int(kept.sum()))
    return found.cohort(kept, variables=variables, task=request.task, flow=flow, notes=notes)


def _find_charts(
    release: Release, request: Request, variables: Sequence[Variable]
) -> dict[str, RawTable]:
    names = sorted({source.table for variable in variables for source in variable.sources})
    return {
        name: find_table(
            request.folder, name, _chart_columns(release, name), subfolders=release.subfolders
        )
        for name in names
    }


def _chart_columns(release: Release, table: str) -> list[str]:
    mark = release.mark_columns[table]
    columns = [release.stay_id, "itemid", "charttime", release.value_columns[table]]
    return [*columns, mark] if mark else columns


def _load_stays(engine: Engine, release: Release, request: Request) -> tuple[list[FlowStep], bool]:
    """Fills `stays`; returns the flow so far and whether this is the full release."""

    def table(name: str, columns: Sequence[str]) -> RawTable:
        found = find_table(request.folder, name, columns, subfolders=release.subfolders)
        picked = ", ".join(columns)
        engine.run(f"CREATE TABLE {name} AS SELECT {picked} FROM {found.scan}", source=found.path)
        return found

    stay_id = release.stay_id
    icustays = table("icustays", [stay_id, "subject_id", "hadm_id", "intime", "outtime"])
    patients = table("patients", ["subject_id", "gender", *release.patient_columns])
    admissions = table("admissions", ["hadm_id", "hospital_expire_flag"])
    stays.require_unique(engine, "icustays", stay_id, str(icustays.path))
    stays.require_unique(engine, "patients", "subject_id", str(patients.path))
    stays.require_unique(engine, "admissions", "hadm_id", str(admissions.path))
    for name, key, other in (
        ("patients", "subject_id", patients),
        ("admissions", "hadm_id", admissions),
    ):
        _require_match(engine, name, key, other)
    engine.run(
        f"""CREATE TABLE stays AS SELECT
            i.{stay_id}::BIGINT AS id, i.subject_id::BIGINT AS subject,
            i.intime::TIMESTAMP AS intime,
            epoch(i.outtime::TIMESTAMP - i.intime::TIMESTAMP) / 3600 AS hours,
            {release.age} AS age, (p.gender = 'M')::INTEGER AS male,
            a.hospital_expire_flag::INTEGER AS died,
            row_number() OVER (PARTITION BY subject ORDER BY intime, id) AS visit
        FROM icustays i JOIN patients p USING (subject_id) JOIN admissions a USING (hadm_id)""",
        source=icustays.path,
    )
    total = engine.number("SELECT count(*) FROM stays")
    flow: list[FlowStep] = [FlowStep(f"ICU stays of {icustays.path.name}", 0, total)]
    if not request.is_paper:
        stays.apply_rules(engine, stays.clinical_rules(request.task, request.window_hours), flow)
    return flow, total == release.full_stays


def _require_match(engine: Engine, name: str, key: str, table: RawTable) -> None:
    orphans = engine.rows(f"SELECT {key} FROM icustays ANTI JOIN {name} USING ({key}) ORDER BY 1")
    if orphans:
        raise DataError(
            f"{table.path}: {len(orphans)} ICU stays name a {key} that is not in it (first "
            f"{orphans[0][0]}); are all tables from one release?"
        )


def _read_chart(
    engine: Engine,
    release: Release,
    table: RawTable,
    name: str,
    variables: Sequence[Variable],
    window_seconds: float | None,
) -> None:
    """One projected pass over a chart table; only the cohort's rows of the wanted items stay."""
    keys = sorted(str(s.key) for v in variables for s in v.sources if s.table == name)
    wanted = ", ".join(f"'{key}'" for key in keys)
    mark = release.mark_columns[name]
    marked = f"coalesce({mark} = '1', false)" if mark else "false"
    value = release.value_columns[name]
    inside = "true" if window_seconds is None else f"second >= 0 AND second < {window_seconds}"
    engine.run(
        f"""INSERT INTO chart SELECT stay, item, second, raw, marked FROM (
            SELECT stay, item, e.id, epoch(charted - intime)::INTEGER AS second, raw, marked
            FROM (SELECT nullif({release.stay_id}, '')::BIGINT AS id, itemid::BIGINT AS item,
                         charttime::TIMESTAMP AS charted,
                         nullif({value}, '')::DOUBLE AS raw, {marked} AS marked
                  FROM {table.scan} WHERE itemid IN ({wanted})) e
            LEFT JOIN cohort ON e.id = cohort.id)
        WHERE id IS NULL OR (stay IS NOT NULL AND (second IS NULL OR ({inside})))""",
        desc=f"read {table.path.name}",
        source=table.path,
    )


def _start_at_first_vital(engine: Engine, window_seconds: float) -> None:
    """Makes the first charted row of each stay second 0 (TimeDiff's notebook, hence the paper)."""
    engine.run(f"""
        CREATE TABLE shifted AS
        SELECT stay, item, second - first AS second, raw, marked
        FROM chart LEFT JOIN (SELECT stay, min(second) AS first FROM chart GROUP BY stay)
            USING (stay)
        WHERE stay IS NULL OR second IS NULL OR second - first < {window_seconds}""")
    engine.run("DROP TABLE chart")
    engine.run("ALTER TABLE shifted RENAME TO chart")


def _charted_stays(engine: Engine, num_stays: int) -> np.ndarray:
    """Per stay, whether it has any timed row."""
    charted = np.zeros(num_stays, bool)
    rows = engine.columns("SELECT DISTINCT stay FROM chart WHERE stay IS NOT NULL AND second >= 0")
    charted[rows["stay"].astype(np.int64)] = True
    return charted
