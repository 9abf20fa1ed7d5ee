"""require_whole_times: refuses times that begin anew every day, and asks where they may."""

import re

from configs.runtime.errors import DataError
from data_preprocess.new_experiment.columns import plain
from data_preprocess.new_experiment.proposal import Proposal
from data_preprocess.new_experiment.roles import Tables
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.times import DURATIONS, Moments
from data_preprocess.storage.cell_text import text_sql
from data_preprocess.storage.table_file import identifier

_DAY = re.compile(r"((?<!up)date|datum|(?<!week)days?)$")  # the end of a plain name
_DAY_FORMS = "['%d.%m.%Y', '%d.%m.%y', '%d/%m/%Y', '%m/%d/%Y']"
_BACK = 0.05  # share of series whose rows go back in time from which on it is asked about
_WRITE = (
    "Write one column of time stamps (2020-01-31 13:05) or of the time since a series began, and "
    "name it with data.table.time=COLUMN"
)


def require_whole_times(
    tables: Tables, form: TableForm, found: Moments, proposal: Proposal, variable: str | None
) -> None:
    """The days of a series would be folded on top of each other, or its night be cut in two:
    DataError if a column of days says that the times (`found`, which are no time stamps) begin
    anew."""
    engine, table = tables.engine, tables.series.table
    for day in (c for c in table.columns if _DAY.search(plain(c)) and c != form.time):
        back, several = engine.rows(
            f"""WITH days AS (SELECT id, day, min(minute) AS first, max(minute) AS last FROM
                (SELECT {text_sql(identifier(form.id))} AS id, {_day_sql(day)} AS day,
                    {found.sql} AS minute FROM {table.scan})
                WHERE day IS NOT NULL AND minute IS NOT NULL GROUP BY ALL),
            apart AS (SELECT id, first < max(last) OVER (PARTITION BY id ORDER BY day ROWS BETWEEN
                UNBOUNDED PRECEDING AND 1 PRECEDING) AS back FROM days)
            SELECT count(DISTINCT id) FILTER (back), count(DISTINCT id) FROM apart
            WHERE back IS NOT NULL"""
        )[0]
        if 2 * back > several:
            raise DataError(
                f"{table.path}: `{form.time}` begins anew on another `{day}` ({back:,} of "
                f"{several:,} series with several), so it is a time of day. {_WRITE}"
            )
    if found.kind != DURATIONS:
        return
    kind = text_sql(identifier(variable)) if variable else "''"
    back, every, last = engine.rows(
        f"""SELECT count(DISTINCT id) FILTER (back), count(DISTINCT id), max(minute) FROM (
            SELECT id, minute, minute < lag(minute) OVER (PARTITION BY id, kind ORDER BY n) AS back
            FROM (SELECT row_number() OVER () AS n, {text_sql(identifier(form.id))} AS id,
                {kind} AS kind, {found.sql} AS minute FROM {table.scan})
            WHERE minute IS NOT NULL)"""
    )[0]
    if back > _BACK * every and last < 24 * 60:
        proposal.decide.append(
            f"`{form.time}` goes back from row to row in {back:,} of {every:,} series and stays "
            "below 24 h: if it is a time of day, the hours after midnight are read as those before "
            f"the evening. {_WRITE}"
        )


def _day_sql(column: str) -> str:
    """A number that rises with the day: of a date however it is written, or of a count of days."""
    text = text_sql(identifier(column))
    dates = f"coalesce(TRY_CAST({text} AS TIMESTAMP), try_strptime({text}, {_DAY_FORMS}))"
    return f"coalesce(TRY_CAST({text} AS DOUBLE), floor(epoch({dates}) / 86400))"
