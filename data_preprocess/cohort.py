"""Cohort: what a reader of raw data returns, before splitting and imputation."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from configs.runtime.errors import DataError


@dataclass(frozen=True)
class FlowStep:
    """One row of the flow table: a rule, how many stays it removed and how many were left."""

    rule: str
    removed: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Stays on a regular time grid as they were measured, in clinical units.

    Attributes:
        values: measurements; NaN where nothing was measured.
        labels: task label per stay, in [0, len(label_names)).
        subject_ids: patient key; two stays of one patient share it.
        feature_names: channel names with units ("heart_rate[bpm]"), in channel order.
        label_names: one name per class, e.g. ("survived", "died").
        static: covariates that do not change with time (age, sex, unit type), NaN if unknown.
        static_names: their names with units ("age[years]").
        flow: the rules that led here, first to last (CONSORT style).
        notes: counts for the data card, e.g. "out-of-range values set to missing: 812".
        true_risk: P(label = k) from which a simulator drew the label; None for patients. It
            never becomes part of a split, so nothing can learn from it: it says what is possible.

    Raises:
        DataError: lengths disagree, a label is out of range or a measured value is infinite.
    """

    values: Float[np.ndarray, "n channel time"]
    labels: Int[np.ndarray, " n"]
    subject_ids: Int[np.ndarray, " n"]
    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]
    static: Float[np.ndarray, "n static"]
    static_names: tuple[str, ...]
    flow: tuple[FlowStep, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())
    true_risk: Float[np.ndarray, "n k"] | None = None

    def __post_init__(self) -> None:
        n, num_channels, _ = self.values.shape
        for name in ("labels", "subject_ids", "static"):
            rows = len(getattr(self, name))
            if rows != n:
                raise DataError(f"cohort: {name} has {rows} rows but values has {n}")
        if len(self.feature_names) != num_channels:
            raise DataError(
                f"cohort: {len(self.feature_names)} feature names for {num_channels} channels"
            )
        if self.static.shape[1] != len(self.static_names):
            raise DataError(
                f"cohort: {len(self.static_names)} static names for {self.static.shape[1]} columns"
            )
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.label_names):
            raise DataError(
                f"cohort: labels span {self.labels.min()}..{self.labels.max()}, expected "
                f"0..{len(self.label_names) - 1} ({', '.join(self.label_names)})"
            )
        if np.isinf(self.values).any():
            raise DataError("cohort: a measured value is infinite; use NaN for missing")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, rows: Int[np.ndarray, " m"]) -> "Cohort":
        """The given stays, in the given order; flow and notes are kept."""
        return replace(
            self,
            values=self.values[rows],
            labels=self.labels[rows],
            subject_ids=self.subject_ids[rows],
            static=self.static[rows],
            true_risk=None if self.true_risk is None else self.true_risk[rows],
        )

    def with_classes(self, classes: "Sequence[str] | None", key: str) -> "Cohort":
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

    def remove(self, rules: "dict[str, np.ndarray]") -> "Cohort":
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
