"""Small sets with known truth for the tests of fidelity and privacy metrics."""

import numpy as np

from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.common.comparison import Comparison, make_comparison


def dataset(values: np.ndarray, labels=None, observed=None, **changes) -> EHRDataset:
    n, channels, _ = values.shape
    fields = {
        "values": values.astype(np.float32),
        "observed": np.ones(values.shape, bool) if observed is None else observed,
        "labels": np.arange(n) % 2 if labels is None else labels,
        "subject_ids": np.full(n, -1),
        "feature_names": tuple(f"channel_{index}" for index in range(channels)),
        "label_names": ("survived", "died"),
        "static": np.zeros((n, 0), np.float32),
        "static_names": (),
    }
    return EHRDataset(**(fields | changes))


def gaussian(n: int, seed: int, shape=(2, 6), **changes) -> EHRDataset:
    return dataset(np.random.default_rng(seed).normal(size=(n, *shape)), **changes)


def with_dose(n: int, seed: int, *, rows: int, size: float) -> EHRDataset:
    """A vital sign, and a drug that the first `rows` series get at step 3."""
    values = gaussian(n, seed).values.copy()
    values[:, 1] = 0
    values[:rows, 1, 3] = size
    return dataset(values)


def comparison(train: EHRDataset, holdout: EHRDataset, synthetic: EHRDataset) -> Comparison:
    return make_comparison(train, holdout, synthetic, Normaliser.fit(train))
