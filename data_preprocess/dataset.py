"""EHRDataset: one split of fixed-length series, real or synthetic; and names with units."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from configs.runtime.errors import ConfigError, DataError

Kind = TypeVar("Kind", bound="LabelledSeries")


@dataclass(frozen=True, kw_only=True)
class LabelledSeries:
    """Labelled series on one time grid, in clinical units.

    Attributes:
        values: measurements, e.g. heart rate in beats/min.
        labels: task label per stay, in [0, len(label_names)).
        subject_ids: patient key; two stays of one patient share it.
        feature_names: channel names with units ("heart_rate[bpm]"), in channel order.
        label_names: one name per class, e.g. ("survived", "died").
        static: covariates that do not change with time (age, sex, unit type), NaN where unknown;
            zero columns where the source has none.
        static_names: their names with units ("age[years]").

    Raises:
        DataError: lengths disagree, or a label is out of range; the message names the field.
    """

    values: Float[np.ndarray, "n channel time"]
    labels: Int[np.ndarray, " n"]
    subject_ids: Int[np.ndarray, " n"]
    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]
    static: Float[np.ndarray, "n static"]
    static_names: tuple[str, ...]

    def __post_init__(self) -> None:
        n, num_channels = self.values.shape[:2]
        for name in ("labels", "subject_ids", "static"):
            rows = len(getattr(self, name))
            if rows != n:
                raise DataError(f"{name} has {rows} rows but values has {n}")
        if len(self.feature_names) != num_channels:
            raise DataError(f"{len(self.feature_names)} feature names for {num_channels} channels")
        if self.static.ndim != 2 or self.static.shape[1] != len(self.static_names):
            raise DataError(
                f"static has shape {self.static.shape}, static_names has {len(self.static_names)}"
            )
        if n and not 0 <= self.labels.min() <= self.labels.max() < len(self.label_names):
            raise DataError(
                f"labels span {self.labels.min()}..{self.labels.max()}, expected "
                f"0..{len(self.label_names) - 1} ({', '.join(self.label_names)})"
            )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Classes of the task, absent ones included."""
        return len(self.label_names)

    @property
    def class_counts(self) -> Int[np.ndarray, " k"]:
        """Stays per class, absent classes included as 0."""
        return np.bincount(self.labels, minlength=self.num_classes)

    @property
    def per_class(self) -> str:
        """Such as "1,204 survived, 96 died"."""
        counts = zip(self.class_counts, self.label_names, strict=True)
        return ", ".join(of_class(f"{count:,}", name) for count, name in counts)

    def take(self: Kind, rows: Int[np.ndarray, " m"]) -> Kind:
        """The given stays, in the given order."""
        arrays = {name: value for name, value in vars(self).items() if hasattr(value, "ndim")}
        return replace(self, **{name: array[rows] for name, array in arrays.items()})


@dataclass(frozen=True, kw_only=True)
class EHRDataset(LabelledSeries):
    """One split of fixed-length EHR series, real or synthetic, in clinical units.

    Attributes:
        values: always finite.
        observed: True where measured, False where imputed; all True if synthetic.
        subject_ids: -1 if synthetic.

    Raises:
        DataError: as LabelledSeries; and a value is not finite, or an array has another type or
            shape.
    """

    observed: Bool[np.ndarray, "n channel time"]

    def __post_init__(self) -> None:
        self._check_types()
        super().__post_init__()
        self._check_values()

    @property
    def num_channels(self) -> int:
        """Channels per stay."""
        return self.values.shape[1]

    @property
    def length(self) -> int:
        """Grid points per stay."""
        return self.values.shape[2]

    @property
    def lengths(self) -> Int[np.ndarray, " n"]:
        """Grid points up to the last measurement of a stay; what lies behind it is padding."""
        measured: np.ndarray = np.any(self.observed, axis=1)
        last = self.length - measured[:, ::-1].argmax(axis=1)
        return np.where(measured.any(axis=1), last, 0)

    @property
    def is_synthetic(self) -> bool:
        """Whether no series is a patient's."""
        return bool((self.subject_ids < 0).all())

    def require_all_classes(self, where: str, advice: str) -> None:
        """Raises DataError if a class of `label_names` has no stay.

        Args:
            where: names the split or set; advice: what to do about it.
        """
        counts = self.class_counts
        absent = [name for name, count in zip(self.label_names, counts, strict=True) if not count]
        if absent:
            raise DataError(
                f"{where}: no stay of class {', '.join(absent)} (counts {counts.tolist()}); every "
                f"class is needed here - {advice}"
            )

    def _check_types(self) -> None:
        wanted = {
            "values": "f",
            "observed": "b",
            "labels": "iu",
            "subject_ids": "iu",
            "static": "f",
        }
        words = {"f": "floating", "b": "bool", "iu": "integer"}
        for name, kinds in wanted.items():
            array = getattr(self, name)
            if array.dtype.kind not in kinds:
                raise DataError(f"{name} has dtype {array.dtype}, expected {words[kinds]}")
            if array.ndim == 0:
                raise DataError(f"{name} has shape (), expected one row per stay")
        if self.values.ndim != 3 or 0 in self.values.shape[1:]:
            raise DataError(f"values has shape {self.values.shape}, expected (n, channel, time)")
        if self.observed.shape != self.values.shape:
            raise DataError(
                f"observed has shape {self.observed.shape}, values has {self.values.shape}"
            )

    def _check_values(self) -> None:
        finite = np.isfinite(self.values)
        if not finite.all():
            row, channel, step = np.argwhere(~finite)[0]
            raise DataError(
                f"values holds {int((~finite).sum())} NaN or infinite entries, first in series "
                f"{row}, channel {self.feature_names[channel]}, step {step}; impute first "
                "(data_preprocess/impute.py keeps the `observed` mask)"
            )
        if len(set(self.feature_names)) != self.num_channels:
            raise DataError(f"feature names repeat: {self.feature_names}")


def patient_strata(
    subject_ids: Int[np.ndarray, " n"] | None, labels: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " patient"]]:
    """(patient of every row, numbered as they appear; of each patient the label that is rarest
    among all rows). A row whose patient is not known (None, or -1 as in synthetic sets) counts as a
    patient of its own."""
    own = -1 - np.arange(len(labels))
    ids = own if subject_ids is None else np.where(subject_ids < 0, own, subject_ids)
    member = pd.factorize(ids)[0]
    by_count = np.argsort(-np.bincount(labels), kind="stable")  # labels, common to rare
    rarest = np.zeros(member.max(initial=-1) + 1, np.int64)
    np.maximum.at(rarest, member, np.argsort(by_count)[labels])
    return member, by_count[rarest]


def is_number(label: str) -> bool:
    """Whether a class is called by a whole number."""
    return label.removeprefix("-").isdecimal()


def of_class(amount: str, label: str) -> str:
    """Such as "96 died"; "96 labelled 1" where the class is called by a number."""
    return f"{amount} labelled {label}" if is_number(label) else f"{amount} {label}"


def concatenate(first: EHRDataset, second: EHRDataset) -> EHRDataset:
    """The stays of both sets, first before second.

    Raises:
        DataError: channels, classes or lengths differ. Static covariates are kept only if both sets
            have the same ones.
    """
    require_same_task(first, second, "concatenate")
    if first.static_names != second.static_names:
        first, second = (
            replace(part, static=np.zeros((len(part), 0), np.float32), static_names=())
            for part in (first, second)
        )
    arrays = {name: value for name, value in vars(second).items() if hasattr(value, "ndim")}
    return replace(
        first, **{name: np.concatenate([getattr(first, name), a]) for name, a in arrays.items()}
    )


def require_same_task(first: EHRDataset, second: EHRDataset, where: str) -> None:
    """Raises DataError unless channels, classes and lengths agree; `where` opens the message."""
    for name in ("feature_names", "label_names", "length"):
        left, right = getattr(first, name), getattr(second, name)
        if left != right:
            raise DataError(f"{where}: {name} differ: {left} against {right}")


def bare_name(name: str) -> str:
    """The name without its unit: "heart_rate[bpm]", "heart_rate [bpm]" -> "heart_rate"."""
    return name.split("[", 1)[0].strip()


def unit_of(name: str) -> str:
    """The unit in a name: "heart_rate[bpm]" -> "bpm"; empty where it has none."""
    return name.split("[", 1)[1].removesuffix("]") if "[" in name else ""


def index_of(name: str, known: Sequence[str], what: str) -> int:
    """Position of a name given with or without its unit.

    Raises:
        ConfigError: no such name, or several without their units; `what` opens the message.
    """
    bare = [bare_name(full) for full in known]
    if name in known:
        return list(known).index(name)
    if bare.count(name) > 1:
        meant = " and ".join(full for full in known if bare_name(full) == name)
        raise ConfigError(f"{what}: {name!r} may be {meant}; give the name with its unit")
    if name in bare:
        return bare.index(name)
    raise ConfigError(f"{what}: no {name!r} in these data; there is {', '.join(bare) or 'none'}")
