"""Discriminative score: can a classifier tell synthetic from held-out real series?

Reported as the cross-validated AUC: 0.5 = cannot. The usual |accuracy - 0.5| scores a classifier
that has learned nothing as a perfect generator; here a classifier that cannot even find noise
added to real series, or gives every series one probability, gets a remark as powerless.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits
from torch import Tensor

from classifier.fixed_features import RandomConvolutions, summary_features
from classifier.metrics import Z95
from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport, auc_variance, bounded
from scripts.quality.common.registry import FIDELITY, above, metric

MAX_ROWS = 3000  # of each set, two thirds of which a classifier is fitted on
MAX_SCORED = 10_000  # of each set that are scored
FOLDS = 3
REPEATS = 3
NUM_KERNELS = 128
DISCRIMINATIVE_MARGIN = 0.1  # AUC above that of real series that raises the flag
CONTROL_NOISE = 1.0  # model-space sd of the noise that the control must find
CONTROL_AUC = 0.75
MIN_SPREAD = 1e-3  # of the out-of-fold probabilities; below, all rows got one answer


class Discrimination(NamedTuple):
    """How well a classifier, or the better of two unlike ones, separates two sets.

    Attributes:
        auc: of the out-of-fold probabilities.
        spread: standard deviation of the out-of-fold probabilities, averaged over folds (their
            base rates differ); of two classifiers the larger one.
        error: standard error of `auc` over fresh sets: of the scored series and of those that were
            fitted on.
    """

    auc: float
    spread: float
    error: float


def discriminate(
    real: Float[Tensor, "n channel time"],
    other: Float[Tensor, "m channel time"],
    *,
    seed: int,
    most: int | None = None,
) -> Discrimination:
    """Cross-validated AUC of telling `other` (positive) from `real`, in model space: by logistic
    regression on random convolutions and summaries, or by boosted trees on summaries.

    Args:
        most: series of each set of which the folds that do not score are fitted on; all series are
            scored. A classifier distinguishes the better the more it is fitted on, so AUCs are
            compared at equal `most`; more series than that make the AUC more certain. None: all.
    """
    x = torch.cat([real, other])
    is_other = np.r_[np.zeros(len(real), int), np.ones(len(other), int)]
    summary = summary_features(x)
    encoder = RandomConvolutions(*x.shape[1:], num_kernels=NUM_KERNELS, seed=seed)
    both = np.hstack([encoder(x), summary])
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    trees = HistGradientBoostingClassifier(
        max_iter=40, learning_rate=0.15, max_leaf_nodes=15, max_bins=63, random_state=seed
    )
    # One thread: fits this small lose more to waiting for each other than they gain, ten times
    # over when the cores are shared.
    with threadpool_limits(1):
        first, second = (
            _out_of_fold(model, features, is_other, seed, most)
            for model, features in ((linear, both), (trees, summary))
        )
    return max(first, second)._replace(spread=max(first.spread, second.spread))


@metric(
    FIDELITY,
    above("discriminative_auc", DISCRIMINATIVE_MARGIN, "a classifier distinguishes it from real"),
)
def discriminative_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """AUC against held-out real series; the reference is that of training series against them."""
    part = comparison.matched(MAX_ROWS, seed)
    train, holdout, synthetic = (s.draw(MAX_SCORED, seed).x for s in comparison.sides.values())
    found = discriminate(holdout, synthetic, seed=seed, most=part.matched_size)
    reference = discriminate(holdout, train, seed=seed, most=part.matched_size)
    noise = torch.randn(part.train.x.shape, generator=torch.Generator().manual_seed(seed))
    control = discriminate(part.holdout.x, part.train.x + CONTROL_NOISE * noise, seed=seed)
    half = Z95 * found.error
    interval = (max(0.0, found.auc - half), min(1.0, found.auc + half))
    values = {
        **bounded("discriminative_auc", found.auc, interval, reference.auc),
        "discriminative_control_auc": control.auc,
        "discriminative_scored": min(len(synthetic), len(holdout)),
    }
    remarks = collapse_remarks(found, control)
    return MetricReport(
        values=values | {"discriminative_collapsed": float(bool(remarks))}, remarks=remarks
    )


def collapse_remarks(found: Discrimination, control: Discrimination) -> list[str]:
    """Why a discriminative AUC must not be read as fidelity; empty if it may."""
    remarks = []
    if found.spread < MIN_SPREAD:
        remarks.append(
            f"discriminative score: the classifier collapsed (probabilities vary by "
            f"{found.spread:.1e} only); its AUC says nothing about fidelity"
        )
    if control.auc < CONTROL_AUC:
        remarks.append(
            f"discriminative score: the classifier finds added noise with AUC {control.auc:.2f} "
            "only; the sets are too small for this score"
        )
    return remarks


def _out_of_fold(
    model: Any,
    features: Float[np.ndarray, "n feature"],
    target: Int[np.ndarray, " n"],
    seed: int,
    most: int | None,
) -> Discrimination:
    """Scores of every row by models that did not see it, REPEATS times with other folds."""
    rng, aucs, of_folds, spreads = np.random.default_rng(seed), [], [], []
    share = len(target) if most is None else most * (FOLDS - 1) // FOLDS
    for repeat in range(REPEATS):
        told = np.empty(len(target))
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed + repeat)
        for others, rows in folds.split(features, target):
            sides = (rng.permutation(others[target[others] == side])[:share] for side in (0, 1))
            fitted_on = np.sort(np.concatenate(list(sides)))
            model.fit(features[fitted_on], target[fitted_on])
            told[rows] = model.predict_proba(features[rows])[:, 1]
            of_folds.append(roc_auc_score(target[rows], told[rows]))
            spreads.append(told[rows].std())
        aucs.append(roc_auc_score(target, told))
    auc, counts = float(np.mean(aucs)), np.bincount(target)
    scored = auc_variance(auc, int(counts[1]), int(counts[0]))
    # What folds differ by beyond their scored rows is owed to the rows that they are fitted on.
    own = max(0.0, float(np.var(of_folds, ddof=1)) - FOLDS * scored) / len(of_folds)
    # Folds cannot show what models owe to rows that they share. As in Nadeau and Bengio (2003) that
    # is put at the rows scored : those fitted on; docs/metrics.md has the coverage.
    shared = scored / (FOLDS - 1)
    return Discrimination(auc, float(np.mean(spreads)), (scored + shared + own) ** 0.5)
