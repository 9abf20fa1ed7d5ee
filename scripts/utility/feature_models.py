"""Downstream models that are not neural: gradient boosting, and linear on random convolutions.

Both see each series through a fixed feature map and choose their one capacity (number of trees,
ridge penalty) by AUROC on val_select, as the neural models choose their epoch. Whether a
value was measured is no feature: sets without masks are complete, and a model trained on them would
meet real gaps unprepared.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_sample_weight

from classifier.fixed_features import RandomConvolutions, Standardiser, summary_features
from classifier.metrics import selection_scores
from scripts.utility.metrics import as_logits

Predictor = Callable[[np.ndarray], np.ndarray]
LabelledArrays = tuple[np.ndarray, np.ndarray]

TREES = 200
TREES_PER_CHOICE = 10
BOOSTING = {
    "max_iter": TREES,
    "learning_rate": 0.05,
    "max_leaf_nodes": 15,
    "l2_regularization": 1.0,
    "max_features": 0.5,  # what makes seeds differ
    "early_stopping": False,  # the number of trees is chosen on val_select instead
}
KERNELS = 500
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # C of the logistic regression, per standardised feature


def fit_gbdt(
    train: LabelledArrays, select: LabelledArrays, *, class_weight: str, seed: int
) -> Predictor:
    """Gradient boosting on summary features per channel and correlations between channels."""
    x, y = _summary(train[0]), train[1]
    model = HistGradientBoostingClassifier(random_state=seed, **BOOSTING)
    balanced = class_weight == "balanced"
    model.fit(x, y, sample_weight=compute_sample_weight("balanced", y) if balanced else None)
    trees = range(TREES_PER_CHOICE, TREES + 1, TREES_PER_CHOICE)
    staged = model.staged_predict_proba(_summary(select[0]))
    candidates = (p for count, p in enumerate(staged, start=1) if count in trees)
    best = trees[_best(candidates, select[1])]

    def predict(series: np.ndarray) -> np.ndarray:
        staged = model.staged_predict_proba(_summary(series))
        return next(p for count, p in enumerate(staged, start=1) if count == best)

    return predict


def fit_rocket(
    train: LabelledArrays, select: LabelledArrays, *, class_weight: str, seed: int
) -> Predictor:
    """Logistic regression on maxima and positive shares of random convolutions (ROCKET's)."""
    convolutions = RandomConvolutions(*train[0].shape[1:], num_kernels=KERNELS, seed=seed)
    raw = convolutions(torch.tensor(train[0]))
    standardise = Standardiser(raw)
    x, y = standardise(raw), train[1]

    def features(series: np.ndarray) -> np.ndarray:
        return standardise(convolutions(torch.tensor(series)))

    balance = "balanced" if class_weight == "balanced" else None
    models = [
        LogisticRegression(C=penalty, class_weight=balance, max_iter=300, tol=1e-3).fit(x, y)
        for penalty in PENALTIES
    ]
    held_out = features(select[0])
    candidates = (model.predict_proba(held_out) for model in models)
    chosen = models[_best(candidates, select[1])]
    return lambda series: chosen.predict_proba(features(series))


FITS: dict[str, Callable[..., Predictor]] = {"gbdt": fit_gbdt, "rocket": fit_rocket}


def _summary(series: np.ndarray) -> np.ndarray:
    return summary_features(torch.tensor(series))


def _best(
    candidates: Iterator[Float[np.ndarray, "n classes"]], labels: Int[np.ndarray, " n"]
) -> int:
    """Index of the candidate with the best AUROC; the first of equals."""
    y = torch.from_numpy(labels)
    return int(np.argmax([selection_scores(as_logits(p), y)["auroc"] for p in candidates]))
