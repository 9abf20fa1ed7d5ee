"""The protocols of the evaluation: which rows a model is trained on and which rows score it.

| protocol | trained on                              | scored on |
|----------|-----------------------------------------|-----------|
| TRTR     | real train (the real-only baseline)     | real test |
| TSTR     | the whole synthetic set                 | real test |
| TRTS     | real train                              | the whole synthetic set |
| TSRTR    | real train + ratio * len(train) synthetic rows | real test |
| TRTR+    | real train, made better without a generator (utility/training_rows.py) | real test |
| UPPER    | nothing: the risk that a simulator drew the outcome from (fits.py) | test |

Whatever it is trained on, every model stops early and chooses its F1 threshold on val_select,
which is real and took no part in guidance; the test labels are read when probabilities are
scored and never before. Nothing here knows which generator made a set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from configs.runtime.errors import DataError
from data_preprocess.split_assignment import apportion
from data_preprocess.storage.content_cache import array_fingerprint

REAL = "real"  # the generator's name in the rows of the real-only baseline
BASELINE = "TRTR+"
CLASS_WEIGHTS = "class_weights"  # the baseline whose rows are the real ones, weighed by class
UPPER = "UPPER"
UNPAIRED = ("TRTS", UPPER)  # scored on other rows, or no model at all: no paired differences
PROTOCOLS = ("TRTR", "TSTR", "TRTS", "TSRTR")


@dataclass(frozen=True, kw_only=True)
class EncodedArrays:
    """Model-space series with labels as numpy arrays, as every downstream model gets them.

    Attributes:
        x: (n, channel, time), float32, dimensionless.
        y: class per row.
    """

    x: Float[np.ndarray, "n channel time"]
    y: Int[np.ndarray, " n"]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of both; equal contents have equal fingerprints."""
        return array_fingerprint(self.x, self.y.astype(np.int64))

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, kw_only=True)
class EvaluationData:
    """All that the fits of one evaluation read.

    Attributes:
        train, select, test: the real splits train, val_select and test.
        guide: val_guide; trained on by the baseline "guide_rows" only.
        synthetic: the sets that are compared, by name.
        num_classes: classes of the task.
        num_values: channels that are values; masks and static covariates follow. None: all are.
        train_weights: of the rows of train, for the baseline "reweighted".
    """

    train: EncodedArrays
    guide: EncodedArrays
    select: EncodedArrays
    test: EncodedArrays
    synthetic: dict[str, EncodedArrays]
    num_classes: int
    num_values: int | None = None
    train_weights: Float[np.ndarray, " n"] | None = None

    @property
    def minority(self) -> int:
        """The class with the fewest real training rows (the higher label on a tie)."""
        counts = np.bincount(self.train.y, minlength=self.num_classes)
        return int(self.num_classes - 1 - counts[::-1].argmin())


@dataclass(frozen=True)
class Fit:
    """One trained downstream model and the rows that score it: one number of the tables and seed.

    Attributes:
        protocol: one of PROTOCOLS, or BASELINE.
        generator: name of the synthetic set, or of the baseline; REAL for TRTR.
        ratio: synthetic : real rows of the training set; 0 for TRTR, None where the training set
            is not a mixture (TSTR, TRTS).
        model: name of the downstream model.
        seed: of the fit and of the draw of synthetic rows.
    """

    protocol: str
    generator: str
    ratio: float | None
    model: str
    seed: int

    @property
    def class_weight(self) -> str | None:
        """The weighting of classes that this fit asks for; None: that of the recipe."""
        return "balanced" if (self.protocol, self.generator) == (BASELINE, CLASS_WEIGHTS) else None

    def __str__(self) -> str:
        ratio = "" if self.ratio is None else f" ratio {self.ratio:g}"
        return f"{self.protocol} {self.generator}{ratio} {self.model} seed {self.seed}"


def plan_fits(
    *,
    protocols: Sequence[str],
    generators: Sequence[str],
    ratios: Sequence[float],
    models: Sequence[str],
    seeds: Sequence[int],
    baselines: Sequence[str] = (),
) -> list[Fit]:
    """Every fit, real-only first; the real-only baseline is in it whatever was asked for.

    The baseline is TSRTR at ratio 0: the same rows through the same code path.
    """
    rows: list[tuple[str, str, float | None]] = [("TRTR", REAL, 0.0)]
    rows += [(BASELINE, name, None) for name in baselines]
    for protocol in [name for name in PROTOCOLS if name in protocols and name != "TRTR"]:
        amounts: Sequence[float | None] = sorted(set(ratios)) if protocol == "TSRTR" else [None]
        rows += [(protocol, name, amount) for amount in amounts for name in generators]
    return [Fit(*row, model, seed) for model in models for row in rows for seed in seeds]


def scored_rows(fit: Fit, data: EvaluationData) -> EncodedArrays:
    """The rows that score the model of `fit`."""
    return data.synthetic[fit.generator] if fit.protocol == "TRTS" else data.test


def draw_stratified(
    labels: Int[np.ndarray, " n"], count: int, *, seed: int, where: str
) -> Int[np.ndarray, " rows"]:
    """`count` different rows with the class shares of `labels`, ascending.

    A set that was generated per class can miss `count` by the rounding of its class sizes; such a
    shortfall, of at most one row per class, is met with the whole set.

    Draws of one seed are nested (a larger count keeps the rows of a smaller one, up to the
    rounding of class sizes), and depend on the labels only: two sets with the same labels in the
    same order, such as a guided and an unguided one from the same noise, give the same rows.

    Raises:
        DataError: fewer rows than that; says how many to generate.
    """
    sizes = np.bincount(labels)
    if count > len(labels) + np.count_nonzero(sizes):
        raise DataError(
            f"{where}: {count} series are needed but the set holds {len(labels)}; generate at "
            f"least {count} (a generation.ratio of at least the largest evaluation ratio), or "
            "leave the larger values out of evaluation.ratios"
        )
    sizes = apportion(sizes, min(count, len(labels)))
    return draw_per_class(labels, sizes, np.random.default_rng(seed))


def draw_per_class(
    labels: Int[np.ndarray, " n"], sizes: Sequence[int] | np.ndarray, rng: np.random.Generator
) -> Int[np.ndarray, " rows"]:
    """At most `sizes[k]` random rows of every class k, ascending."""
    drawn = [rng.permutation(np.flatnonzero(labels == k))[:size] for k, size in enumerate(sizes)]
    return np.sort(np.concatenate([np.zeros(0, np.int64), *drawn]))
