"""The tiny experiment that stage 3 samples from, and the one that stage 4 evaluates."""

import shutil

import pytest

from classifier.train import main as train_classifier
from configs import load_config
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.storage.dataset_files import save_dataset
from tardiff.train import main as train_diffusion
from tests.support.evaluated import arguments, as_synthetic
from tests.support.tiny_runs import tiny_arguments


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Stages 1 and 2 of it: (folder, arguments)."""
    root = tmp_path_factory.mktemp("generate")
    given = tiny_arguments(root, "diffusion.num_steps=20")  # of the paper's schedule
    config = load_config(given)
    train_diffusion(config)
    train_classifier(config)
    return root, given


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The tiny experiment with two synthetic sets: (folder, splits)."""
    folder = tmp_path_factory.mktemp("stage4")
    config = load_config(arguments(folder))
    ensure_built(config.data)
    splits = load_splits(config.data)
    for seed, name in enumerate(("influence", "unguided")):
        path = folder / "runs/tiny/synthetic" / f"{name}.npz"
        facts = {"data_fingerprint": splits.fingerprint}
        save_dataset(path, as_synthetic(splits.train, seed), facts)
    return folder, splits


@pytest.fixture
def experiment(built, tmp_path):
    """A copy that a test may change."""
    folder, splits = built
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path, splits
