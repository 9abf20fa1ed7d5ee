"""named_sets: the labelled sets whose influence is asked for, real splits or files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from configs.runtime.errors import ConfigError
from data_preprocess.dataset import EHRDataset
from data_preprocess.splits import SPLIT_NAMES, Splits
from scripts.external_sets import set_name
from scripts.synthetic_sets import load_set

SHOWN = 5  # series of highest and of lowest influence that are listed and drawn


@dataclass(frozen=True)
class RankedSet:
    """A set with the influence of every series.

    Attributes:
        name: the split, or the file name without suffixes.
        real: whether it holds patients.
        data: the series, clinical units.
        influence: one value per series; the higher, the more training on it helps.
        loss: of the classifier, per series.
    """

    name: str
    real: bool
    data: EHRDataset
    influence: np.ndarray
    loss: np.ndarray

    @property
    def table(self) -> pd.DataFrame:
        """row (from 0 in the set), label, influence, rank (1: most helpful), loss per series."""
        influence = pd.Series(self.influence)
        return pd.DataFrame(
            {
                "row": np.arange(len(influence)),
                "label": np.array(self.data.label_names)[self.data.labels],
                "influence": influence,
                "rank": influence.rank(ascending=False, method="first").astype(int),
                "loss": self.loss.astype(np.float64),
            }
        )

    def ends(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """The rows of the table of the SHOWN highest and of the SHOWN lowest, best first."""
        ordered = self.table.sort_values("rank")
        return ordered.head(SHOWN), ordered.tail(SHOWN)


def named_sets(
    items: Sequence[str], splits: Splits, *, step_minutes: float
) -> dict[str, tuple[bool, EHRDataset]]:
    """(real, series) of every set of `items`, names of splits or paths of files.

    Raises:
        ConfigError: the test split is named, two sets have one name, or none is named.
        UserError: a file is missing or does not fit; see `scripts.synthetic_sets.load_set`.
    """
    if not items:
        raise ConfigError("influence_report.sets=[]: name a split or a file, set=train for example")
    found: dict[str, tuple[bool, EHRDataset]] = {}
    for item in items:
        if item == "test":
            raise ConfigError(
                "influence_report.sets names the test split: looking at which test patients help "
                "is the first step of choosing on them. Name train, val_guide or val_select"
            )
        real = item in SPLIT_NAMES
        name = item if real else set_name(Path(item))
        if name in found or (not real and name in SPLIT_NAMES):
            raise ConfigError(f"influence_report.sets: {name!r} names two sets; rename a file")
        path = Path(item)
        data = getattr(splits, item) if real else load_set(path, splits, step_minutes=step_minutes)
        found[name] = (real, data)
    return found
