"""The rows that a downstream model is trained on, by protocol.

The baselines are real-only training made better without a generator, what a synthetic set has to
beat: the real rows and, beside them, the guidance rows, duplicated or interpolated rows of the
rarer classes, or one altered copy of every real row; or the guidance rows alone, or real rows drawn
by their influence on the guidance loss.
Series are in model space, where every channel has about unit variance, so one strength of noise
fits all channels. Published strengths are used (Um et al. 2017, "Data augmentation of wearable
sensor data"; Iwana & Uchida 2021); they are not tuned here.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from imblearn.over_sampling import SMOTE, RandomOverSampler
from scipy.interpolate import CubicSpline

from configs.runtime.errors import DataError
from scripts.utility.feature_models import LabelledArrays
from scripts.utility.protocols import (
    BASELINE,
    CLASS_WEIGHTS,
    EvaluationData,
    Fit,
    draw_stratified,
)

GUIDE_ROWS, GUIDE_ONLY, REWEIGHTED = "guide_rows", "guide_only", "reweighted"
DRAWS = 4  # rows drawn by influence per real row, so that luck in the draw counts for little
JITTER = 0.05  # standard deviation of the added noise, model-space units
SCALING = 0.1  # standard deviation of the factor per series and channel
WARP = 0.2  # standard deviation of the speed of time at the knots
WARP_KNOTS = 4
NEIGHBOURS = 5  # of SMOTE, Chawla et al. 2002


def training_rows(fit: Fit, data: EvaluationData) -> LabelledArrays:
    """The series and labels that the model of `fit` is trained on.

    Raises:
        DataError: the synthetic set is too small for the ratio, or a class for SMOTE.
    """
    if fit.protocol == "TSTR":
        synthetic = data.synthetic[fit.generator]
        return synthetic.x, synthetic.y
    if fit.protocol == BASELINE:
        return baseline_rows(fit.generator, data, seed=fit.seed)
    train = data.train.x, data.train.y
    if fit.protocol != "TSRTR" or not fit.ratio:
        return train
    source, count = data.synthetic[fit.generator], round(fit.ratio * len(data.train))
    where = f"synthetic set {fit.generator!r}, TSRTR ratio {fit.ratio:g}"
    rows = draw_stratified(source.y, count, seed=fit.seed, where=where)
    return _joined(train, (source.x[rows], source.y[rows]))


def baseline_rows(name: str, data: EvaluationData, *, seed: int) -> LabelledArrays:
    """The training rows of baseline `name`: the real ones first, unless the guidance rows stand
    alone or real rows are drawn anew. Jitter, scaling and time warp change values alone; masks and
    static covariates stay as they are."""
    train, guide = (data.train.x, data.train.y), (data.guide.x, data.guide.y)
    if name == CLASS_WEIGHTS:  # the same rows; the loss weighs them
        return train
    if name == GUIDE_ROWS:
        return _joined(train, guide)
    if name == GUIDE_ONLY:
        return guide
    if name == REWEIGHTED:
        assert data.train_weights is not None
        return drawn_by_weight(train, data.train_weights, seed)
    if name in SAMPLERS:
        return balanced(name, train, seed)
    copies, values = train[0].copy(), slice(data.num_values)
    copies[:, values] = ALTERED[name](copies[:, values], np.random.default_rng(seed))
    return _joined(train, (copies, train[1]))


def drawn_by_weight(train: LabelledArrays, weights: np.ndarray, seed: int) -> LabelledArrays:
    """`DRAWS` rows per real row, with replacement, class by class in proportion to `weights`."""
    x, y = train
    rng = np.random.default_rng(seed)
    rows = []
    for label in np.unique(y):
        mine = np.flatnonzero(y == label)
        shares = weights[mine] / weights[mine].sum()
        rows.append(rng.choice(mine, DRAWS * len(mine), p=shares))
    chosen = np.sort(np.concatenate(rows))
    return x[chosen], y[chosen]


def balanced(name: str, train: LabelledArrays, seed: int) -> LabelledArrays:
    """Every class as large as the largest: by repeating rows drawn at random (oversampling), or by
    points between a row and one of its neighbours (smote).

    Raises:
        DataError: smote, and a class has no more rows than neighbours are asked for.
    """
    x, y = train
    smallest = np.bincount(y).min()
    if name == "smote" and smallest <= NEIGHBOURS:
        raise DataError(
            f"baseline smote: a class has {smallest} training rows, and {NEIGHBOURS} neighbours "
            "of the same class are needed; leave smote out of evaluation.baselines"
        )
    flat, labels = SAMPLERS[name](random_state=seed).fit_resample(x.reshape(len(x), -1), y)
    return flat.reshape(-1, *x.shape[1:]).astype(np.float32), labels.astype(np.int64)


def jitter(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """White noise on every value."""
    return x + rng.normal(scale=JITTER, size=x.shape)


def scaling(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One random factor per series and channel."""
    return x * rng.normal(1.0, SCALING, size=(*x.shape[:2], 1))


def time_warp(x: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A smooth random change of the speed of time, the same for all channels of a series; the
    ends of the series stay where they are."""
    n, _, length = x.shape
    knots = np.linspace(0, length - 1, WARP_KNOTS + 2)
    speeds = rng.normal(1.0, WARP, size=(n, WARP_KNOTS + 2)).clip(0.1)
    hours = np.arange(length)
    warped = np.empty_like(x)
    for row, speed in enumerate(speeds):
        clock = np.cumsum(CubicSpline(knots, speed)(hours).clip(0.05))
        clock = (clock - clock[0]) * (length - 1) / max(clock[-1] - clock[0], 1e-9)
        warped[row] = [np.interp(clock, hours, channel) for channel in x[row]]
    return warped


SAMPLERS: dict[str, Callable[..., Any]] = {
    "oversampling": RandomOverSampler,
    "smote": partial(SMOTE, k_neighbors=NEIGHBOURS),
}
ALTERED: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "jitter": jitter,
    "scaling": scaling,
    "time_warp": time_warp,
}


def _joined(first: LabelledArrays, second: LabelledArrays) -> LabelledArrays:
    return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
