"""How much each series would help the guide: the influence of guided and unguided sets.

Influence is the guide's own estimate, not a proof of usefulness.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Shaped

from classifier.metrics import Z95
from scripts.pictures.styles import Picture, Styles, new_panels, shared_legend
from scripts.quality.common.comparison import draw
from scripts.utility.protocols import EncodedArrays
from scripts.utility.summary import UNGUIDED

MAX_SERIES = 10_000  # of each set
MOST_BINS = 50
TAIL = 0.005

Score = Callable[[np.ndarray, np.ndarray], np.ndarray]  # (n, channel, time), labels -> (n,)


@dataclass(frozen=True)
class Influence:
    """Influence per class and set, in the standard deviation of the first set, about its mean.

    Attributes:
        base: the first set, `unguided` if there is one.
        values: class -> set -> one value per series.
        rows: class -> the series of `base` that were scored, in the order of `values`.
        shifts: class -> set -> mean above that of `base`, with the ends of its 95 % interval; not
            of a class whose influence does not vary in `base`.
    """

    base: str
    values: dict[str, dict[str, np.ndarray]]
    rows: dict[str, np.ndarray]
    shifts: dict[str, dict[str, tuple[float, float, float]]]


def influence_of_sets(
    score: Score, sets: Mapping[str, EncodedArrays], label_names: tuple[str, ...], *, seed: int
) -> Influence:
    """The influence of at most MAX_SERIES series of each set.

    Args:
        score: the influence of labelled model-space series.
    """
    base = UNGUIDED if UNGUIDED in sets else next(iter(sets))
    rows = {name: draw(len(series), MAX_SERIES, seed) for name, series in sets.items()}
    x, y = ({n: getattr(sets[n], part)[r] for n, r in rows.items()} for part in ("x", "y"))
    scores = {name: score(x[name], y[name]).astype(np.float64) for name in sets}
    values, shifts, base_rows = {}, {}, {}
    for label, class_name in enumerate(label_names):
        mine = {name: y[name] == label for name in sets}
        own = scores[base][mine[base]]
        centre, spread = own.mean(), float(own.std())
        scaled = {n: (scores[n][mine[n]] - centre) / (spread or 1.0) for n in sets}
        values[class_name], base_rows[class_name] = scaled, rows[base][mine[base]]
        if not spread:  # of a single series
            continue
        shifts[class_name] = {
            n: _shift(v, scaled[base], coupled_weights(x[n][mine[n]], x[base][mine[base]]))
            for n, v in scaled.items()
            if n != base
        }
    return Influence(base, values, base_rows, shifts)


def coupled_weights(
    first: Shaped[np.ndarray, "n ..."], second: Shaped[np.ndarray, "m ..."]
) -> Float[np.ndarray, " both"]:
    """v over the rows of `first`, then of `second`: sum_i v_i f(row i) is the mean of f over the
    first minus that over the second.

    Rows that both hold cancel. So they do in the standard error sqrt(sum_i v_i^2 (f_i - mean)^2),
    which two independent samples would have much larger than a chosen set and its pool.
    """
    weights = np.zeros(len(first) + len(second))
    place: dict[bytes, int] = {}
    for index, row in enumerate(itertools.chain(first, second)):
        at = place.setdefault(row.tobytes(), index)
        weights[at] += 1 / len(first) if index < len(first) else -1 / len(second)
    weights[np.abs(weights) < 1e-12] = 0.0
    return weights


def _shift(values: np.ndarray, base: np.ndarray, weights: np.ndarray) -> tuple[float, float, float]:
    both = np.concatenate([values, base]) - base.mean()
    mean = float(weights @ both)
    error = Z95 * float(np.sqrt(weights**2 @ both**2))
    return mean, mean - error, mean + error


def influence_picture(found: Influence, styles: Styles) -> Picture:
    """One panel per class."""
    figure, panels = new_panels(7.2, 0.9 + 2.0 * len(found.values), rows=len(found.values))
    for panel, (class_name, scaled) in zip(panels[:, 0], found.values.items(), strict=True):
        low, high = np.quantile(np.concatenate(list(scaled.values())), [TAIL, 1 - TAIL])
        bins = min(MOST_BINS, 2 + int(np.sqrt(min(map(len, scaled.values())))))
        edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
        for name, values in scaled.items():
            shares = np.histogram(values, edges)[0] / len(values)  # also of what lies beyond
            panel.stairs(shares, edges, linewidth=1.8, label=name, **styles.dashed(name))
            panel.axvline(values.mean(), linewidth=1.2, **styles.dashed(name))
        panel.set_title(f"class {class_name}", fontsize=9, loc="left")
        panel.set_yticks([])
    panels[-1, 0].set_xlabel(f"influence, s.d. of {found.base} above its mean")
    shared_legend(figure, panels[0, 0])
    shifts = " ".join(
        f"{name}, {class_name}: {_reading(*shift)}."
        for class_name, by_set in found.shifts.items()
        for name, shift in by_set.items()
    )
    shifts = shifts or f"Only {found.base} was scored: there is nothing to compare with."
    sets = ", ".join(next(iter(found.values.values())))
    return Picture(
        "influence",
        figure,
        f"Histograms of influence per class for {sets}",
        f"Shift of the mean influence against {found.base}, in s.d. of that set, with 95 % "
        f"interval; stage 3 counts in s.d. of the pool that it draws from. {shifts} Heights: share "
        "of the series of a set; vertical lines: means. The axes leave out "
        f"{100 * TAIL:g} % of all series at either end.",
    )


def _reading(mean: float, low: float, high: float) -> str:
    reading = "higher" if low > 0 else "lower" if high < 0 else "no difference can be seen"
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}], {reading}"
