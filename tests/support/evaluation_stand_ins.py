"""Small data and a fast, recording fitter for the tests of stage 4."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from classifier.training import FitRecipe
from data_preprocess.model_space.normaliser import Normaliser
from scripts.utility.downstream import Downstream
from scripts.utility.protocols import EncodedArrays, EvaluationData

NUM_TRAIN = 60
# Of the two channels of `make_series`.
NORMALISER = Normaliser(
    kind="zscore",
    feature_names=("heart_rate[bpm]", "resp_rate[/min]"),
    knots=(((60.0, 100.0), (-1.0, 1.0)), ((12.0, 20.0), (-1.0, 1.0))),
    low=(30.0, 5.0),
    high=(200.0, 40.0),
    clip=6.0,
)


def make_series(seed: int, rows: int, shift: float = 1.0) -> EncodedArrays:
    """Two channels, five steps, a quarter positive, shifted by `shift` where positive."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 4 == 0
    x = rng.normal(size=(rows, 2, 5)) + shift * y[:, None, None]
    return EncodedArrays(x=x.astype(np.float32), y=y.astype(np.int64))


def make_data(test_seed: int = 2) -> EvaluationData:
    return EvaluationData(
        train=make_series(0, NUM_TRAIN),
        guide=make_series(5, 20),
        select=make_series(1, 40),
        test=make_series(test_seed, 80),
        synthetic={
            "unguided": make_series(3, 100, shift=0.3),
            "influence": make_series(4, 100, shift=0.8),
        },
        num_classes=2,
    )


@dataclass(frozen=True)
class MeanFitter(Downstream):
    """Scores a series by its projection on the difference of class means; records every fit."""

    model: str = "rnn"
    recipe: FitRecipe = field(default_factory=FitRecipe)
    num_classes: int = 2
    normaliser: Normaliser = NORMALISER
    calls: list[dict[str, Any]] = field(default_factory=list)
    version: int = 0
    fail_after: int | None = None
    error: BaseException = field(default_factory=KeyboardInterrupt)

    def describe(self, name: str) -> dict[str, Any]:
        return {"name": name, "version": self.version}

    def fit(self, name, train, select, *, seed, class_weight=None):
        if self.fail_after is not None and len(self.calls) >= self.fail_after:
            raise self.error
        self.calls.append(
            {
                "name": name,
                "train": train,
                "select": select,
                "seed": seed,
                "class_weight": class_weight,
            }
        )
        x, y = train
        direction = x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
        direction = direction + 0.01 * np.random.default_rng(seed).normal(size=direction.shape)

        def predict(series: np.ndarray) -> np.ndarray:
            p = 1 / (1 + np.exp(-(series * direction).sum(axis=(1, 2)) + 2.0))
            return np.stack([1 - p, p], axis=1).astype(np.float64)

        return predict
