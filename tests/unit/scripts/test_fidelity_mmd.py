import numpy as np
import pytest
import torch

from data_preprocess.dataset import EHRDataset
from data_preprocess.impute import impute, train_medians
from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.common.registry import raised_flags
from scripts.quality.fidelity.mmd import (
    SMALLEST_EFFECT,
    median_distance,
    mmd_report,
    mmd_squared,
)
from tests.support.defect_table import three_sets
from tests.support.metric_sets import comparison, dataset, gaussian
from tests.support.physionet2012_stand_ins import read

CHANNELS = ["heart_rate", "systolic_pressure", "diastolic_pressure", "mean_pressure", "temperature"]


def brute_force(first, second, width):
    def kernel(a, b):
        return np.exp(-np.square(a - b).sum() / (2 * width**2))

    n, m = len(first), len(second)
    xx = sum(kernel(first[i], first[j]) for i in range(n) for j in range(n) if i != j)
    yy = sum(kernel(second[i], second[j]) for i in range(m) for j in range(m) if i != j)
    xy = sum(kernel(a, b) for a in first for b in second)
    return xx / (n * (n - 1)) + yy / (m * (m - 1)) - 2 * xy / (n * m)


def test_equals_the_double_loop():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(9, 3)), rng.normal(0.5, 2, size=(12, 3))
    found, _ = mmd_squared(
        torch.from_numpy(first), torch.from_numpy(second), width=1.3, permutations=1, seed=0
    )
    assert found == pytest.approx(brute_force(first, second, 1.3), rel=1e-10)


def test_population_value_for_shifted_gaussians():
    """E k over N(0, 1)^2 and N(d, 1): 2 (c - c exp(-d^2 / (2 (w^2 + 2)))), c = (1 + 2/w^2)^-1/2."""
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(3000, 1, generator=generator)
    second = torch.randn(3000, 1, generator=generator) + 1
    found, _ = mmd_squared(first, second, width=1.0, permutations=1, seed=0)
    constant = 3**-0.5
    assert found == pytest.approx(2 * constant * (1 - np.exp(-1 / 6)), rel=0.08)


def test_permutation_p_values_are_honest():
    generator = torch.Generator().manual_seed(1)
    low = 0
    for seed in range(60):
        first, second = torch.randn(2, 40, 3, generator=generator)
        found, chance = mmd_squared(first, second, width=2.0, permutations=99, seed=seed)
        low += (1 + (chance >= found).sum()) / 100 <= 0.1
    assert low <= 13  # binomial(60, 0.1) exceeds 13 with probability 0.3 %


def test_median_distance_ignores_the_diagonal():
    assert median_distance(torch.tensor([[0.0], [1.0], [3.0]])) == 2.0


def test_report_catches_a_shift_and_passes_an_equal_set():
    train, holdout, same = (gaussian(150, seed) for seed in range(3))
    shifted = dataset(same.values + 0.5)
    assert mmd_report(comparison(train, holdout, same), seed=0).values["mmd_p"] > 0.01
    found = mmd_report(comparison(train, holdout, shifted), seed=0).values
    assert found["mmd_p"] == pytest.approx(1 / 201)
    assert found["mmd2"] > 5 * abs(found["mmd2_reference"])


def standardised(of: EHRDataset) -> EHRDataset:
    """The first 3,000 series, in standard deviations."""
    return dataset(Normaliser.fit(of).to_model(of.values).numpy()[:3000], labels=of.labels[:3000])


def physionet2012(folder) -> EHRDataset:
    found = read(folder / "physionet2012", channels=CHANNELS)[0]
    values, _ = impute(found.values, train_medians(found.values, found.feature_names))
    return standardised(dataset(values, labels=found.labels))


def shift_effect(series: EHRDataset, shift: float) -> float:
    """MMD^2 of two halves of one set, one of them moved by `shift` in every channel."""
    half = len(series) // 2
    first, second = torch.from_numpy(series.values).flatten(1).split(half)
    found, _ = mmd_squared(
        first, second + shift, width=median_distance(first), permutations=1, seed=0
    )
    return found


@pytest.mark.parametrize("source", ["simulated", "physionet2012"])
def test_the_floor_of_the_flag_is_a_shift_by_a_tenth(source, request):
    if source == "simulated":
        series = standardised(three_sets(3000, seed=0)[0])
    else:
        series = physionet2012(request.getfixturevalue("open_data"))
    assert 0.8 * SMALLEST_EFFECT < shift_effect(series, 0.1) < 1.5 * SMALLEST_EFFECT
    assert shift_effect(series, 0.0) < 0.1 * SMALLEST_EFFECT


def test_a_difference_that_is_sure_and_small_raises_no_flag():
    train, holdout, fresh = (gaussian(2000, seed, shape=(2, 6)) for seed in range(3))

    def flags(shift: float) -> tuple[float, list[str]]:
        found = mmd_report(comparison(train, holdout, dataset(fresh.values + shift)), seed=0)
        return found.values["mmd_p"], [flag.metric for flag in raised_flags(found.values)]

    assert flags(0.08) == (pytest.approx(1 / 201), [])
    assert flags(0.2) == (pytest.approx(1 / 201), ["mmd2"])
