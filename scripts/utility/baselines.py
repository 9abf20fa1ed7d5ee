"""Real-only training made better without a generator: what a synthetic set has to beat.

Each baseline returns the rows that a model is trained on: the real ones and, beside them, the
guidance rows, duplicated or interpolated rows of the rarer classes, or one altered copy of every
real row; or the guidance rows alone, or real rows drawn by their influence on the guidance loss.
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

# (n, channel, time) series and (n,) labels
Rows = tuple[np.ndarray, np.ndarray]

GUIDE_ROWS, GUIDE_ONLY, CLASS_WEIGHTS = "guide_rows", "guide_only", "class_weights"
REWEIGHTED = "reweighted"
DRAWS = 4  # rows drawn by influence per real row, so that luck in the draw counts for little
JITTER = 0.05  # standard deviation of the added noise, model-space units
SCALING = 0.1  # standard deviation of the factor per series and channel
WARP = 0.2  # standard deviation of the speed of time at the knots
WARP_KNOTS = 4
NEIGHBOURS = 5  # of SMOTE, Chawla et al. 2002


def baseline_rows(
    name: str,
    train: Rows,
    guide: Rows,
    *,
    seed: int,
    num_values: int | None = None,
    weights: np.ndarray | None = None,
) -> Rows:
    """The training rows of baseline `name`: the real ones first, unless the guidance rows stand
    alone or real rows are drawn anew.

    Args:
        train, guide: real rows of the train and val_guide splits.
        seed: of every draw.
        num_values: jitter, scaling and time warp change only that many channels; masks and static
            covariates behind them stay as they are. None: all are values.
        weights: of the real rows; needed by reweighted.

    Raises:
        DataError: a class has too few rows to interpolate between.
    """
    if name == CLASS_WEIGHTS:  # the same rows; the loss weighs them
        return train
    if name == GUIDE_ROWS:
        return _joined(train, guide)
    if name == GUIDE_ONLY:
        return guide
    if name == REWEIGHTED:
        assert weights is not None
        return drawn_by_weight(train, weights, seed)
    if name in SAMPLERS:
        return balanced(name, train, seed)
    copies = train[0].copy()
    copies[:, :num_values] = ALTERED[name](train[0][:, :num_values], np.random.default_rng(seed))
    return _joined(train, (copies, train[1]))


def drawn_by_weight(train: Rows, weights: np.ndarray, seed: int) -> Rows:
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


def balanced(name: str, train: Rows, seed: int) -> Rows:
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


def _joined(first: Rows, second: Rows) -> Rows:
    return np.concatenate([first[0], second[0]]), np.concatenate([first[1], second[1]])
