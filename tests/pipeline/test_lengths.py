"""Stays of different lengths: padded with "not measured", generated with ends of their own."""

import numpy as np
import pytest

from configs import load_config
from data_preprocess.build import load_splits
from data_preprocess.storage.dataset_files import load_dataset
from tardiff.generate import main as generate
from tardiff.train import main as train_diffusion
from tests.support.tiny_runs import tiny_arguments

LENGTH = 12


def write_stays(path, n=600):
    """One slow wave per stay, measured at every grid point until the stay ends; the sick leave
    early."""
    rng = np.random.default_rng(0)
    labels = (rng.random(n) < 0.4).astype(int)
    ends = np.where(labels, rng.integers(3, 7, n), rng.integers(8, LENGTH + 1, n))
    phase = rng.normal(size=(n, 1, 1))
    values = phase + np.sin(np.arange(LENGTH) / 3) + 0.3 * rng.normal(size=(n, 2, LENGTH))
    values[np.arange(LENGTH) >= ends[:, None, None] + np.zeros((1, 2, 1))] = np.nan
    np.save(path, values.astype(np.float32))
    np.save(path.with_name("stays_labels.npy"), labels)
    return ends, labels


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("lengths")
    ends, labels = write_stays(root / "stays.npy")
    arguments = tiny_arguments(
        root,
        "data.source=files",
        f"data.files.train={root}/stays.npy",
        "data.space.masks=true",
        "diffusion.width=32",
        "diffusion.max_steps=1500",
        "diffusion.learning_rate=0.003",
        "diffusion.val_every=500",
        "diffusion.marginal_rows=512",
        "diffusion.observed_only=false",
        "sampler.num_steps=15",
        "guidance.kind=none",
    )
    config = load_config(arguments)
    train_diffusion(config)
    generate(config)
    synthetic = load_dataset(root / "runs/tiny/synthetic/unguided.npz")
    return ends, labels, load_splits(config.data).train, synthetic


def test_real_stays_keep_their_lengths(made):
    ends, labels, train, _ = made
    for label in (0, 1):
        drawn = set(train.lengths[train.labels == label])
        assert drawn <= set(ends[labels == label])


def test_generated_stays_end_as_early_as_the_real_ones_of_their_class(made):
    _, _, train, synthetic = made
    means = [
        [each.lengths[each.labels == label].mean() for label in (0, 1)]
        for each in (train, synthetic)
    ]
    np.testing.assert_allclose(means[1], means[0], atol=1.0)
    assert means[1][0] - means[1][1] > 3
    assert len(np.unique(synthetic.lengths)) > 5


def test_nothing_is_missing_before_the_end_and_nothing_measured_after(made):
    _, _, _, synthetic = made
    inside = np.arange(LENGTH) < synthetic.lengths[:, None]
    gaps = ~synthetic.observed & inside[:, None]
    assert gaps.sum() < 0.1 * inside.sum() * 2
