import numpy as np
import pytest
import torch

from scripts.quality.fidelity.mmd import median_distance, mmd_report, mmd_squared
from tests.support.metric_sets import comparison, dataset, gaussian


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
