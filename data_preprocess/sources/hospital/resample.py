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
from dataclasses import astuple

import numpy as np
from jaxtyping import Float

from data_preprocess.sources.hospital.variables import Variable
from data_preprocess.sources.registry import Settings
from data_preprocess.storage.duckdb_engine import Engine

CHART_COLUMNS = "stay INTEGER, item BIGINT, second BIGINT, raw DOUBLE, fault VARCHAR"
NO_STAY, NO_TIME = "no stay id", "no time that can be read"
MARKED, BAD_MARK = "marked as an error in the release", "unknown error mark"
FAR_AWAY = "dated more than 30 days outside the stay"
NO_NUMBER, UNREADABLE, OUT_OF_RANGE = "no number", "a number that cannot be read", "out of range"
REPEATED = "repeats of one item at one time, averaged"
REPEATED_DIFFER = "repeats of one item at one time, with differing values"
JOINED = "items of one channel at one time, joined"
SWAPPED = "systolic and diastolic pairs swapped back"


def item_codes(variables: Sequence[Variable]) -> dict[tuple[str, int | str], int]:
    """(table, key) -> item code: the id itself, or a number for a column."""
    keys = [(source.table, source.key) for variable in variables for source in variable.sources]
    return {
        key: key[1] if isinstance(key[1], int) else position for position, key in enumerate(keys)
    }


def make_items(engine: Engine, variables: Sequence[Variable]) -> None:
    """Makes the engine's tables that a reader fills `chart`, still empty, by: `cohort`, which is
    `stays` with rows numbered by id in `stay`, and `items` and `pairs` from the dictionary."""
    codes = item_codes(variables)
    rows, pairs = [], []
    for channel, variable in enumerate(variables):
        for source in variable.sources:
            code = codes[source.table, source.key]
            row = (code, channel, variable.combine == "sum", variable.low, variable.high)
            rescue = (None,) * 5 if source.rescue is None else astuple(source.rescue)
            rows.append((*row, source.scale, source.shift, *rescue))
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
    engine.run(
        "CREATE OR REPLACE TABLE cohort AS "
        "SELECT (row_number() OVER (ORDER BY id) - 1)::INTEGER AS stay, * FROM stays"
    )


def grid_chart(
    engine: Engine, variables: Sequence[Variable], settings: Settings, *, nearest: bool
) -> tuple[Float[np.ndarray, "n channel time"], list[str]]:
    """The values of `chart` on the grid (float32, NaN where none), and what each rule met.

    Args:
        nearest: take the value nearest to a step's start, within half a step, and not the mean.
    """
    _clean(engine)
    engine.run(_cells_sql(settings, nearest))
    num_stays = engine.number("SELECT count(*) FROM cohort")
    values = engine.grid((num_stays, len(variables), settings.num_steps), np.float32)
    return values, _counts(engine, variables)


def _clean(engine: Engine) -> None:
    """Steps 1 to 4: makes `judged`, `charted`, `swapped` and `joined`."""
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
    engine.run("""
        CREATE OR REPLACE TABLE charted AS
        SELECT stay, item, second, any_value(channel) AS channel, avg(value) AS v,
               count(*)::INTEGER AS n, min(value) < max(value) AS differ
        FROM judged WHERE value IS NOT NULL GROUP BY stay, item, second""")
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
    engine.run("""
        CREATE OR REPLACE TABLE joined AS
        SELECT stay, channel, second, count(*)::INTEGER AS k,
               CASE WHEN any_value(summed) THEN sum(v) ELSE avg(v) END AS v
        FROM charted JOIN (SELECT item, summed FROM items) USING (item)
        GROUP BY stay, channel, second""")


def _counts(engine: Engine, variables: Sequence[Variable]) -> list[str]:
    """What each rule met in each channel, by channel and rule."""
    names = [*(variable.name for variable in variables), "pressure"]
    rows = engine.rows(f"""
        SELECT channel, verdict, count(*) FROM judged WHERE verdict <> '' GROUP BY ALL UNION ALL
        SELECT channel, '{REPEATED}', sum(n - 1) FROM charted WHERE n > 1 GROUP BY ALL UNION ALL
        SELECT channel, '{REPEATED_DIFFER}', sum(n - 1) FROM charted WHERE differ GROUP BY ALL
        UNION ALL
        SELECT channel, '{JOINED}', sum(k - 1) FROM joined WHERE k > 1 GROUP BY ALL UNION ALL
        SELECT {len(variables)}, '{SWAPPED}', count(*) FROM swapped HAVING count(*) > 0
        ORDER BY 1, 2""")
    return [f"{names[channel]}: {rule}: {count:,}" for channel, rule, count in rows]


def _cells_sql(settings: Settings, nearest: bool) -> str:
    width = settings.step_minutes * 60
    step, mean = f"floor(second / {width})", "avg(v)"
    if nearest:
        step = f"CASE WHEN summed THEN {step} ELSE floor(second / {width} + 0.5) END"
        # Of two equally near values the earlier one, so that the choice never depends on row order.
        distance = f"2 * abs(second - step * {width}) + (second > step * {width})::INTEGER"
        mean = f"arg_min(v, {distance})"
    return f"""
        CREATE OR REPLACE TABLE cells AS
        SELECT stay AS row, channel, step,
               (CASE WHEN any_value(summed) THEN sum(v) ELSE {mean} END)::FLOAT AS v
        FROM (SELECT stay, channel, second, v, summed, ({step})::INTEGER AS step
              FROM joined JOIN (SELECT DISTINCT channel, summed FROM items) USING (channel))
        WHERE step BETWEEN 0 AND {settings.num_steps - 1} GROUP BY stay, channel, step"""
