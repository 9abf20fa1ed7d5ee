"""Synthetic series as a test set: how far is the AUROC that they give a model from its true one?

Stated beside what one would do without them: the error of the AUROC on a small real test set, drawn
with replacement from the real test series. Where it is larger, synthetic series are the better test
set for a group with so few patients. The truth is the AUROC on all real test series of the group.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from data_preprocess.dataset import EHRDataset
from scripts.utility.metrics import Predictions, point_scores, score
from scripts.utility.protocols import REAL, Fit
from scripts.utility.subgroups import find_subgroups, only

SMALL = (100, 200)  # real test series of the alternative
DRAWS = 200
EVERYBODY = "all"


@dataclass(frozen=True, kw_only=True)
class AurocError:
    """Mean absolute errors of the AUROC of models trained on real series, seeds averaged.

    Attributes:
        group: of patients, or EVERYBODY.
        generator: the synthetic set; model: the downstream model.
        real: AUROC on all real test series of the group.
        synthetic: AUROC on the synthetic series of the group.
        error: of the latter.
        small: rows of a small real test set -> its error; sizes that the group does not have, or at
            which draws keep missing a class, are absent.
    """

    group: str
    generator: str
    model: str
    real: float
    synthetic: float
    error: float
    small: dict[int, float]


def auroc_errors(
    results: Mapping[Fit, Predictions],
    test: EHRDataset,
    sets: Mapping[str, EHRDataset],
    *,
    seed: int,
) -> list[AurocError]:
    """One entry per group, set and model with TRTS and TRTR fits.

    Groups are those of `find_subgroups`; a set without static covariates is in EVERYBODY alone.

    Args:
        seed: of the small test sets.
    """
    pairs: dict[tuple[str, str], list[tuple[Predictions, Predictions]]] = {}
    for fit, synthetic in results.items():
        real = results.get(Fit("TRTR", REAL, 0.0, fit.model, fit.seed))
        if fit.protocol == "TRTS" and real is not None:
            pairs.setdefault((fit.generator, fit.model), []).append((real, synthetic))
    groups = _groups(test)
    small: dict[tuple[str, str], tuple[float, dict[int, float]]] = {}
    found = []
    for (generator, model), of_seeds in pairs.items():
        for group, there in _groups(sets[generator]).items():
            if group not in groups:
                continue
            of_real = [only(real, groups[group]) for real, _ in of_seeds]
            if (group, model) not in small:
                small[group, model] = _small_sets(of_real, seed)
            truth, errors = small[group, model]
            on_set = np.array([_auroc(only(synthetic, there)) for _, synthetic in of_seeds])
            truths = np.array([_auroc(real) for real in of_real])
            found.append(
                AurocError(
                    group=group,
                    generator=generator,
                    model=model,
                    real=truth,
                    synthetic=float(on_set.mean()),
                    error=float(np.abs(on_set - truths).mean()),
                    small=errors,
                )
            )
    return sorted(found, key=lambda entry: list(groups).index(entry.group))


def _groups(dataset: EHRDataset) -> dict[str, Bool[np.ndarray, " n"]]:
    return {EVERYBODY: np.ones(len(dataset), bool), **find_subgroups(dataset)}


def _small_sets(of_seeds: list[Predictions], seed: int) -> tuple[float, dict[int, float]]:
    """AUROC on all rows, and the mean absolute error on so many of them."""
    truths = np.array([_auroc(predictions) for predictions in of_seeds])
    errors = {}
    for size in SMALL:
        counts = _draws(of_seeds[0].labels, size, seed)
        if counts is not None:
            drawn = np.stack([score(predictions, counts)["auroc"] for predictions in of_seeds])
            errors[size] = float(np.abs(drawn - truths[:, None]).mean())
    return float(truths.mean()), errors


def _draws(labels: np.ndarray, size: int, seed: int) -> Float[np.ndarray, "draws n"] | None:
    """How often each row is in each small test set; None where there are no such sets."""
    if size >= len(labels):
        return None
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(len(labels), size=size) for _ in range(DRAWS)]
    counts = np.stack([np.bincount(rows, minlength=len(labels)) for rows in drawn])
    classes = range(int(labels.max()) + 1)
    whole = np.all([counts[:, labels == k].sum(axis=1) > 0 for k in classes], axis=0)
    return counts[whole].astype(np.float32) if whole.mean() > 0.5 else None


def _auroc(predictions: Predictions) -> float:
    return point_scores(predictions)["auroc"]
