"""Answer: what is said of a set, and how many series and seeds would change it.

The rules are in useful.py and quality_answers.py, the thresholds of quality flags at their metrics;
docs/metrics.md argues all of them. "No" needs evidence as "yes" does. What the data cannot decide
is "cannot tell". Both say, with a number, what would change them.
"""

import math
from typing import NamedTuple

from scripts.utility.bootstrap import Difference

YES, NO, CANNOT_TELL = "yes", "no", "cannot tell"
NO_LEAK_FOUND = "no leak found"  # the best that attacks can say: privacy is not proven by trying

ENOUGH_SEEDS = 5
SMALLEST_STEP = 0.001  # a distance to a limit that more series can resolve


class Answer(NamedTuple):
    """Outcome, one sentence why, and what would change it ("" where nothing has to)."""

    outcome: str
    reason: str
    change: str = ""


def series_and_seeds(count: int, difference: Difference, distance: float, seeds: int) -> str:
    """Test series, seeds or both that make the interval as narrow as `distance`."""
    needed = series_needed(count, _half(difference, seeds), distance)
    series = f"about {needed:,} test series"
    if seeds >= ENOUGH_SEEDS:
        return series
    more = f"{ENOUGH_SEEDS} seeds"
    return f"{series} and {more}" if needed > count else f"{more} (now {seeds})"


def series_needed(count: int, half_width: float, distance: float) -> int:
    """How many series make an interval of `half_width` as narrow as `distance`, two digits.

    Half-widths fall with the square root of the number of series.
    """
    needed = count * (half_width / max(distance, SMALLEST_STEP)) ** 2
    digits = max(0, math.floor(math.log10(max(needed, 1))) - 1)
    return math.ceil(needed / 10**digits - 1e-6) * 10**digits


def _half(difference: Difference, seeds: int) -> float:
    """Half-width of the interval; over the test series alone where more seeds are asked for too,
    since few seeds widen the whole interval in a way that no test series mend."""
    if seeds < ENOUGH_SEEDS:
        return (difference.test_high - difference.test_low) / 2
    return (difference.high - difference.low) / 2
