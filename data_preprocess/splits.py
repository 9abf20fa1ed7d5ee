"""Splits: train, val_guide, val_select and test of one experiment, disjoint by patient.

val_guide is the guidance set of the influence; val_select picks checkpoints, thresholds and
guidance strength. They are disjoint so that a choice is never made on the rows that guided.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import product

import numpy as np

from configs.runtime.errors import DataError, MismatchError
from data_preprocess.dataset import EHRDataset, require_same_task
from data_preprocess.model_space.normaliser import Normaliser

CLASS_ADVICE = (
    "each of the four splits needs a patient of every class: use larger shares, another data.seed, "
    "or fewer classes"
)
# Of series that are not equal by chance; a leak is no matter of few.
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
            split.require_all_classes(f"{name} split", CLASS_ADVICE)
        self.normaliser.require_channels(self.train, "train split")
        _require_disjoint(self.items())
        _require_other_rows(dict(self.items()))

    def items(self) -> list[tuple[str, EHRDataset]]:
        """(name, split) in the order of SPLIT_NAMES."""
        return [(name, getattr(self, name)) for name in SPLIT_NAMES]


def _require_disjoint(splits: list[tuple[str, EHRDataset]]) -> None:
    owner: dict[int, str] = {}
    for name, split in splits:
        for subject in np.unique(split.subject_ids).tolist():
            if owner.setdefault(subject, name) != name:
                row = int(np.flatnonzero(split.subject_ids == subject)[0])
                raise DataError(
                    f"the patient of row {row} of {name} is in {owner[subject]} too; splits must "
                    "be disjoint by patient - build them again with data.rebuild=true, or, where "
                    "data.files names each split, take the patient out of one file"
                )


def _require_other_rows(splits: dict[str, EHRDataset]) -> None:
    """Equal series under other patient ids: files without ids can hide a leak from the ids.

    A series of which each half occurs in another series too, as where hardly anything was measured,
    or a score of few points, can be equal by chance and does not count.
    """
    rows = {name: [_halves(row) for row in split.values] for name, split in splits.items()}
    different = set().union(*rows.values())
    times = [Counter(halves) for halves in zip(*different, strict=True)]
    own = {
        row for row in different if min(n[half] for n, half in zip(times, row, strict=True)) == 1
    }
    for seen, held_out in product(("train", "val_guide"), ("test", "val_select")):
        known = own.intersection(rows[seen])
        equal = sum(row in known for row in rows[held_out])
        if equal > MAX_EQUAL_SHARE * min(len(rows[seen]), len(rows[held_out])):
            raise MismatchError(
                f"{equal} of {len(rows[held_out])} series of {held_out} are also in {seen}, so it "
                "would measure what was learned by heart - give other files, or take out the stays "
                "that stand twice under different patients"
            )


def _halves(row: np.ndarray) -> tuple[int, int]:
    """What stands for the halves of a series in time, in little memory."""
    middle = row.shape[-1] // 2
    return hash(row[:, :middle].tobytes()), hash(row[:, middle:].tobytes())
