"""The metrics of fidelity and privacy: each registers itself together with its quality flags.

A quality flag is a rule by which a metric says "something is wrong here". Most rules compare a
metric with its own value for real series, so that a flag is raised by a defect and not by a small
test set; tests/unit/scripts/test_known_defects.py shows which defect raises which flag, and that
fresh real series raise none. No flag is no certificate: it says that this defect was not found.
"""

import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from scipy.stats import norm

from classifier.metrics import Z95
from scripts.quality.common.metric_report import MetricReport

# The splits whose series reach a generator, which learns from them or is guided by them.
MEMBERS = {"train": "training series", "val_guide": "guidance series"}
FIDELITY, PRIVACY = KINDS = ("fidelity", "privacy")  # what flags and answers are made of
PUBLISHED = "published"  # as other papers print them: no flag, no answer


Values = dict[str, float]
Compute = Callable[..., MetricReport]  # (comparison, *, seed)
CHANCE = 1e-3  # of a false flag of one privacy rule
# From the lower end of a normal 95 % interval to that of CHANCE.
WIDEN = float(norm.isf(CHANCE)) / Z95


@dataclass(frozen=True)
class QualityFlag:
    """One rule.

    Attributes:
        metric: the name whose value the rule is about; the rule is skipped where it is absent.
        meaning: what the flag says, for a reader.
        threshold: when it is raised, for a reader; "real" is the value of real series.
        raised: the rule, on all values of a report.
        p: the p-value that the rule reads; None where it reads none.
    """

    metric: str
    meaning: str
    threshold: str
    raised: Callable[[Values], bool]
    p: Callable[[Values], float] | None = None


_METRICS: dict[str, list[tuple[Compute, tuple[QualityFlag, ...]]]] = {
    kind: [] for kind in (*KINDS, PUBLISHED)
}


def metric(kind: str, *flags: QualityFlag) -> Callable[[Compute], Compute]:
    """Registers the decorated function as a metric of `kind`, with the flags on its values."""

    def register(compute: Compute) -> Compute:
        _METRICS[kind].append((compute, flags))
        return compute

    return register


def metrics(kind: str) -> list[Compute]:
    """Every registered metric of `kind`, by module: all modules of scripts/quality/<kind>."""
    return [compute for compute, _ in _registered(kind)]


def quality_flags(kind: str) -> list[QualityFlag]:
    """The quality flags of `kind`, in the order of their metrics."""
    return [flag for _, flags in _registered(kind) for flag in flags]


def raised(values: Values) -> dict[QualityFlag, bool]:
    """Whether each flag is raised; those of metrics that `values` lacks are left out."""
    flags = [flag for kind in KINDS for flag in quality_flags(kind)]
    return {flag: flag.raised(values) for flag in flags if flag.metric in values}


def raised_flags(values: Values) -> list[QualityFlag]:
    """The flags that are raised, in the order of their metrics."""
    return [flag for flag, found in raised(values).items() if found]


def _registered(kind: str) -> list[tuple[Compute, tuple[QualityFlag, ...]]]:
    package = import_module(f"scripts.quality.{kind}")
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        import_module(module.name)
    return sorted(_METRICS[kind], key=lambda entry: entry[0].__module__)


def above(name: str, margin: float, meaning: str) -> QualityFlag:
    """More than `margin` above the reference."""
    return QualityFlag(
        name, meaning, f"> real + {margin:g}", lambda v: v[name] > v[f"{name}_reference"] + margin
    )


def below(name: str, margin: float, meaning: str) -> QualityFlag:
    """More than `margin` below the reference."""
    return QualityFlag(
        name, meaning, f"< real - {margin:g}", lambda v: v[name] < v[f"{name}_reference"] - margin
    )


def times(name: str, factor: float, floor: float, meaning: str) -> QualityFlag:
    """More than `factor` times the reference, where it matters: also above `floor`."""
    return QualityFlag(
        name,
        meaning,
        f"> {factor:g} x real and > {floor:g}",
        lambda v: v[name] > max(floor, factor * v[f"{name}_reference"]),
    )


def outside(name: str, factor: float, meaning: str) -> QualityFlag:
    """A ratio beyond `factor` or below its inverse."""
    return QualityFlag(
        name,
        meaning,
        f"< {1 / factor:.2f} or > {factor:g}",
        lambda v: not 1 / factor <= v[name] <= factor,
    )


def surely_above(name: str, meaning: str) -> QualityFlag:
    """Above the reference by more than chance does in one set of a thousand.

    Reports show 95 % intervals; at that level one of seven privacy rules would often be raised by
    chance. Where the reference is itself counted in a sample, and so has an upper end, the errors
    of the two add as squares (Newcombe 1998): that two 95 % intervals lie apart is no such rule, as
    chance does it in 0.3 % of pairs of equal size, in up to 2.5 % where one sample is much larger.
    """

    def p(v: Values) -> float:
        real = v[f"{name}_reference"]
        own, of_real = v[name] - v[f"{name}_low"], v.get(f"{name}_reference_high", real) - real
        error = max((own**2 + of_real**2) ** 0.5, sys.float_info.min)
        return float(norm.sf(Z95 * (v[name] - real) / error))

    return QualityFlag(name, meaning, f"> real, p < {CHANCE:g}", lambda v: p(v) < CHANCE, p)


def surely_below(name: str, margin: float, meaning: str) -> QualityFlag:
    """The whole 95 % interval is more than `margin` below the reference."""
    return QualityFlag(
        name,
        meaning,
        f"interval < real - {margin:g}",
        lambda v: v[f"{name}_high"] < v[f"{name}_reference"] - margin,
    )
