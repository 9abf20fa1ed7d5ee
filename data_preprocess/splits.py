"""Splits: train, val_guide, val_select and test of one experiment, disjoint by patient.

val_guide is the guidance set of the influence; val_select picks checkpoints, thresholds and
guidance strength. They are disjoint so that a choice is never made on the rows that guided.
"""

from dataclasses import dataclass

import numpy as np

from configs.runtime.errors import DataError, MismatchError
from data_preprocess.dataset import EHRDataset, require_same_task
from data_preprocess.model_space.normaliser import Normaliser

CLASS_ADVICE = (
    "each of the four splits needs a patient of every class: use larger shares, another data.seed, "
    "or fewer classes"
)
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
            split.require_all_classes(f"{name} split", CLASS_ADVICE)
        self.normaliser.require_channels(self.train, "train split")
        _require_disjoint(self.items())
        for seen in ("train", "val_guide"):
            for held_out in ("test", "val_select"):
                _require_other_rows(seen, getattr(self, seen), held_out, getattr(self, held_out))

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


def _require_other_rows(
    seen_name: str, seen: EHRDataset, held_out_name: str, held_out: EHRDataset
) -> None:
    """Equal series under other patient ids: files without ids can hide a leak from the ids."""
    known = {row.tobytes() for row in seen.values}
    equal = sum(row.tobytes() in known for row in held_out.values)
    if equal > MAX_EQUAL_SHARE * min(len(seen), len(held_out)):
        raise MismatchError(
            f"{equal} of {len(held_out)} series of {held_out_name} are also in {seen_name}, so it "
            "would measure what was learned by heart - give other files, or build the splits "
            "again with data.rebuild=true"
        )
