import numpy as np
import pytest
import torch

from scripts.quality.fidelity.temporal import (
    lagged_correlations,
    mean_curve_difference,
    structure_difference,
)


def autoregressive(n, length, rho, seed):
    rng = np.random.default_rng(seed)
    x = np.empty((n, 1, length))
    x[:, 0, 0] = rng.normal(size=n)
    for t in range(1, length):
        x[:, 0, t] = rho * x[:, 0, t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=n)
    return torch.from_numpy(x)


def test_autoregression_decays_as_the_power_of_its_coefficient():
    table = lagged_correlations(autoregressive(20_000, 12, 0.8, 0), 4)
    assert table[:, 0, 0] == pytest.approx(0.8 ** np.arange(5), abs=0.01)


def test_equals_numpy_correlation_of_pooled_pairs():
    x = torch.from_numpy(np.random.default_rng(1).normal(size=(7, 3, 9)).cumsum(2))
    table = lagged_correlations(x, 3)
    for lag in range(4):
        for i in range(3):
            for j in range(3):
                early = x[:, i, : 9 - lag].numpy().ravel()
                late = x[:, j, lag:].numpy().ravel()
                assert table[lag, i, j] == pytest.approx(np.corrcoef(early, late)[0, 1])


def test_a_constant_channel_correlates_with_nothing():
    x = torch.randn(20, 2, 8, generator=torch.Generator().manual_seed(0))
    x[:, 1] = 5.0
    table = lagged_correlations(x, 2)
    assert np.all(table[:, 1, :] == 0) and np.all(table[:, :, 1] == 0)
    rounded = x.double()
    rounded[:, 1] += 1e-7 * x[:, 0]  # which is as if of rounding
    np.testing.assert_array_equal(lagged_correlations(rounded, 2)[:, :, 1], 0)
    rounded[:, 1] += 1e-4 * x[:, 0]
    assert lagged_correlations(rounded, 2)[0, 0, 1] == pytest.approx(1)


def test_differences_look_at_their_own_entries():
    zero = np.zeros((3, 2, 2))
    for index, name in (
        ((1, 0, 0), "autocorrelation"),
        ((0, 0, 1), "cross_correlation"),
        ((2, 1, 0), "lagged_cross_correlation"),
    ):
        other = zero.copy()
        other[index] = 1.0
        gaps = structure_difference(zero, other)
        assert {key for key, gap in gaps.items() if gap > 0} == {name}
    single = structure_difference(zero[:, :1, :1], zero[:, :1, :1])
    assert list(single) == ["autocorrelation"]


def test_mean_curve_difference_is_the_mean_gap():
    x = torch.randn(10, 2, 5, generator=torch.Generator().manual_seed(0))
    bump = torch.zeros(2, 5)
    bump[0, 3] = 2.0
    assert mean_curve_difference(x, x + bump) == pytest.approx(0.2, rel=1e-5)
