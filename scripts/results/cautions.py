"""cautions: sentences about an evaluation as a whole that a reader must not miss."""

from collections.abc import Sequence

from scripts.results.answers import ENOUGH_SEEDS
from scripts.utility.summary import UNGUIDED

SIMULATED = (
    "The patients are simulated: 'real' stands for the simulated cohort, and nothing here is a "
    "finding about patients."
)
OTHER_POPULATION = (
    "What the sets give away about {} is not measured: the test series are of another population "
    "(data.test_where), so what is nearer to these than to test series need not give them away."
)


def cautions(
    sets: Sequence[str], same: Sequence[str], *, num_seeds: int, simulated: bool, unknown: str
) -> list[str]:
    """The sentences that hold for this evaluation.

    Args:
        sets: names of the sets that are compared.
        same: names of the sets that are left out as equal to the unguided one.
        num_seeds: of every fit.
        simulated: the real series are not of patients.
        unknown: the series whose privacy is not measured; "" where there are none.
    """
    notes = [SIMULATED] if simulated else []
    if sets and UNGUIDED not in sets:
        notes.append(
            f"No set is called {UNGUIDED!r}, so no difference to unguided generation can be shown. "
            "Make one with `bash generation.sh <config.yaml> guidance=none`."
        )
    if same:
        notes.append(
            f"{', '.join(same)}: the same series as {UNGUIDED}, as where the strength of guidance "
            f"is 0. What is said of {UNGUIDED} holds for it."
        )
    if num_seeds == 1:
        notes.append(
            "One seed: intervals and p-values cover the test series only, not how much a model "
            "depends on its initial weights. Give several evaluation.seeds before claiming more."
        )
    elif num_seeds < ENOUGH_SEEDS:
        notes.append(
            f"{num_seeds} seeds: how much fits vary is hardly known, so intervals of differences, "
            f"and what follows from them, are uncertain. Give at least {ENOUGH_SEEDS} "
            "evaluation.seeds."
        )
    if unknown:
        notes.append(OTHER_POPULATION.format(unknown))
    return notes
