"""Synthetic series as a test set: how far is the AUROC that they give a model from its true one?

Stated beside what one would do without them: the error of the AUROC on a small real test set, drawn
with replacement from the real test series. Where it is larger, synthetic series are the better test
set for a group with so few patients. The truth is known through the real test series of the group
alone: their AUROC stands for it, and the error of the synthetic set holds its chance. So does that
of the small sets: each is compared with a resample of all patients of the group.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from data_preprocess.dataset import EHRDataset
from scripts.utility.bootstrap import resample_counts
from scripts.utility.metrics import Predictions, point_scores, score
from scripts.utility.protocols import REAL, Fit
from scripts.utility.subgroups import find_subgroups

SMALL = (100, 200)  # real test series of the alternative
DRAWS = 200
EVERYBODY = "all"


@dataclass(frozen=True, kw_only=True)
class AurocError:
    """Mean absolute errors of the AUROC of models trained on real series, seeds averaged.

    Attributes:
        group: of patients, or EVERYBODY.
        generator: the synthetic set; model: the downstream model.
        real: AUROC on all real test series of the group, with their chance.
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
    tested: dict[tuple[str, str], list[Fit]] = {}
    for fit in results:
        if fit.protocol == "TRTS":
            tested.setdefault((fit.generator, fit.model), []).append(fit)
    groups_of = {name: _groups(dataset) for name, dataset in sets.items()}
    found = []
    for group, rows in _groups(test).items():
        small: dict[str, dict[int, float]] = {}
        for (generator, model), fits in tested.items():
            there = groups_of[generator].get(group)
            if there is None:
                continue
            real = [results[Fit("TRTR", REAL, 0.0, model, fit.seed)] for fit in fits]
            within = [predictions.take(rows) for predictions in real]
            truths = np.array([_auroc(predictions) for predictions in within])
            on_set = np.array([_auroc(results[fit].take(there)) for fit in fits])
            if model not in small:
                small[model] = _small_sets(within, test.subject_ids[rows], seed)
            found.append(
                AurocError(
                    group=group,
                    generator=generator,
                    model=model,
                    real=float(truths.mean()),
                    synthetic=float(on_set.mean()),
                    error=float(np.abs(on_set - truths).mean()),
                    small=small[model],
                )
            )
    return found


def _groups(dataset: EHRDataset) -> dict[str, Bool[np.ndarray, " n"]]:
    return {EVERYBODY: np.ones(len(dataset), bool), **find_subgroups(dataset)}


def _small_sets(
    of_seeds: list[Predictions], subjects: Int[np.ndarray, " n"], seed: int
) -> dict[int, float]:
    """The mean absolute error of the AUROC on so many of all rows, drawn at random."""
    errors, labels = {}, of_seeds[0].labels
    everybody = resample_counts(subjects, labels, resamples=DRAWS, seed=seed + 1)
    for size in (size for size in SMALL if size < len(labels)):
        rng = np.random.default_rng(seed)
        drawn = [rng.integers(len(labels), size=size) for _ in range(DRAWS)]
        counts = np.stack([np.bincount(rows, minlength=len(labels)) for rows in drawn])
        classes = range(int(labels.max()) + 1)
        whole = np.all([counts[:, labels == k].any(axis=1) for k in classes], axis=0)
        if whole.mean() > 0.5:
            few, all_rows = (
                np.stack([score(one, rows, ["auroc"])["auroc"] for one in of_seeds])
                for rows in (counts[whole].astype(np.float32), everybody[whole])
            )
            errors[size] = float(np.abs(few - all_rows).mean())
    return errors


def _auroc(predictions: Predictions) -> float:
    return point_scores(predictions, ["auroc"])["auroc"]
