"""Trio: a synthetic set beside the real stays it was learned from and real stays it never saw.

Every fidelity and privacy metric is a function of one Trio. The two real sets make each metric its
own yardstick: what held-out real stays score is what a perfect generator would score.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from configs.runtime.errors import DataError
from data_preprocess.dataset import EHRDataset, require_same_task
from data_preprocess.model_space.normaliser import Normaliser

MIN_STAYS = 20  # fewer leave nearest neighbours, covariances and folds without meaning
MIN_LENGTH = 4  # next-step and lag metrics need a few grid points


@dataclass(frozen=True, kw_only=True)
class Trio:
    """Three sets of one task, in clinical units and in model space.

    Attributes:
        train: real stays the generator was fitted on.
        holdout: real stays, of other patients, that it never saw.
        synthetic: the set to judge.
        x_train, x_holdout, x_synthetic: their values in model space.
    """

    train: EHRDataset
    holdout: EHRDataset
    synthetic: EHRDataset
    x_train: Float[Tensor, "n1 channel time"]
    x_holdout: Float[Tensor, "n2 channel time"]
    x_synthetic: Float[Tensor, "n3 channel time"]

    @property
    def matched_size(self) -> int:
        """Stays in the smallest of the three sets: the fair size for metrics biased by size."""
        return min(len(self.train), len(self.holdout), len(self.synthetic))


def make_trio(
    train: EHRDataset, holdout: EHRDataset, synthetic: EHRDataset, normaliser: Normaliser
) -> Trio:
    """The three sets, checked to belong together.

    Raises:
        DataError: channels, classes or lengths differ, or a set is too small to be judged.
        MismatchError: the normaliser was fitted on other channels.
    """
    for name, dataset in (("train", train), ("holdout", holdout), ("synthetic", synthetic)):
        require_same_task(train, dataset, f"metrics, train against {name}")
        normaliser.require_channels(dataset, f"metrics, {name} set")
        if len(dataset) < MIN_STAYS:
            raise DataError(
                f"metrics: the {name} set has {len(dataset)} stays, at least {MIN_STAYS} are needed"
            )
    if train.length < MIN_LENGTH:
        raise DataError(f"metrics: series of {train.length} steps, at least {MIN_LENGTH} needed")
    return Trio(
        train=train,
        holdout=holdout,
        synthetic=synthetic,
        x_train=normaliser.to_model(train.values),
        x_holdout=normaliser.to_model(holdout.values),
        x_synthetic=normaliser.to_model(synthetic.values),
    )


def draw(total: int, size: int, seed: int) -> Int[np.ndarray, " m"]:
    """`min(total, size)` distinct row numbers below `total`, ascending; all rows if they fit."""
    if size >= total:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, size=size, replace=False))
