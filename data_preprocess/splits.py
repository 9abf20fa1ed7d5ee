"""Splits by patient: train / val_guide / val_select / test, stratified, seeded and disjoint.

val_guide is the guidance set of the influence; val_select picks checkpoints, thresholds and
guidance strength. They are disjoint so that a choice is never made on the rows that guided.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from configs.runtime.errors import DataError, MismatchError
from data_preprocess.dataset import EHRDataset, require_same_task
from data_preprocess.model_space.normaliser import Normaliser

# Series of which hardly anything was measured can be equal by chance; a leak is no matter of few.
MAX_EQUAL_SHARE = 0.1
SPLIT_NAMES = ("train", "val_guide", "val_select", "test")


@dataclass(frozen=True, kw_only=True)
class Splits:
    """The four splits of one experiment and the map to model space they share.

    Attributes:
        train, val_guide, val_select, test: disjoint by patient, in clinical units.
        normaliser: fitted on the measured entries of train.
        fingerprint: SHA-256 of the content; equal data have equal fingerprints.

    Raises:
        DataError: a patient is in two splits, channels, classes or lengths differ, or a class
            has no stay in one of the splits.
        MismatchError: the normaliser was fitted on other channels, or guidance rows stand in a
            split that evaluates.
    """

    train: EHRDataset
    val_guide: EHRDataset
    val_select: EHRDataset
    test: EHRDataset
    normaliser: Normaliser
    fingerprint: str

    def __post_init__(self) -> None:
        for name, split in self.items():
            require_same_task(self.train, split, f"train against {name}")
            split.require_all_classes(f"{name} split")
        self.normaliser.require_channels(self.train, "train split")
        _require_disjoint(self.items())
        for held_out in (self.test, self.val_select):
            _require_other_rows(self.val_guide, held_out)

    def items(self) -> list[tuple[str, EHRDataset]]:
        """(name, split) in the order of SPLIT_NAMES."""
        return [(name, getattr(self, name)) for name in SPLIT_NAMES]


def split_by_subject(
    subject_ids: Int[np.ndarray, " n"],
    labels: Int[np.ndarray, " n"],
    *,
    held_out: dict[str, float | int],
    train_size: int | None = None,
    seed: int,
    eligible: Mapping[str, Bool[np.ndarray, " n"]] | None = None,
) -> dict[str, Int[np.ndarray, " m"]]:
    """Row numbers per split, ascending; no patient is in two splits.

    Patients are stratified by the largest label among their stays, shuffled with `seed`, and
    dealt to the held-out splits in the given order; what is left is train.

    Args:
        held_out: per split, a share of all stays (float in [0, 1)) or a number of stays (int).
            A split is filled with whole patients, so it can fall short by less than one patient's
            stays per stratum, never exceed.
        train_size: subsample train, again by patient, to at most this many stays.
        eligible: per split, the stays that may enter it (all where a split is not named); shares
            are of these. A patient enters a split only with all of their stays.

    Raises:
        DataError: the sizes ask for more stays than there are.
    """
    patients, member = np.unique(subject_ids, return_inverse=True)
    stays = np.bincount(member, minlength=len(patients))
    strata = np.zeros(len(patients), np.int64)
    np.maximum.at(strata, member, labels)
    free = np.random.default_rng(seed).permutation(len(patients))
    may = {
        name: (eligible or {}).get(name, np.ones(len(labels), bool))
        for name in (*held_out, "train")
    }
    chosen: dict[str, np.ndarray] = {}
    for name, wanted in held_out.items():
        size = wanted if isinstance(wanted, int) else round(wanted * int(may[name].sum()))
        own = free[_whole(may[name], member)[free]]
        chosen[name] = _deal(own, stays, strata, size, name)
        free = free[~np.isin(free, chosen[name])]
    free = free[_whole(may["train"], member)[free]]
    chosen["train"] = (
        free if train_size is None else _deal(free, stays, strata, train_size, "train")
    )
    return {name: np.flatnonzero(np.isin(member, chosen[name])) for name in ("train", *held_out)}


def _whole(
    may: Bool[np.ndarray, " n"], member: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, " patient"]:
    """Patients all of whose stays may enter."""
    whole = np.ones(int(member.max()) + 1, bool)
    np.logical_and.at(whole, member, may)
    return whole


def _deal(
    free: Int[np.ndarray, " p"],
    stays: Int[np.ndarray, " q"],
    strata: Int[np.ndarray, " q"],
    size: int,
    name: str,
) -> Int[np.ndarray, " r"]:
    """Patients for a split of `size` stays, drawn from `free` in its order, per stratum."""
    available = int(stays[free].sum())
    if size > available:
        raise DataError(
            f"{name} split: {size} stays wanted but only {available} are left in the pool after "
            "the splits dealt before it - ask for fewer or add data"
        )
    totals = np.bincount(strata[free], weights=stays[free])
    quotas = _apportion(totals, size)
    taken = [
        _fill(free[strata[free] == stratum], stays, int(quota))
        for stratum, quota in enumerate(quotas)
    ]
    return np.concatenate(taken)


def _apportion(totals: np.ndarray, size: int) -> Int[np.ndarray, " stratum"]:
    """`size` shared among strata in proportion to `totals`, by largest remainder.

    A stratum that has patients gets at least one stay where the split has room for it: a rare
    class must not vanish from a small split by rounding.
    """
    exact = size * totals / max(totals.sum(), 1)
    quotas = np.floor(exact).astype(np.int64)
    order = np.argsort(quotas - exact, kind="stable")
    quotas[order[: size - quotas.sum()]] += 1
    for stratum in np.flatnonzero((quotas == 0) & (totals > 0)):
        largest = int(quotas.argmax())
        if quotas[largest] > 1:
            quotas[largest] -= 1
            quotas[stratum] += 1
    return quotas


def _fill(
    patients: Int[np.ndarray, " p"], stays: Int[np.ndarray, " q"], quota: int
) -> Int[np.ndarray, " r"]:
    """The first patients that fit into `quota` stays, larger ones skipped once they do not fit."""
    taken, left = [], quota
    for patient in patients:
        if left == 0:
            break
        if stays[patient] <= left:
            taken.append(patient)
            left -= stays[patient]
    return np.array(taken, np.int64)


def _require_disjoint(splits: list[tuple[str, EHRDataset]]) -> None:
    owner: dict[int, str] = {}
    for name, split in splits:
        for subject in np.unique(split.subject_ids).tolist():
            if owner.setdefault(subject, name) != name:
                row = int(np.flatnonzero(split.subject_ids == subject)[0])
                raise DataError(
                    f"the patient of row {row} of {name} is in {owner[subject]} too; splits must "
                    "be disjoint by patient - build them again with data.rebuild=true"
                )


def _require_other_rows(guide: EHRDataset, held_out: EHRDataset) -> None:
    """Equal series under other patient ids: files without ids can hide a leak from the ids."""
    known = {row.tobytes() for row in held_out.values}
    equal = sum(row.tobytes() in known for row in guide.values)
    if equal > MAX_EQUAL_SHARE * len(guide):
        raise MismatchError(
            f"{equal} of {len(guide)} guidance rows (val_guide) are also in val_select or test: "
            "guidance would raise the score that measures it - give other files, or build the "
            "splits again with data.rebuild=true"
        )
