"""MetricReport: what a family of fidelity or privacy metrics returns; intervals of its values."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from classifier.metrics import Z95
from configs.runtime.errors import DataError
from data_preprocess.storage.content_cache import ContentCache, Entry


@dataclass(frozen=True, kw_only=True)
class MetricReport:
    """Named numbers, the arrays behind the figures, and remarks a reader must not miss.

    A metric `m` that has a real-data counterpart comes with `m_reference`: the same formula and
    seed with held-out real series against training series, at equal sizes where sizes matter.
    `m/channel` is per channel, `m_low` and `m_high` bound a 95 % interval.

    Attributes:
        values: metric name -> finite number; a metric that is undefined here is absent.
        arrays: name -> array for a histogram or curve.
        remarks: sentences about degenerate input or results, empty if there is nothing to say.

    Raises:
        DataError: a value is NaN or infinite.
    """

    values: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        bad = [name for name, value in self.values.items() if not np.isfinite(value)]
        if bad:
            raise DataError(f"metrics came out NaN or infinite: {', '.join(bad)}")


def merge(reports: list[MetricReport]) -> MetricReport:
    """All values, arrays and remarks of `reports`, in order.

    Raises:
        DataError: two reports use one name.
    """
    values: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    remarks: list[str] = []
    for report in reports:
        repeated = (values.keys() & report.values.keys()) | (arrays.keys() & report.arrays.keys())
        if repeated:
            raise DataError(f"metric names repeat: {sorted(repeated)}")
        values |= report.values
        arrays |= report.arrays
        remarks += report.remarks
    return MetricReport(values=values, arrays=arrays, remarks=remarks)


def kept_report(
    cache: ContentCache, key: Mapping[str, Any], compute: Callable[[], MetricReport]
) -> MetricReport:
    """The report that `cache` holds under `key`; computed and kept if there is none."""

    def entry() -> Entry:
        report = compute()
        return Entry(report.arrays, {"values": report.values, "remarks": report.remarks})

    found = cache.fetch(key, entry)
    return MetricReport(arrays=dict(found.arrays), **found.facts)


def bounded(
    name: str, value: float, interval: tuple[float, float], reference: float
) -> dict[str, float]:
    """The values of a metric with its 95 % interval and the value of real series."""
    low, high = interval
    return {name: value, f"{name}_low": low, f"{name}_high": high, f"{name}_reference": reference}


def number(value: float, sign: str = "") -> str:
    """Three decimals, with a plus if `sign` is "+"; what rounds to zero is never negative."""
    return f"{0.0 if abs(value) < 0.0005 else value:{sign}.3f}"


def interval_text(value: float, low: float, high: float, sign: str = "") -> str:
    """Such as "0.771 [0.760, 0.782]"."""
    return f"{number(value, sign)} [{number(low, sign)}, {number(high, sign)}]"


def with_interval(report: MetricReport, metric: str) -> str:
    """The value and, where there is one, its 95 % interval; "" where the metric is absent."""
    values = report.values
    if metric not in values:
        return ""
    if f"{metric}_low" not in values:
        return number(values[metric])
    return interval_text(values[metric], values[f"{metric}_low"], values[f"{metric}_high"])


def wilson(share: float, trials: int | float) -> tuple[float, float]:
    """95 % Wilson score interval of a binomial share (Wilson 1927); within [0, 1], never empty.

    Args:
        trials: may be fractional (an effective sample size).
    """
    z = Z95
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    spread = share * (1 - share) / trials + z**2 / (4 * trials**2)
    half = z * np.sqrt(spread) / (1 + z**2 / trials)
    # The ends are exact at 0 and 1; rounding must not turn "nothing seen" into "surely above 0".
    low = 0.0 if share <= 0 else max(0.0, float(centre - half))
    high = 1.0 if share >= 1 else min(1.0, float(centre + half))
    return low, high


def auc_interval(
    auc: float, num_positive: int, num_negative: int, z: float = Z95
) -> tuple[float, float]:
    """Interval of an AUC from its standard error."""
    half = z * auc_variance(auc, num_positive, num_negative) ** 0.5
    return max(0.0, auc - half), min(1.0, auc + half)


def auc_variance(auc: float, num_positive: int, num_negative: int) -> float:
    """Squared standard error of an AUC over the scored rows (Hanley and McNeil 1982, eq. 1)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc)
    variance += (num_positive - 1) * (q1 - auc**2) + (num_negative - 1) * (q2 - auc**2)
    return max(0.0, float(variance)) / (num_positive * num_negative)
