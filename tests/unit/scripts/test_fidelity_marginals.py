import numpy as np
import pytest
from scipy.stats import ks_2samp

from scripts.quality.common.registry import raised_flags
from scripts.quality.fidelity.marginals import (
    channel_marginals,
    charted_variation,
    kolmogorov_smirnov,
    marginals_report,
    nearest_ratio,
    train_spread,
)
from tests.support.metric_sets import comparison, dataset, gaussian, with_dose


def test_kolmogorov_smirnov_equals_scipy_with_ties():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 6, 80).astype(float), rng.integers(1, 8, 50).astype(float)
    assert kolmogorov_smirnov(first, second) == pytest.approx(ks_2samp(first, second).statistic)


def test_a_shift_a_stretch_and_zeros_have_closed_forms():
    real = np.linspace(-1, 1, 1001)
    shifted = channel_marginals(real, real + 3.0, 2.0)
    assert shifted["wasserstein"] == pytest.approx(1.5)
    assert shifted["ks"] == 1.0 and shifted["sd_ratio"] == pytest.approx(1.0)
    stretched = channel_marginals(real, 3 * real, 1.0)
    assert stretched["sd_ratio"] == pytest.approx(3.0)
    assert stretched["wasserstein"] == pytest.approx(1.0, rel=1e-2)  # E|2x|, x uniform on [-1, 1]
    assert stretched["ks"] == pytest.approx(1 / 3, rel=1e-2)
    zeros = channel_marginals(np.ones(10), np.r_[np.zeros(3), np.ones(7)], 1.0)
    assert zeros["zero_share"] == pytest.approx(0.3)


def test_total_variation_counts_charted_steps():
    real = np.repeat([100.0, 100.5, 101.0, 101.5], [10, 30, 40, 20])
    combed = np.repeat([100.0, 100.5, 101.0, 101.5], [30, 10, 60, 0])
    assert charted_variation(real, combed + 0.1, 0.5) == pytest.approx(0.4)
    assert charted_variation(real, np.repeat(real, 3), 0.5) == 0.0
    assert charted_variation(real, real + 7, 0.5) == 1.0


def test_a_channel_in_no_charted_step_has_no_variation():
    train, holdout, fresh = (gaussian(100, seed) for seed in range(3))
    assert (
        "marginal_variation"
        not in marginals_report(comparison(train, holdout, fresh), seed=0).values
    )
    whole = []
    for stays in (train, holdout, fresh):
        values = stays.values.copy()
        values[:, 1] = np.round(10 * values[:, 1])
        whole.append(dataset(values))
    report = marginals_report(comparison(*whole), seed=0).values
    assert report["marginal_variation"] == report["marginal_variation/channel_1"] > 0
    assert "marginal_variation/channel_0" not in report


def test_spread_is_over_measured_entries():
    values = np.zeros((30, 1, 4))
    values[:, :, 0] = 1000.0
    observed = np.ones(values.shape, bool)
    observed[:, :, 0] = False
    values[:15, :, 1] = 2.0
    assert train_spread(dataset(values, observed=observed))[0] == pytest.approx(np.sqrt(5) / 3)


def test_report_names_the_channel_that_is_off():
    train, holdout, fresh = (gaussian(300, seed) for seed in range(3))
    values = fresh.values.copy()
    values[:, 1] *= 0.25
    report = marginals_report(comparison(train, holdout, dataset(values)), seed=0).values
    assert report["marginal_sd_ratio_worst"] == report["marginal_sd_ratio/channel_1"]
    assert report["marginal_sd_ratio/channel_1"] == pytest.approx(0.25, rel=0.1)
    assert report["marginal_sd_ratio/channel_0"] == pytest.approx(1.0, rel=0.1)
    both = [report[f"marginal_ks/channel_{k}"] for k in (0, 1)]
    assert report["marginal_ks"] == pytest.approx(np.mean(both))
    assert report["marginal_ks_reference"] < 0.1 < report["marginal_ks"]


def test_distances_do_not_change_with_the_unit():
    sets = [gaussian(100, seed) for seed in range(3)]
    scaled = [dataset(1000 * s.values + 50) for s in sets]
    first, second = (
        marginals_report(comparison(*three), seed=0).values for three in (sets, scaled)
    )
    for name in ("marginal_ks", "marginal_wasserstein", "marginal_sd_ratio_worst"):
        assert first[name] == pytest.approx(second[name], rel=1e-3)


def test_a_rare_channel_of_honest_sets_is_neither_narrow_nor_wide():
    """Other than 0 in one series of a hundred: two real samples differ severalfold."""
    rng = np.random.default_rng(0)

    def rare(n):
        values = rng.normal(size=(n, 2, 12))
        some = rng.random(n) < 0.01
        values[:, 1] = 0
        values[some, 1] = rng.lognormal(1, 1, (some.sum(), 1))
        return dataset(values)

    flagged = 0
    for _ in range(10):
        found = marginals_report(comparison(rare(1000), rare(300), rare(1000)), seed=0).values
        flagged += "marginal_sd_ratio_worst" in [flag.metric for flag in raised_flags(found)]
    assert flagged <= 4  # against held-out series alone 9 of 10


def test_a_channel_that_hardly_anybody_has_is_not_held_against_a_set():
    """A drug of three patients in 300: its spread is not known."""
    sets = (with_dose(300, seed, rows=3, size=size) for seed, size in enumerate((1, 1, 9)))
    found = marginals_report(comparison(*sets), seed=0).values
    assert "marginal_sd_ratio/channel_1" not in found
    assert found["marginal_sd_ratio_worst"] == found["marginal_sd_ratio/channel_0"]
    assert found["marginal_ks/channel_1"] < 0.01


def test_the_spread_is_held_against_the_nearer_of_two_real_samples():
    for other, expected in ((8.0, 2.0), (2.0, 1.0), (0.5, 0.5)):
        assert nearest_ratio(other, [4.0, 1.0]) == expected
