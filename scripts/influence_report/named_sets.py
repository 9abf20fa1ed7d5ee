"""named_sets: the labelled sets whose influence is asked for, real splits or files."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from configs.runtime.atomic_files import write_text
from configs.runtime.errors import ConfigError
from data_preprocess.dataset import EHRDataset
from data_preprocess.splits import SPLIT_NAMES, Splits
from scripts.external_sets import set_name
from scripts.synthetic_sets import load_set


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
    def ranks(self) -> np.ndarray:
        """1 for the most helpful series."""
        ranks = np.empty(len(self.influence), np.int64)
        ranks[np.argsort(-self.influence, kind="stable")] = np.arange(1, len(ranks) + 1)
        return ranks

    def ends(self, top: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers of the `top` highest (best first) and lowest (worst first)."""
        order = np.argsort(-self.influence, kind="stable")
        return order[:top], order[::-1][:top]


def named_sets(
    items: Sequence[str], splits: Splits, *, allow_test: bool, step_minutes: float
) -> dict[str, tuple[bool, EHRDataset]]:
    """(real, series) of every set of `items`, names of splits or paths of files.

    Raises:
        ConfigError: the test split is named without `allow_test`, two sets have one name, or
            none is named.
        UserError: a file is missing or does not fit; see `scripts.synthetic_sets.load_set`.
    """
    if not items:
        raise ConfigError("influence_report.sets=[]: name a split or a file, set=train for example")
    found: dict[str, tuple[bool, EHRDataset]] = {}
    for item in items:
        if item == "test" and not allow_test:
            raise ConfigError(
                "influence_report.sets names the test split: looking at which test patients help "
                "is the first step of choosing on them. If you mean it, "
                "influence_report.allow_test=true"
            )
        real = item in SPLIT_NAMES
        name = item if real else set_name(Path(item))
        if name in found or (not real and name in SPLIT_NAMES):
            raise ConfigError(f"influence_report.sets: {name!r} names two sets; rename a file")
        data = (
            getattr(splits, item)
            if real
            else load_set(Path(item), splits, step_minutes=step_minutes)
        )
        found[name] = (real, data)
    return found


def write_ranking(path: Path, ranked: RankedSet) -> None:
    """One line per series: row, label, influence, rank, loss. Rows count from 0 in the set."""
    labels = np.array(ranked.data.label_names)[ranked.data.labels]
    columns = zip(labels, ranked.influence, ranked.ranks, ranked.loss, strict=True)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "label", "influence", "rank", "loss"])
    for row, (label, influence, rank, loss) in enumerate(columns):
        writer.writerow([row, label, f"{influence:.6g}", rank, f"{loss:.6g}"])
    write_text(path, text.getvalue())


def rows_per_class(labels: torch.Tensor, most: int, seed: int) -> torch.Tensor:
    """At most `most` random rows of every class, ascending."""
    rng = np.random.default_rng(seed)
    chosen = [
        rng.permutation(np.flatnonzero(labels.numpy() == k))[:most]
        for k in labels.unique().tolist()
    ]
    return torch.from_numpy(np.sort(np.concatenate(chosen)))
