"""Fixtures that several test files share."""

import resource
from pathlib import Path

import numpy as np
import pytest

from data_preprocess.dataset import EHRDataset

ROOT = Path(__file__).parents[1]
OPEN_DATA = ROOT.parent / "shared" / "data"


@pytest.fixture(scope="session")
def open_data() -> Path:
    """The folder with the open data sets; tests that need it are skipped where it is absent."""
    if not OPEN_DATA.is_dir():
        pytest.skip(f"open data not found at {OPEN_DATA}; see docs/data.md for where to get them")
    return OPEN_DATA


@pytest.fixture
def make_dataset():
    """Makes a small valid dataset: n stays, 2 channels, 4 steps, labels 0, 1, 0, 1, ..."""

    def make(n: int = 12, *, seed: int = 0, first_subject: int = 0, **changes) -> EHRDataset:
        rng = np.random.default_rng(seed)
        fields = {
            "values": rng.normal([[80.0], [37.0]], [[10.0], [0.5]], (n, 2, 4)).astype(np.float32),
            "observed": rng.random((n, 2, 4)) < 0.8,
            "labels": np.arange(n) % 2,
            "subject_ids": np.arange(n) + first_subject,
            "feature_names": ("heart_rate[bpm]", "temperature[C]"),
            "label_names": ("survived", "died"),
            "static": np.full((n, 1), 60.0, np.float32),
            "static_names": ("age[years]",),
        }
        return EHRDataset(**(fields | changes))

    return make


@pytest.fixture
def little_memory():
    """4 GB of address space more than now: what asks for terabytes fails here."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        now = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)
