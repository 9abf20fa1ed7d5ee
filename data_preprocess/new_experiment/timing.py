"""Which unit the times of a table have, and the window and step that fit its series."""

import re

from configs.runtime.errors import DataError
from data_preprocess.new_experiment.proposal import Proposal
from data_preprocess.new_experiment.roles import Tables
from data_preprocess.new_experiment.time_of_day import require_whole_times
from data_preprocess.sources.user_table.form import MINUTES, TableForm
from data_preprocess.sources.user_table.times import NUMBERS, STAMPS, moments, unreadable
from data_preprocess.storage.cell_text import id_sql, text_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile, identifier, require_columns

# Minutes; what most charts are kept in.
STEPS = (1 / 60, 1 / 12, 1 / 6, 0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 180, 240, 360, 720, 1440)
MOST_POINTS = 288  # of the proposed grid
_FAR = 10  # lengths of a series after time zero from which on it is not the time zero of series
_EPOCH = 1e8  # seconds
_ENDS = 0.75  # share of series that end within the proposed window, where they are equally long
_VARY = 0.8  # share of the length of long series from which on short ones count as equally long
_SHORT = 0.25  # the same, below which short ones are too short to choose the window
# Whole words of a column's name: "time_administered" holds no minutes, "time_of_day" no days.
_NAMED = {
    "hours": r"h|hrs?|.*hours?",
    "minutes": r"mins?|.*minutes?",
    "seconds": r"s|secs?|.*seconds?",
    "days": r"(?<!of )days?",
}


def find_timing(
    tables: Tables, form: TableForm, proposal: Proposal, variable: str | None
) -> str | None:
    """Proposes the grid for the series, and returns the unit of their times; None where they bring
    their own. DataError where the column of times holds none, or they begin anew every day.

    Args:
        form: id and time are set, start and end where the user named them; numbers count as
            minutes.
        variable: column of the variables of a long table, each of which has a rhythm of its own.
    """
    engine, table, labels = tables.engine, tables.series.table, tables.labels.table
    unit, found = tables.given.get("time_unit"), moments(engine, table, form.time, form)
    cell = text_sql(identifier(form.time))
    readable, filled, first, last = engine.rows(
        f"SELECT count({found.sql}), count({cell}), first({cell}), max({found.sql}) "
        f"FROM {table.scan}"
    )[0]
    if 2 * readable < filled:
        raise DataError(unreadable(table, form, form.time, first))
    if found.kind != STAMPS:
        require_whole_times(tables, form, found, proposal, variable)
    if found.kind != NUMBERS:
        unit = None
    elif unit is None:
        unit, doubt = named_unit(form.time, float(last or 0.0))
        proposal.decide += [doubt] if doubt else []
    scale = MINUTES[unit] if unit else 1.0
    rows, first = table.scan, found.kind == STAMPS
    minutes = found.sql
    if form.start:
        require_columns(labels, [form.start], "data.table.start names a column of the labels")
        zero = moments(engine, labels, form.start, form).sql
        ids = f"SELECT {id_sql(identifier(form.id))} AS _id, min({zero}) AS _zero"
        rows += (
            f" JOIN ({ids} FROM {labels.scan} GROUP BY 1) ON {id_sql(identifier(form.id))} = _id"
        )
        minutes, first = f"({minutes} - _zero)", False
    gap, begin, early, end = _rhythm(engine, rows, minutes, form, variable, from_first=first)
    _check_origin(table, form, gap, begin, end, proposal)
    gap, early, end = gap * scale, early * scale, end * scale
    late, vary = end, early < _VARY * end
    if cut := vary and early >= _SHORT * end:
        end = early
    step = min(STEPS, key=lambda s: abs(s - gap)) if gap > 0 else 60.0
    step = gap if gap >= 1 and STEPS[-1] % gap == 0 else step  # it divides the day
    while (end + gap) / step > MOST_POINTS and step < STEPS[-1]:
        step = next(s for s in STEPS if s > step)
    points = max(2, int(end / step + 1e-6) + 1)
    if points > MOST_POINTS:
        points = MOST_POINTS
        proposal.cut.append(
            f"series go on after the first {MOST_POINTS} steps, which were taken; "
            "data.window_hours and data.step_minutes choose others"
        )
    hours = points * step / 60
    proposal.data |= {"window_hours": hours, "step_minutes": float(step)}
    proposal.understood |= {
        "times": f"{unit or found.kind} in `{form.time}`, counted from {found.zero(form)}",
        "window": f"{hours:g} h in steps of {step:g} min: a value every {gap:.3g} min (median), "
        + (
            f"{100 * _ENDS:.0f} % of the series go on that long"
            if cut
            else f"{100 * _ENDS:.0f} % of the series end by {end / 60:.3g} h"
        ),
    }
    if vary:
        proposal.cut.append(
            f"half of the series are {early / 60:.3g} to {late / 60:.3g} h long; the first "
            f"{hours:g} h were taken. Empty steps at the end tell how long a series is: from which "
            "hours is the label to be predicted (data.window_hours)?"
        )
    return unit


def named_unit(column: str, last: float) -> tuple[str, str]:
    """The unit that the name of the column says, else one that the values suggest."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", column)  # "offsetMin"
    words = re.sub(r"[^a-z]+", " ", apart.lower())
    for unit, pattern in _NAMED.items():
        if re.search(rf"(?:^|(?<= ))(?:{pattern})(?= |$)", words):
            return unit, ""
    unit = "hours" if last <= 24 * 14 else "minutes"
    return unit, (
        f"the unit of the times in `{column}` is not named; the largest is {last:g}, so {unit} "
        "were assumed (data.table.time_unit)"
    )


def _check_origin(
    table: TableFile, form: TableForm, gap: float, begin: float, end: float, proposal: Proposal
) -> None:
    """Whether times count from about the begin of a series; stamps do (begin 0).

    Raises:
        DataError: they surely do not.
    """
    length = end - begin
    zero = form.start or "0"
    if not gap or begin <= length:
        return
    text = f"the times in `{form.time}` begin at {begin:.10g} (median) and are counted from {zero}"
    if begin > _FAR * length:
        kind = "; seconds since 1970? Write time stamps" if begin > _EPOCH else ""
        raise DataError(
            f"{table.path}: {text}{kind}. Subtract time zero, or name the column that holds it "
            "with data.table.start=COLUMN"
        )
    proposal.decide.append(
        f"{text}, so the window begins with empty steps; is that time zero (data.table.start)?"
    )


def _rhythm(
    engine: Engine,
    rows: str,
    minutes: str,
    form: TableForm,
    variable: str | None,
    *,
    from_first: bool,
) -> tuple[float, float, float, float]:
    """Median gap between the moments of a series (of one variable of it), when the median series
    begins, and when few and when most series have ended."""
    start = "min(moment)" if from_first else "0"
    kind = "''" if variable is None else text_sql(identifier(variable))
    row = engine.rows(
        f"""WITH apart AS MATERIALIZED (
            SELECT DISTINCT {text_sql(identifier(form.id))} AS id, {kind} AS kind,
                {minutes} AS moment FROM {rows}),
        gaps AS MATERIALIZED (SELECT id, moment, moment - lag(moment) OVER
                 (PARTITION BY id, kind ORDER BY moment) AS gap FROM apart
                 WHERE moment IS NOT NULL),
        ends AS (SELECT min(moment) - {start} AS begin, max(moment) - {start} AS last
                 FROM gaps GROUP BY id)
        SELECT (SELECT median(gap) FROM gaps), (SELECT median(begin) FROM ends),
               (SELECT quantile_cont(last, {1 - _ENDS}) FROM ends),
               (SELECT quantile_cont(last, {_ENDS}) FROM ends)"""
    )[0]
    gap, begin, early, end = (float(value or 0.0) for value in row)
    return gap, begin, max(early, 0.0), max(end, 0.0)
