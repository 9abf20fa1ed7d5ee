"""Stay rules: who is in a cohort, as a list of named predicates that leaves a flow table behind.

Readers of raw releases fill the engine's table `stays`; one row is one ICU stay with the columns
`id, subject, hours, age, male, died, dead_at` (length of stay in hours, age in years, 1 = male, 1 =
died in hospital, hour of death from the start of the stay; NULL where unknown) and `visit` (1 = the
patient's first ICU stay).
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool

from configs.runtime.errors import UserError
from data_preprocess.cohort import Cohort, FlowStep, Rules, add_step, is_measured
from data_preprocess.sources.hospital.resample import grid_chart
from data_preprocess.sources.hospital.variables import Variable
from data_preprocess.sources.registry import Settings
from data_preprocess.storage.duckdb_engine import Engine

ADULT_YEARS = 18
STATIC_NAMES = ("age[years]", "sex[1=male]")
SEX = {1: ("m", "male"), 0: ("f", "female")}
_CONTRADICTORY = "(died = 0 AND dead_at IS NOT NULL)"


def task_of(settings: Settings) -> tuple[str, tuple[str, ...]]:
    """The label as SQL over `stays`, NULL where unknown, and the names of the classes."""
    if settings.task == "mortality":
        return "died", ("survived", "died")
    days = f"{settings.los_days:g} days"
    return f"(hours > {settings.los_days * 24})::INTEGER", (f"stay <= {days}", f"stay > {days}")


def known_outcome(settings: Settings) -> dict[str, str]:
    """The rule that a stay has a label."""
    return {"outcome unknown": f"({task_of(settings)[0]}) IS NOT NULL"}


def clinical_rules(settings: Settings) -> Rules:
    """Adults, first ICU stay, alive in the unit for the window, outcome known.

    The end of a stay can be noted hours after the death: its empty last hours would give the
    outcome away.
    """
    hours = settings.window_hours
    later = f"{_CONTRADICTORY} OR dead_at IS NULL OR dead_at >="
    return {
        f"younger than {ADULT_YEARS} years, or age unknown": f"age >= {ADULT_YEARS}",
        "not the patient's first ICU stay": "visit = 1",
        f"in the unit for less than {hours:g} h, or unknown": f"hours >= {hours}",
        "died before admission to the unit": f"{later} 0",
        f"died within the first {hours:g} h": f"{later} {hours}",
        "dead, but noted as discharged alive": f"coalesce(NOT {_CONTRADICTORY}, true)",
    } | known_outcome(settings)


def oddities(engine: Engine, window_hours: float) -> list[str]:
    """Counts, for the card, of stays left in `stays` that contradict themselves, and of codes of
    sex and outcome that no rule knows, taken as unknown."""
    count, kept = "SELECT count(*) FROM stays WHERE", "stays kept although"
    notes = engine.counted(
        {
            f"{kept} died before admission to the unit": f"{count} dead_at < 0",
            f"{kept} died within the first {window_hours:g} h": (
                f"{count} dead_at >= 0 AND dead_at < {window_hours}"
            ),
            f"{kept} dead, but noted as discharged alive": f"{count} {_CONTRADICTORY}",
        }
    )
    return notes + [
        f"{name}: unknown code {code!r}, taken as unknown: {count:,} stays"
        for name in ("sex", "outcome")
        for code, count in engine.rows(
            f"SELECT unknown_{name}, count(*) FROM stays WHERE unknown_{name} IS NOT NULL "
            "GROUP BY 1 ORDER BY 1"
        )
    ]


def cohort_of(
    engine: Engine,
    variables: Sequence[Variable],
    settings: Settings,
    flow: list[FlowStep],
    notes: Sequence[str],
    *,
    nearest: bool,
    charted: Bool[np.ndarray, " n"] | None = None,
) -> Cohort:
    """The engine's `chart` on the grid, with the labels and static covariates of its `cohort`.

    Args:
        nearest: as in `grid_chart`.
        charted: the stays to keep if their outcome is known; None: those with a value, whose
            outcome a rule has asked for.
    """
    values, counts = grid_chart(engine, variables, settings, nearest=nearest)
    label, label_names = task_of(settings)
    found = engine.columns(
        f"SELECT coalesce({label}, -1) AS label, subject, coalesce(age, 'nan'::DOUBLE) AS age, "
        "coalesce(male, 'nan'::DOUBLE) AS male FROM cohort ORDER BY stay"
    )
    labels = found["label"].astype(np.int64)
    if charted is None:
        kept = is_measured(values)
        add_step(flow, "no value of any channel in the window", int(kept.sum()))
    else:
        add_step(flow, "no MetaVision vital charted", int(charted.sum()))
        kept = charted & (labels >= 0)
        add_step(flow, "outcome unknown", int(kept.sum()))
    return Cohort(
        values=values if kept.all() else values[kept],
        labels=labels[kept],
        subject_ids=found["subject"].astype(np.int64)[kept],
        feature_names=tuple(variable.feature_name for variable in variables),
        label_names=label_names,
        static=np.stack([found["age"], found["male"]], axis=1).astype(np.float32)[kept],
        static_names=STATIC_NAMES,
        flow=tuple(flow),
        notes=(*counts, *notes),
    )


class Published(NamedTuple):
    """The cohort that a paper made of a release.

    Attributes:
        release, source: as printed, and in `data.source`.
        full_stays: ICU stays of the complete release, by which it is recognised.
        channels: of the paper; with others nothing is compared.
        stays, train: counts of all and, where known, of training stays.
    """

    release: str
    source: str
    full_stays: int
    channels: tuple[str, ...]
    stays: int
    train: int | None = None


def published_note(published: Published, section: Any, *, left: int, total: int) -> list[str]:
    """How far a paper cohort of `left` stays, from `total` of the release, is from the published.

    Raises:
        UserError: a full release differs, and `section.allow_other_counts` is off.
    """
    release, source, _, channels, stays, train = published
    if set(section.channels) != set(channels):
        return []
    here = f"paper cohort: {left:,} stays, published {stays:,} (difference {left - stays:+,})"
    if train is not None:
        here += f"; 80 % of them {round(0.8 * left):,}, published training set {train:,}"
    if total != published.full_stays:
        return [f"{here}; this is not the full {release} release, so they cannot agree"]
    if left != stays and not section.allow_other_counts:
        raise UserError(
            f"{here}, although this is the full {release} release: the published cohort is not "
            f"reproduced. data.{source}.allow_other_counts=true goes on with this one"
        )
    return [here]
