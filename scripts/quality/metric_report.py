"""MetricReport: what a family of fidelity or privacy metrics returns."""

from dataclasses import dataclass, field

import numpy as np

from configs.runtime.errors import DataError


@dataclass(frozen=True, kw_only=True)
class MetricReport:
    """Named numbers, the arrays behind the figures, and remarks a reader must not miss.

    A metric `m` that has a real-data counterpart comes with `m_reference`: the same formula, sample
    size and seed with held-out real stays against train stays. `m/channel` is per channel,
    `m_low` and `m_high` bound a 95 % interval.

    Attributes:
        values: metric name -> finite number; a metric that is undefined here is absent.
        arrays: name -> array for a histogram or curve.
        flags: sentences about degenerate input or results, empty if there is nothing to say.

    Raises:
        DataError: a value is NaN or infinite.
    """

    values: dict[str, float]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        bad = [name for name, value in self.values.items() if not np.isfinite(value)]
        if bad:
            raise DataError(f"metrics came out NaN or infinite: {', '.join(bad)}")


def merge(reports: list[MetricReport]) -> MetricReport:
    """All values, arrays and flags of `reports`, in order.

    Raises:
        DataError: two reports use one name.
    """
    values: dict[str, float] = {}
    arrays: dict[str, np.ndarray] = {}
    flags: list[str] = []
    for report in reports:
        repeated = (values.keys() & report.values.keys()) | (arrays.keys() & report.arrays.keys())
        if repeated:
            raise DataError(f"metric names repeat: {sorted(repeated)}")
        values |= report.values
        arrays |= report.arrays
        flags += report.flags
    return MetricReport(values=values, arrays=arrays, flags=flags)
