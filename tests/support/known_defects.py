"""Negative controls: synthetic sets, each with one known defect that metrics must notice.

Each function takes real training series and returns such a set. They calibrate a report
(what does noise score?) and prove, in tests/unit/scripts/test_known_defects.py, that no metric is
blind to the defect it is there for.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from data_preprocess.dataset import EHRDataset
from scripts.quality.fidelity.marginals import charted_steps, train_spread

COPY_NOISE = 0.02  # train standard deviations
COPIED_SHARE = 0.2
COLLAPSE_NOISE = 0.1
REPEATS = 10

Defect = Callable[[EHRDataset, EHRDataset, int], EHRDataset]


def honest(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """The control: `fresh` itself, real series of other patients; nothing must be raised."""
    del train, seed
    return _anonymous(fresh)


def copied(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """Training series, unchanged."""
    del fresh, seed
    return _anonymous(train)


def nearly_copied(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """Fresh series, a fifth of them replaced by training series with a little noise."""
    rng = np.random.default_rng(seed)
    values, labels = fresh.values.copy(), fresh.labels.copy()
    size = min(round(COPIED_SHARE * len(fresh)), len(train))
    place = rng.choice(len(fresh), size, replace=False)
    rows = rng.choice(len(train), size, replace=False)
    noise = rng.normal(size=values[place].shape) * train_spread(train)[:, None]
    values[place] = train.values[rows] + COPY_NOISE * noise
    labels[place] = train.labels[rows]
    return _anonymous(replace(fresh, values=values, labels=labels))


def relabelled(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """Fresh series under shuffled labels."""
    del train
    order = np.random.default_rng(seed).permutation(len(fresh))
    return _anonymous(replace(fresh, labels=fresh.labels[order]))


def noise(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """Independent Gaussian entries with each channel's mean and standard deviation."""
    rng = np.random.default_rng(seed)
    centre = train.values.mean((0, 2), dtype=np.float64)[:, None]
    drawn = centre + rng.normal(size=fresh.values.shape) * train_spread(train)[:, None]
    return _anonymous(replace(fresh, values=drawn.astype(np.float32)))


def collapsed(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """Of each class, one training series over and over, with a little noise."""
    rng = np.random.default_rng(seed)
    values = np.empty_like(fresh.values)
    for label in np.unique(fresh.labels):
        members = fresh.labels == label
        source = rng.choice(np.flatnonzero(train.labels == label))
        jitter = rng.normal(size=values[members].shape) * train_spread(train)[:, None]
        values[members] = train.values[source] + COLLAPSE_NOISE * jitter
    return _anonymous(replace(fresh, values=values))


def marginals_only(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """Each (channel, time) column permuted over the series of a class: only the marginal
    distributions are real."""
    del train
    rng = np.random.default_rng(seed)
    values = np.empty_like(fresh.values)
    for label in np.unique(fresh.labels):
        members = fresh.labels == label
        values[members] = rng.permuted(fresh.values[members], axis=0)
    return _anonymous(replace(fresh, values=values))


def half_spread(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """Fresh series pulled half way to the mean series: the shrinkage of an over-guided sampler."""
    del seed
    centre = train.values.mean(0)
    return _anonymous(replace(fresh, values=((fresh.values + centre) / 2).astype(np.float32)))


def overspread(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """Fresh series pushed away from the mean series to twice their distance."""
    del seed
    centre = train.values.mean(0)
    return _anonymous(replace(fresh, values=(2 * fresh.values - centre).astype(np.float32)))


def frozen(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """Fresh series whose channels all stay at their mean."""
    del train, seed
    level = np.broadcast_to(fresh.values.mean(2, keepdims=True), fresh.values.shape)
    return _anonymous(replace(fresh, values=level.astype(np.float32)))


def repeated(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """A tenth of the fresh series, drawn again and again."""
    del train
    rng = np.random.default_rng(seed)
    few = rng.choice(len(fresh), max(2, len(fresh) // REPEATS), replace=False)
    return _anonymous(fresh.take(rng.choice(few, len(fresh))))


def combed(train: EHRDataset, fresh: EHRDataset, seed: int) -> EHRDataset:
    """Fresh stays with half of the values on odd charted steps moved by one step: what rounding
    leaves of quantiles that were matched to a staircase."""
    rng = np.random.default_rng(seed)
    values = fresh.values.copy()
    for channel, step in enumerate(charted_steps(train)):
        if step:
            odd = np.round(values[:, channel] / step) % 2 == 1
            moved = odd & (rng.random(odd.shape) < 0.5)
            values[:, channel] += step * moved * rng.choice([-1, 1], odd.shape)
    return _anonymous(replace(fresh, values=values))


NEGATIVE_CONTROLS: dict[str, Defect] = {
    "honest": honest,
    "copied": copied,
    "nearly_copied": nearly_copied,
    "relabelled": relabelled,
    "noise": noise,
    "collapsed": collapsed,
    "marginals_only": marginals_only,
    "half_spread": half_spread,
    "overspread": overspread,
    "frozen": frozen,
    "repeated": repeated,
    "combed": combed,
}


def _anonymous(dataset: EHRDataset) -> EHRDataset:
    """The set as a generator would hand it over: fully observed, no patients, no covariates."""
    return replace(
        dataset,
        observed=np.ones_like(dataset.observed),
        subject_ids=np.full(len(dataset), -1, np.int64),
        static=np.zeros((len(dataset), 0), np.float32),
        static_names=(),
    )
