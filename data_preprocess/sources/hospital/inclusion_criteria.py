"""Stay rules: who is in a cohort, as a list of named predicates that leaves a flow table behind.

Readers of raw releases fill the engine's table `stays`; one row is one ICU stay with the columns
`id, subject, hours, age, male, died, dead_at` (length of stay in hours, age in years, 1 = male, 1 =
died in hospital, hour of death from the start of the stay; NULL where unknown) and `visit` (1 = the
patient's first ICU stay).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from configs.runtime.errors import DataError, UserError
from data_preprocess.cohort import Cohort, FlowStep
from data_preprocess.sources.hospital.extraction_request import Task
from data_preprocess.sources.hospital.resample import Count
from data_preprocess.sources.hospital.variables import Variable
from data_preprocess.storage.cell_text import stamp_sql
from data_preprocess.storage.duckdb_engine import Engine
from data_preprocess.storage.table_file import TableFile

ADULT_YEARS = 18
STATIC_NAMES = ("age[years]", "sex[1=male]")
SEX = {1: ("m", "male"), 0: ("f", "female")}
_CONTRADICTORY = "(died = 0 AND dead_at IS NOT NULL)"
MOST_UNREADABLE = 0.01


@dataclass(frozen=True)
class Rule:
    """Stays that do not meet `keep` (SQL over `stays`, NULL counts as no) are removed."""

    removes: str
    keep: str


def clinical_rules(task: Task, window_hours: float) -> list[Rule]:
    """Adults, first ICU stay, alive in the unit for `window_hours`, outcome known.

    The end of a stay can be noted hours after the death: its empty last hours would give the
    outcome away.
    """
    rules = [
        Rule(f"younger than {ADULT_YEARS} years, or age unknown", f"age >= {ADULT_YEARS}"),
        Rule("not the patient's first ICU stay", "visit = 1"),
        Rule(
            f"in the unit for less than {window_hours:g} h, or unknown", f"hours >= {window_hours}"
        ),
        Rule(
            f"died within the first {window_hours:g} h",
            f"{_CONTRADICTORY} OR dead_at IS NULL OR dead_at >= {window_hours}",
        ),
        Rule("dead, but noted as discharged alive", f"coalesce(NOT {_CONTRADICTORY}, true)"),
    ]
    return [*rules, Rule("outcome unknown", f"({task.label_sql}) IS NOT NULL")]


def contradictions(engine: Engine, window_hours: float) -> list[str]:
    """Counts, for the card, of stays left in `stays` that contradict themselves."""
    notes = {
        f"died within the first {window_hours:g} h": f"dead_at < {window_hours}",
        "dead, but noted as discharged alive": _CONTRADICTORY,
    }
    counts = {
        what: engine.number(f"SELECT count(*) FROM stays WHERE {rule}")
        for what, rule in notes.items()
    }
    return [f"stays kept although {what}: {count:,}" for what, count in counts.items() if count]


def unknown_codes(engine: Engine, columns: Mapping[str, str]) -> list[str]:
    """Per name, the codes in a column of `stays` that no rule knows, counted; taken as unknown."""
    return [
        f"{name}: unknown code {code!r}, taken as unknown: {count:,} stays"
        for name, column in columns.items()
        for code, count in engine.rows(
            f"SELECT {column}, count(*) FROM stays WHERE {column} IS NOT NULL GROUP BY 1 ORDER BY 1"
        )
    ]


def require_readable(engine: Engine, name: str, table: TableFile, column: str) -> None:
    """Raises DataError if more than 1 % of the times in a column cannot be read; shows one.

    Args:
        name: the engine's table that holds the cells of `table` as read.
    """
    bad = engine.number(f"SELECT count(*) FROM {name} WHERE {column} IS NULL")
    total = engine.number(f"SELECT count(*) FROM {name}")
    if bad > MOST_UNREADABLE * total:
        example = engine.rows(
            f"SELECT {column} FROM {table.scan} WHERE {stamp_sql(column)} IS NULL LIMIT 1"
        )
        raise DataError(
            f"{table.path}: {column} is missing or unreadable in {bad:,} of {total:,} rows (first "
            f"{example[0][0]!r}); expected YYYY-MM-DD HH:MM:SS"
        )


def require_unique(engine: Engine, table: str, key: str, where: str) -> None:
    """Raises DataError if a value of `key` stands in two rows of `table`; `where` is the file."""
    twice = engine.rows(
        f"SELECT {key}, count(*) FROM {table} GROUP BY {key} HAVING count(*) > 1 ORDER BY 1"
    )
    if twice:
        raise DataError(
            f"{where}: {key} {twice[0][0]} stands in {twice[0][1]} rows ({len(twice)} such ids); "
            "every row must have an id of its own - was the file joined from pieces?"
        )


def apply_rules(engine: Engine, rules: Sequence[Rule], flow: list[FlowStep]) -> None:
    """Removes stays rule by rule and appends one FlowStep each.

    Raises:
        DataError: no stay is left; the message is the flow table.
    """
    for rule in rules:
        engine.run(f"DELETE FROM stays WHERE NOT coalesce({rule.keep}, false)")
        add_step(flow, rule.removes, engine.number("SELECT count(*) FROM stays"))


def add_step(flow: list[FlowStep], removes: str, left: int) -> None:
    """Appends a step; raises DataError with the whole table when nobody is left."""
    flow.append(FlowStep(removes, flow[-1].left - left, left))
    if not left:
        table = "; ".join(f"{step.rule}: -{step.removed}, {step.left} left" for step in flow)
        raise DataError(f"no stay is left in the cohort ({table})")


def number_stays(engine: Engine) -> int:
    """Makes `cohort` from `stays`, with rows numbered by id in `stay`; returns how many."""
    engine.run(
        "CREATE OR REPLACE TABLE cohort AS "
        "SELECT (row_number() OVER (ORDER BY id) - 1)::INTEGER AS stay, * FROM stays"
    )
    return engine.number("SELECT count(*) FROM cohort")


@dataclass(frozen=True)
class Extraction:
    """What a release held about the engine's `cohort`, row by row; label -1 where unknown."""

    values: Float[np.ndarray, "n channel time"]
    labels: Int[np.ndarray, " n"]
    subjects: Int[np.ndarray, " n"]
    static: Float[np.ndarray, "n static"]
    counts: list[Count]

    def cohort(
        self,
        kept: Bool[np.ndarray, " n"],
        *,
        variables: Sequence[Variable],
        task: Task,
        flow: Sequence[FlowStep],
        notes: Sequence[str],
    ) -> Cohort:
        """The kept stays; cleaning counts come before the given notes."""
        return Cohort(
            values=self.values if kept.all() else self.values[kept],
            labels=self.labels[kept],
            subject_ids=self.subjects[kept],
            feature_names=tuple(variable.feature_name for variable in variables),
            label_names=task.label_names,
            static=self.static[kept],
            static_names=STATIC_NAMES,
            flow=tuple(flow),
            notes=(*(str(count) for count in self.counts), *notes),
        )


def extraction(
    engine: Engine, task: Task, values: Float[np.ndarray, "n channel time"], counts: list[Count]
) -> Extraction:
    """`values` and `counts` with the labels, patients and static covariates of `cohort`."""
    found = engine.columns(
        f"SELECT coalesce({task.label_sql}, -1) AS label, subject, "
        "coalesce(age, 'nan'::DOUBLE) AS age, coalesce(male, 'nan'::DOUBLE) AS male "
        "FROM cohort ORDER BY stay"
    )
    return Extraction(
        values=values,
        labels=found["label"].astype(np.int64),
        subjects=found["subject"].astype(np.int64),
        static=np.stack([found["age"], found["male"]], axis=1).astype(np.float32),
        counts=counts,
    )


def published_note(
    *, left: int, stays: int, train: int | None, is_full: bool, allow: bool, release: str
) -> str:
    """How far a paper cohort is from the published one.

    Args:
        left: stays found. stays, train: published numbers of all and of training stays.
        is_full: the release is the complete one, so the numbers should agree.
        allow: accept a full release that differs.

    Raises:
        UserError: a full release differs and `allow` is off.
    """
    here = f"paper cohort: {left:,} stays, published {stays:,} (difference {left - stays:+,})"
    if train is not None:
        here += f"; 80 % of them {round(0.8 * left):,}, published training set {train:,}"
    if not is_full:
        return f"{here}; this is not the full {release} release, so they cannot agree"
    if left != stays and not allow:
        raise UserError(
            f"{here}, although this is the full {release} release: the published cohort is not "
            "reproduced. Set allow_other_counts=true in the source's section to go on with this one"
        )
    return here
