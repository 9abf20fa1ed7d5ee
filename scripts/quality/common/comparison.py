"""Comparison: a synthetic set beside real series it was learned from and others it never saw.

Every fidelity and privacy metric is a function of one Comparison. Held-out real series give each
metric its reference: what they score is what a perfect generator would score.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from configs.runtime.errors import DataError
from data_preprocess.dataset import EHRDataset, require_same_task
from data_preprocess.model_space.normaliser import Normaliser
from tardiff.privacy.memorisation import nearest, telling

MIN_SERIES = 20  # fewer leave nearest neighbours, covariances and folds without meaning
MIN_LENGTH = 4  # next-step and lag metrics need a few grid points
# Share of series, above chance, whose nearest other one is the same patient's; from there on series
# of a patient count as alike. The hospitals that are the "patients" of the eICU demo have 0.04.
ALIKE = 0.1
MAX_ALIKE_ROWS = 1000
FEW_PATIENTS = "few_patients"  # patients in the smaller real set, where they are too few


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Three sets of one task, in clinical units and in model space.

    Attributes:
        train: real series the generator was fitted on.
        holdout: real series, of other patients, that it never saw.
        synthetic: the set that is compared.
        x_train, x_holdout, x_synthetic: their values in model space.
        normaliser: of the training data; made the values in model space.
        x_telling: those of `x_train` of which a copy would tell
            (tardiff/privacy/memorisation.py), also where that is cut to one series per patient.
    """

    train: EHRDataset
    holdout: EHRDataset
    synthetic: EHRDataset
    x_train: Float[Tensor, "n1 channel time"]
    x_holdout: Float[Tensor, "n2 channel time"]
    x_synthetic: Float[Tensor, "n3 channel time"]
    normaliser: Normaliser
    x_telling: Float[Tensor, "n4 channel time"]

    @property
    def matched_size(self) -> int:
        """Series in the smallest of the three sets: the fair size for metrics biased by size."""
        return min(len(self.train), len(self.holdout), len(self.synthetic))

    def matched(self, most: int, seed: int) -> "Comparison":
        """Equally many random series of every set, `most` at the most."""
        size = min(most, self.matched_size)
        parts: dict[str, Any] = {}
        for name in ("train", "holdout", "synthetic"):
            parts[f"x_{name}"], parts[name] = self.drawn(name, size, seed)
        return replace(self, **parts)

    def drawn(self, name: str, size: int, seed: int) -> tuple[Tensor, EHRDataset]:
        """At most `size` random series of the set `name`: in model space, and as on disk."""
        dataset = getattr(self, name)
        rows = draw(len(dataset), size, seed)
        return getattr(self, f"x_{name}")[rows], dataset.take(rows)


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
    for name, dataset in (("train", train), ("holdout", holdout), ("synthetic", synthetic)):
        normaliser.require_channels(dataset, f"metrics, {name} set")
    x_train = normaliser.to_model(train.values)
    return Comparison(
        train=train,
        holdout=holdout,
        synthetic=synthetic,
        x_train=x_train,
        x_holdout=normaliser.to_model(holdout.values),
        x_synthetic=normaliser.to_model(synthetic.values),
        normaliser=normaliser,
        x_telling=telling(train, normaliser),
    )


def series_are_alike(dataset: EHRDataset, x: Float[Tensor, "n channel time"]) -> bool:
    """Whether series of one patient are nearer to each other than to those of others (ALIKE)."""
    rows = _whole_patients(dataset.subject_ids, MAX_ALIKE_ROWS)
    subjects, flat = dataset.subject_ids[rows], x[rows].flatten(1)
    counts = np.unique(subjects, return_counts=True)[1]
    if counts.max() == 1:
        return False
    other = nearest(flat, flat, exclude_self=True)[1][:, 0].numpy()
    chance = (counts * (counts - 1)).sum() / (len(rows) * (len(rows) - 1))
    return bool((subjects[other] == subjects).mean() > chance + ALIKE)


def _whole_patients(subjects: Int[np.ndarray, " n"], most: int) -> Int[np.ndarray, " m"]:
    """Rows of random patients, all of each, until there are about `most`; of MIN_SERIES patients
    with more than that, some."""
    patients, owner = np.unique(subjects, return_inverse=True)
    place = np.random.default_rng(0).permutation(len(patients))[owner]
    rows = np.flatnonzero(place <= max(np.sort(place)[:most][-1], MIN_SERIES - 1))
    return rows if len(rows) <= 2 * most else rows[draw(len(rows), most, seed=0)]


def independent_rows(
    dataset: EHRDataset, x: Float[Tensor, "n channel time"], seed: int
) -> Int[np.ndarray, " m"]:
    """All rows, ascending; where series of a patient are alike, one random one of every patient."""
    if not series_are_alike(dataset, x):
        return np.arange(len(dataset))
    order = np.random.default_rng(seed).permutation(len(dataset))
    return np.sort(order[np.unique(dataset.subject_ids[order], return_index=True)[1]])


def independent(comparison: Comparison, seed: int) -> tuple[Comparison, dict[str, float]]:
    """The comparison with real series that are independent of each other.

    Where series of a patient are alike, an attacker or a discriminator that knows one of them knows
    the others; whatever the synthetic set holds, that looks like a leak or a difference. So every
    patient is left with one series. Where fewer than MIN_SERIES patients are left in a set, both
    are as they were, and the smaller number is given under FEW_PATIENTS.
    """
    real = {"train": comparison.train, "holdout": comparison.holdout}
    x = {"train": comparison.x_train, "holdout": comparison.x_holdout}
    rows = {name: independent_rows(dataset, x[name], seed) for name, dataset in real.items()}
    fewest = min(map(len, rows.values()))
    if fewest < MIN_SERIES:
        return comparison, {FEW_PATIENTS: float(fewest)}
    kept: dict[str, Any] = {name: dataset.take(rows[name]) for name, dataset in real.items()}
    kept |= {f"x_{name}": series[rows[name]] for name, series in x.items()}
    return replace(comparison, **kept), {}


def draw(total: int, size: int, seed: int) -> Int[np.ndarray, " m"]:
    """`min(total, size)` distinct row numbers below `total`, ascending; all rows if they fit."""
    if size >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, size=size, replace=False))
