"""The tiny experiment that stage 4 evaluates."""

import shutil

import pytest

from configs import load_config
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.storage.dataset_files import save_dataset
from tests.support.evaluated import arguments, as_synthetic


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
