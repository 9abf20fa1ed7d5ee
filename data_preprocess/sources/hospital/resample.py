"""Extract: charted rows of any release -> cleaned, merged values on the grid, each rule counted.

The engine's table `chart` holds what a reader found: `stay` (row of the cohort; NULL if the row
names none), `item` (code of a source), `second` (from the window's start; NULL if untimed), `raw`
(the number as charted; NaN if it cannot be read) and `fault` (why the row does not count, such as
the release's own error mark). From there:

1. judge each row: error mark, no number, known slip (rescued), out of range, or kept;
2. average repeats of one item at one time, so a value charted twice counts once;
3. swap a systolic and diastolic pair that stands the wrong way round;
4. join the items of a channel at one time (mean, or sum for volumes);
5. put times on the grid: mean (or sum) within [t, t + step), or the nearest within half a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from configs.runtime.errors import DataError
from data_preprocess.sources.hospital.variables import Source, Variable
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile

CHART_COLUMNS = "stay INTEGER, item BIGINT, second BIGINT, raw DOUBLE, fault VARCHAR"
NO_STAY, NO_TIME = "no stay id", "no time that can be read"
MARKED, BAD_MARK = "marked as an error in the release", "unknown error mark"
FAR_AWAY = "dated more than 30 days outside the stay"
NO_NUMBER, UNREADABLE, OUT_OF_RANGE = "no number", "a number that cannot be read", "out of range"
MOST_UNREADABLE = 0.01
REPEATED = "repeats of one item at one time, averaged"
REPEATED_DIFFER = "repeats of one item at one time, with differing values"
JOINED = "items of one channel at one time, joined"
SWAPPED = "systolic and diastolic pairs swapped back"


@dataclass(frozen=True)
class Grid:
    """The window: `num_steps` steps of `step_seconds` from second 0.

    `pick` is "mean" (of the step) or "nearest" (to the step's start, within half a step).
    """

    num_steps: int
    step_seconds: float
    pick: str

    @property
    def window_seconds(self) -> float:
        """Length of the window."""
        return self.num_steps * self.step_seconds


@dataclass(frozen=True)
class Count:
    """How many rows (or pairs) a cleaning rule met in one channel."""

    channel: str
    rule: str
    rows: int

    def __str__(self) -> str:
        return f"{self.channel}: {self.rule}: {self.rows:,}"


def item_codes(variables: Sequence[Variable]) -> dict[tuple[str, int | str], int]:
    """(table, key) -> item code: the id itself, or a number for a column."""
    keys = [(source.table, source.key) for variable in variables for source in variable.sources]
    return {
        key: key[1] if isinstance(key[1], int) else position for position, key in enumerate(keys)
    }


def make_items(engine: Engine, variables: Sequence[Variable]) -> None:
    """Fills the engine's tables `items` and `pairs` from the dictionary, and an empty `chart`."""
    codes = item_codes(variables)
    rows, pairs = [], []
    for channel, variable in enumerate(variables):
        for source in variable.sources:
            code = codes[source.table, source.key]
            rows.append(_item_row(code, channel, variable, source))
            partner = None if source.pair is None else codes.get((source.table, source.pair))
            if partner is not None:
                pairs.append((code, partner))
    engine.fill(
        "items",
        "item BIGINT, channel INTEGER, summed BOOLEAN, low DOUBLE, high DOUBLE, scale DOUBLE, "
        "shift DOUBLE, rescue VARCHAR, rescue_low DOUBLE, rescue_high DOUBLE, rescue_scale DOUBLE, "
        "rescue_shift DOUBLE",
        rows,
    )
    engine.fill("pairs", "systolic BIGINT, diastolic BIGINT", pairs)
    engine.run(f"CREATE OR REPLACE TABLE chart ({CHART_COLUMNS})")


def require_few_unreadable(
    engine: Engine, table: TableFile, unreadable: str, columns: Sequence[str]
) -> None:
    """Refuses `chart` if more than 1 % of its rows have a time or number that cannot be read.

    Args:
        unreadable: SQL over `table` that finds such a row.
        columns: the cells that the message shows.

    Raises:
        DataError: names the file and the first such cells.
    """
    total = engine.number("SELECT count(*) FROM chart")
    bad = engine.number("SELECT count(*) FROM chart WHERE isnan(raw) OR second IS NULL")
    if bad <= MOST_UNREADABLE * total:
        return
    shown = ", ".join(columns)
    example = engine.rows(f"SELECT {shown} FROM {table.scan} WHERE {unreadable} LIMIT 1")
    raise DataError(
        f"{table.path}: {bad:,} of {total:,} rows have a time or a number that cannot be read "
        f"({shown}: {', '.join(repr(cell) for cell in example[0]) if example else 'empty'}); "
        "expected times as YYYY-MM-DD HH:MM:SS and numbers as digits in nearly every row"
    )


def grid_chart(
    engine: Engine, variables: Sequence[Variable], grid: Grid, num_stays: int
) -> tuple[Float[np.ndarray, "n channel time"], list[Count]]:
    """The values of `chart` on the grid (float32, NaN where none), and what each rule met."""
    _judge(engine)
    _merge_repeats(engine)
    swapped = _swap_pairs(engine)
    _join_items(engine)
    counts = [*_counts(engine, variables), *swapped]
    names = [variable.name for variable in variables]
    values = np.full((num_stays, len(variables), grid.num_steps), np.nan, np.float32)
    engine.run(_cells_sql(grid))
    for cells in engine.chunks("SELECT stay, channel, step, v FROM cells"):
        values[cells["stay"], cells["channel"], cells["step"]] = cells["v"]
    return values, sorted(counts, key=lambda count: (_position(names, count.channel), count.rule))


def _position(names: list[str], channel: str) -> int:
    return names.index(channel) if channel in names else len(names)


def _item_row(code: int, channel: int, variable: Variable, source: Source) -> tuple:
    rescue = source.rescue
    known = (
        (None,) * 5
        if rescue is None
        else (rescue.name, rescue.low, rescue.high, rescue.scale, rescue.shift)
    )
    return (
        code,
        channel,
        variable.combine == "sum",
        variable.low,
        variable.high,
        source.scale,
        source.shift,
        *known,
    )


def _judge(engine: Engine) -> None:
    engine.run(f"""
        CREATE OR REPLACE VIEW judged AS SELECT
            stay, item, channel, second,
            CASE WHEN stay IS NULL THEN '{NO_STAY}'
                 WHEN fault IS NOT NULL THEN fault
                 WHEN second IS NULL THEN '{NO_TIME}'
                 WHEN raw IS NULL THEN '{NO_NUMBER}'
                 WHEN isnan(raw) THEN '{UNREADABLE}'
                 WHEN raw BETWEEN rescue_low AND rescue_high THEN rescue
                 WHEN raw * scale + shift BETWEEN low AND high THEN ''
                 ELSE '{OUT_OF_RANGE}' END AS verdict,
            CASE WHEN verdict = '' THEN raw * scale + shift
                 WHEN verdict = rescue THEN raw * rescue_scale + rescue_shift END AS value
        FROM chart JOIN items USING (item)""")


def _merge_repeats(engine: Engine) -> None:
    engine.run(
        """
        CREATE OR REPLACE TABLE charted AS
        SELECT stay, item, second, any_value(channel) AS channel, avg(value) AS v,
               count(*)::INTEGER AS n, min(value) < max(value) AS differ
        FROM judged WHERE value IS NOT NULL GROUP BY stay, item, second""",
    )


def _swap_pairs(engine: Engine) -> list[Count]:
    engine.run("""
        CREATE OR REPLACE TABLE swapped AS
        SELECT s.stay, s.second, s.item AS systolic, d.item AS diastolic, s.v AS low, d.v AS high
        FROM charted s JOIN pairs p ON s.item = p.systolic
        JOIN charted d ON d.item = p.diastolic AND d.stay = s.stay AND d.second = s.second
        WHERE s.v < d.v""")
    for item, value in (("systolic", "high"), ("diastolic", "low")):
        engine.run(f"""
            UPDATE charted SET v = swapped.{value} FROM swapped
            WHERE charted.item = swapped.{item} AND charted.stay = swapped.stay
              AND charted.second = swapped.second""")
    found = engine.number("SELECT count(*) FROM swapped")
    return [Count("pressure", SWAPPED, found)] if found else []


def _join_items(engine: Engine) -> None:
    engine.run(
        """
        CREATE OR REPLACE TABLE joined AS
        SELECT stay, channel, second, count(*)::INTEGER AS k,
               CASE WHEN any_value(summed) THEN sum(v) ELSE avg(v) END AS v
        FROM charted JOIN (SELECT item, summed FROM items) USING (item)
        GROUP BY stay, channel, second""",
    )


def _counts(engine: Engine, variables: Sequence[Variable]) -> list[Count]:
    rows = engine.rows(
        "SELECT channel, verdict, count(*) FROM judged WHERE verdict <> '' GROUP BY ALL"
    )
    rows += engine.rows(
        f"SELECT channel, '{REPEATED}', sum(n - 1) FROM charted WHERE n > 1 GROUP BY channel"
    )
    rows += engine.rows(
        f"SELECT channel, '{REPEATED_DIFFER}', sum(n - 1) FROM charted "
        "WHERE differ GROUP BY channel"
    )
    rows += engine.rows(
        f"SELECT channel, '{JOINED}', sum(k - 1) FROM joined WHERE k > 1 GROUP BY channel"
    )
    return [Count(variables[channel].name, rule, int(rows_)) for channel, rule, rows_ in rows]


def _cells_sql(grid: Grid) -> str:
    plain = f"floor(second / {grid.step_seconds})"
    if grid.pick == "mean":
        step, mean = plain, "avg(v)"
    else:
        step = f"CASE WHEN summed THEN {plain} ELSE floor(second / {grid.step_seconds} + 0.5) END"
        distance = f"abs(second - step * {grid.step_seconds})"
        # Of two equally near values the earlier one, so that the choice never depends on row order.
        mean = f"arg_min(v, 2 * {distance} + (second > step * {grid.step_seconds})::INTEGER)"
    return f"""
        CREATE OR REPLACE TABLE cells AS
        SELECT stay, channel, step,
               (CASE WHEN any_value(summed) THEN sum(v) ELSE {mean} END)::FLOAT AS v
        FROM (SELECT stay, channel, second, v, summed, ({step})::INTEGER AS step
              FROM joined JOIN (SELECT DISTINCT channel, summed FROM items) USING (channel))
        WHERE step BETWEEN 0 AND {grid.num_steps - 1} GROUP BY stay, channel, step"""
