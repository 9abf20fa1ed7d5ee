"""How much each series would help the guide: the influence of guided and unguided sets.

Influence is the guide's own estimate, not a proof of usefulness.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from scripts.quality.common.comparison import draw
from scripts.quality.common.metric_report import Z95
from scripts.utility.protocols import Series
from scripts.utility.summary import UNGUIDED

MAX_SERIES = 2000  # of each set

Score = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (n, channel, time), labels -> (n,)


@dataclass(frozen=True)
class Influence:
    """Influence per class and set, in the standard deviation of the first set, about its mean.

    Attributes:
        base: the first set, `unguided` if there is one.
        values: class -> set -> one value per series.
        shifts: class -> set -> mean above that of `base`, with the ends of its 95 % interval.
    """

    base: str
    values: dict[str, dict[str, np.ndarray]]
    shifts: dict[str, dict[str, tuple[float, float, float]]]


def influence_of_sets(
    score: Score, sets: Mapping[str, Series], label_names: tuple[str, ...], *, seed: int
) -> Influence:
    """The influence of at most MAX_SERIES series of each set.

    Args:
        score: the influence of labelled model-space series.
    """
    base = UNGUIDED if UNGUIDED in sets else next(iter(sets))
    scored = {}
    for name, series in sets.items():
        rows = draw(len(series), MAX_SERIES, seed)
        found = score(series.x[rows], series.y[rows]).astype(np.float64)
        scored[name] = (found, series.y[rows])
    values, shifts = {}, {}
    for label, class_name in enumerate(label_names):
        of_class = {name: found[y == label] for name, (found, y) in scored.items()}
        own = of_class[base]
        centre, spread = own.mean(), max(float(own.std()), np.finfo(float).tiny)
        scaled = {name: (found - centre) / spread for name, found in of_class.items()}
        values[class_name] = scaled
        shifts[class_name] = {n: _shift(v, scaled[base]) for n, v in scaled.items() if n != base}
    return Influence(base, values, shifts)


def _shift(values: np.ndarray, base: np.ndarray) -> tuple[float, float, float]:
    mean = float(values.mean() - base.mean())
    error = Z95 * float(np.sqrt(values.var() / len(values) + base.var() / len(base)))
    return mean, mean - error, mean + error
