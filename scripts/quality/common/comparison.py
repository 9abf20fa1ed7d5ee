"""Comparison: a synthetic set beside real series it was learned from and others it never saw.

Every fidelity and privacy metric is a function of one Comparison. Held-out real series give each
metric its reference: what they score is what a perfect generator would score.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from configs.runtime.errors import DataError
from data_preprocess.dataset import EHRDataset, require_same_task
from data_preprocess.model_space.normaliser import Normaliser
from tardiff.privacy.alike_series import series_are_alike
from tardiff.privacy.memorisation import telling

MIN_SERIES = 20  # fewer leave nearest neighbours, covariances and folds without meaning
MIN_LENGTH = 4  # next-step and lag metrics need a few grid points
FEW_PATIENTS = "few_patients"  # patients in the smaller real set, where they are too few


@dataclass(frozen=True)
class Side:
    """One set of a comparison: as on disk, and its values in model space."""

    data: EHRDataset
    x: Float[Tensor, "n channel time"]

    def __len__(self) -> int:
        return len(self.data)

    @property
    def flat(self) -> Float[Tensor, "n entry"]:
        """`x` with one row a series."""
        return self.x.flatten(1)

    def take(self, rows: Int[np.ndarray, " m"]) -> "Side":
        """The series of these rows."""
        return Side(self.data.take(rows), self.x[rows])

    def draw(self, size: int, seed: int) -> "Side":
        """At most `size` random series."""
        return self.take(draw(len(self), size, seed))


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Three sets of one task.

    Attributes:
        train: real series the generator was fitted on.
        holdout: real series, of other patients, that it never saw.
        synthetic: the set that is compared.
        normaliser: of the training data; made the values in model space.
        x_telling: values in model space of the series of train of which a copy would tell
            (tardiff/privacy/memorisation.py), also where that is cut to one series per patient.
    """

    train: Side
    holdout: Side
    synthetic: Side
    normaliser: Normaliser
    x_telling: Float[Tensor, "n4 channel time"]

    @property
    def sides(self) -> dict[str, Side]:
        """The three sets by name."""
        return {"train": self.train, "holdout": self.holdout, "synthetic": self.synthetic}

    @property
    def matched_size(self) -> int:
        """Series in the smallest of the three sets: the fair size for metrics biased by size."""
        return min(map(len, self.sides.values()))

    def matched(self, most: int, seed: int) -> "Comparison":
        """Equally many random series of every set, `most` at the most."""
        size = min(most, self.matched_size)
        return replace(self, **{k: side.draw(size, seed) for k, side in self.sides.items()})


def require_comparable(train: EHRDataset, holdout: EHRDataset, synthetic: EHRDataset) -> None:
    """Raises DataError unless the sets have the same channels, classes and length, and enough
    series and steps for the metrics."""
    for name, dataset in (("train", train), ("holdout", holdout), ("synthetic", synthetic)):
        require_same_task(train, dataset, f"metrics, train against {name}")
        if len(dataset) < MIN_SERIES:
            raise DataError(
                f"metrics: the {name} set has {len(dataset)} series, at least {MIN_SERIES} are "
                "needed"
            )
    if train.length < MIN_LENGTH:
        raise DataError(f"metrics: series of {train.length} steps, at least {MIN_LENGTH} needed")


def make_comparison(
    train: EHRDataset, holdout: EHRDataset, synthetic: EHRDataset, normaliser: Normaliser
) -> Comparison:
    """The three sets, checked to belong together.

    Raises:
        DataError: as in `require_comparable`.
        MismatchError: the normaliser was fitted on other channels.
    """
    require_comparable(train, holdout, synthetic)
    normaliser.require_channels(train, "metrics, train set")
    sets = {"train": train, "holdout": holdout, "synthetic": synthetic}
    return Comparison(
        **{name: Side(each, normaliser.to_model(each.values)) for name, each in sets.items()},
        normaliser=normaliser,
        x_telling=telling(train, normaliser),
    )


def of_unlike_series(side: Side, seed: int) -> Side:
    """All series; where series of a patient are alike, one random one of every patient."""
    if not series_are_alike(side.flat, side.data.subject_ids):
        return side
    order = np.random.default_rng(seed).permutation(len(side))
    first = np.unique(side.data.subject_ids[order], return_index=True)[1]
    return side.take(np.sort(order[first]))


def independent(comparison: Comparison, seed: int) -> tuple[Comparison, dict[str, float]]:
    """The comparison with real series that are independent of each other: alike ones of a patient
    look like a leak or a difference, whatever the synthetic set holds.

    Where fewer than MIN_SERIES patients are left in a set, both are as they were, and the smaller
    number is given under FEW_PATIENTS.
    """
    train, holdout = (of_unlike_series(s, seed) for s in (comparison.train, comparison.holdout))
    fewest = min(len(train), len(holdout))
    if fewest < MIN_SERIES:
        return comparison, {FEW_PATIENTS: float(fewest)}
    return replace(comparison, train=train, holdout=holdout), {}


def draw(total: int, size: int, seed: int) -> Int[np.ndarray, " m"]:
    """`min(total, size)` distinct row numbers below `total`, ascending; all rows if they fit."""
    if size >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, size=size, replace=False))
