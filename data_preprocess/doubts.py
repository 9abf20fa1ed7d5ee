"""What in a cohort looks like a mistake and may be meant: told, not refused."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float

from configs.runtime.errors import few
from data_preprocess.cohort import Cohort


def doubts(cohort: Cohort) -> list[str]:
    """A sentence for each, with what to do."""
    codes = [
        f"{sentence} Empty these cells, or of a table say what is plausible: "
        f'"data.table.ranges={{{", ".join(f"{name!r}: [LOW, HIGH]" for name in names)}}}"'
        for names, sentence in codes_for_missing(cohort.values, cohort.feature_names)
    ]
    return codes + [
        f"channels {names} differ by case or spaces only: one variable, written in "
        f"{count} ways? Write it in one"
        for names, count in _alike(cohort.feature_names)
    ]


def codes_for_missing(
    values: Float[np.ndarray, "n channel time"], names: Sequence[str]
) -> Iterator[tuple[list[str], str]]:
    """The channels and a sentence for every value that looks like a code, such as -999.

    Args:
        values: NaN where nothing was measured.
        names: of the channels.
    """
    found = defaultdict(list)
    for k, name in enumerate(names):
        channel = values[:, k][~np.isnan(values[:, k])]
        for end in np.unique(channel[[channel.argmin(), channel.argmax()]]) if len(channel) else ():
            others = channel[channel != end]
            count = len(channel) - len(others)
            if len(others) > 1 and count > 1 and _is_far(float(end), others):
                low, high = np.quantile(others, [0.05, 0.95])
                found[float(end)].append((name, count, f"{low:g} to {high:g}"))
    for end, channels in found.items():
        concerned, counts, spans = map(list, zip(*channels, strict=True))
        of = f" of `{concerned[0]}`" if len(concerned) > 1 else ""
        yield (
            concerned,
            f"{sum(counts):,} values of {', '.join(f'`{name}`' for name in concerned)} are "
            f"{end:g}, most others{of} {spans[0]}: a code for missing?",
        )


def _is_far(end: float, others: np.ndarray) -> bool:
    """Whether a repeated value is farther from all others than these from each other, or ten times
    as far as most of them: a code that was averaged with measurements leaves values in between."""
    for low, high, factor in (
        (others.min(), others.max(), 1),
        (*np.quantile(others, [0.05, 0.95]), 10),
    ):
        # Where most others are equal, as in a flag or a rare dose, there is no such distance.
        if high > low and max(low - end, end - high) > factor * (high - low):
            return True
    return False


def _alike(names: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Names that are one but for case and spaces, and how many."""
    groups = defaultdict(list)
    for name in names:
        groups["".join(name.casefold().split())].append(name)
    for same in groups.values():
        if len(same) > 1:
            yield few(f"`{name}`" for name in same), len(same)
