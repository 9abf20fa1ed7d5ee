"""Cohort: what a reader of raw data returns, before splitting and imputation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from configs.runtime.errors import DataError
from data_preprocess.dataset import LabelledSeries
from data_preprocess.storage.duckdb_engine import Engine

# What a rule removes -> SQL that the kept stays meet; NULL counts as no.
Rules = Mapping[str, str]


@dataclass(frozen=True)
class FlowStep:
    """One row of the flow table: a rule, how many stays it removed and how many were left."""

    rule: str
    removed: int
    left: int


def add_step(flow: list[FlowStep], removes: str, left: int) -> None:
    """Appends a step; raises DataError with the whole table when nobody is left."""
    flow.append(FlowStep(removes, flow[-1].left - left, left))
    if not left:
        table = "; ".join(f"{step.rule}: -{step.removed}, {step.left} left" for step in flow)
        raise DataError(f"nobody is left in the cohort ({table})")


def apply_rules(engine: Engine, table: str, rules: Rules, flow: list[FlowStep]) -> None:
    """Removes stays from an engine's table rule by rule and appends one step each; DataError, with
    the flow table, when no stay is left."""
    for removes, keep in rules.items():
        engine.run(f"DELETE FROM {table} WHERE NOT coalesce({keep}, false)")
        add_step(flow, removes, engine.number(f"SELECT count(*) FROM {table}"))


@dataclass(frozen=True, kw_only=True)
class Cohort(LabelledSeries):
    """Stays on a regular time grid as they were measured, in clinical units.

    Attributes:
        values: NaN where nothing was measured.
        flow: the rules that led here, first to last (CONSORT style).
        notes: counts for the data card, e.g. "out-of-range values set to missing: 812".
        true_risk: P(label = k) from which a simulator drew the label; None for patients. It
            never becomes part of a split, so nothing can learn from it: it says what is possible.

    Raises:
        DataError: as LabelledSeries; and a measured value is infinite.
    """

    flow: tuple[FlowStep, ...] = ()
    notes: tuple[str, ...] = ()
    true_risk: Float[np.ndarray, "n k"] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if np.isinf(self.values).any():
            raise DataError("a measured value is infinite; use NaN for missing")

    def with_classes(self, classes: Sequence[str] | None, key: str) -> "Cohort":
        """The same stays with other class names, in the same order; None: as they are.

        Args:
            key: the configuration key that gave them, for the message.

        Raises:
            DataError: not as many names as classes.
        """
        if classes is None:
            return self
        if len(classes) != len(self.label_names):
            raise DataError(
                f"{key}={list(classes)}, but the labels are {', '.join(self.label_names)}; name "
                "every class once, in this order"
            )
        return replace(self, label_names=tuple(classes))

    def remove(self, rules: dict[str, np.ndarray]) -> "Cohort":
        """The stays that no rule removes; every rule that removes some gets a row in the flow.

        Args:
            rules: per rule, in order of application, True for the stays it removes.
        """
        keep = np.ones(len(self), bool)
        flow = list(self.flow)
        for rule, hit in rules.items():
            removed = int((hit & keep).sum())
            keep &= ~hit
            if removed:
                flow.append(FlowStep(rule, removed, int(keep.sum())))
        return replace(self.take(np.flatnonzero(keep)), flow=tuple(flow))


def is_measured(values: Float[np.ndarray, "n channel time"]) -> Bool[np.ndarray, " n"]:
    """True for the stays with at least one value."""
    return np.array([not np.isnan(stay).all() for stay in values], bool)


def require_float32(
    values: Float[np.ndarray, "n channel time"], names: Sequence[str], where: str
) -> None:
    """Refuses values whose differences single precision would lose.

    Args:
        values: in double precision, NaN where nothing was measured.

    Raises:
        DataError: rounding would move a channel by more than 1 % of its standard deviation.
    """
    for k, name in enumerate(names):
        channel = values[:, k][~np.isnan(values[:, k])]
        if not len(channel) or np.ptp(channel) == 0:
            continue
        with np.errstate(over="ignore"):
            lost = np.abs(channel.astype(np.float32).astype(np.float64) - channel).max()
        if not lost <= 0.01 * channel.std():
            raise DataError(
                f"{where}: {name} spans {channel.min():.10g}..{channel.max():.10g}, which single "
                "precision cannot hold: its differences would be lost. Subtract a constant, or "
                "choose another unit"
            )
