import numpy as np
import pytest
import torch

from scripts.quality.common.registry import raised_flags
from scripts.quality.fidelity.predictive import (
    NextStepForecaster,
    channel_errors,
    predictive_report,
)
from tests.support.metric_sets import comparison, dataset, gaussian


def autoregressive(n, seed, rho=0.9, length=10):
    rng = np.random.default_rng(seed)
    x = np.empty((n, 2, length))
    x[:, :, 0] = rng.normal(size=(n, 2))
    for t in range(1, length):
        x[:, :, t] = rho * x[:, :, t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=(n, 2))
    return x


def test_reaches_the_error_of_the_true_forecaster():
    """The best forecast of an AR(1) is rho x, with error sigma sqrt(2 / pi)."""
    train, test = (torch.from_numpy(autoregressive(1500, seed)).float() for seed in (0, 1))
    forecast = NextStepForecaster(train, seed=0)(test)
    errors = channel_errors(forecast, test[:, :, 4:], np.ones((1500, 2, 6), bool))
    assert errors == pytest.approx(np.sqrt(1 - 0.81) * np.sqrt(2 / np.pi), rel=0.03)


def test_a_forecast_never_sees_its_target():
    x = torch.from_numpy(autoregressive(50, 0)).float()
    changed = x.clone()
    changed[:, :, 7:] += 10
    forecaster = NextStepForecaster(x, seed=0)
    before, after = forecaster(x), forecaster(changed)
    assert torch.equal(before[:, :, :4], after[:, :, :4])  # steps 4..7 see inputs up to 6
    assert not torch.allclose(before[:, :, 4:], after[:, :, 4:])


def test_only_measured_targets_count():
    target = torch.zeros(3, 2, 4)
    forecast = torch.ones(3, 2, 4, dtype=torch.float64)
    forecast[:, 0, 0] = 100
    measured = np.ones((3, 2, 4), bool)
    measured[:, 0, 0] = False
    measured[:, 1] = False
    errors = channel_errors(forecast, target, measured)
    assert errors[0] == 1.0 and np.isnan(errors[1])


def test_ratio_is_one_for_real_and_high_for_shuffled_time():
    train, holdout, fresh = (dataset(autoregressive(600, seed)) for seed in range(3))
    good = predictive_report(comparison(train, holdout, fresh), seed=0).values
    assert good["predictive_ratio"] == pytest.approx(1.0, abs=0.03)
    assert good["predictive_mae_reference"] < good["predictive_mae_carried"]
    shuffled = np.random.default_rng(0).permuted(fresh.values, axis=0)
    bad = predictive_report(comparison(train, holdout, dataset(shuffled)), seed=0).values
    assert bad["predictive_ratio"] > 1.5


def test_the_flag_says_that_a_low_ratio_is_better():
    """Training series in a random order of steps, a set in the right one."""
    train, holdout, fresh = (autoregressive(600, seed) for seed in range(3))
    train = np.random.default_rng(0).permuted(train, axis=0)
    values = predictive_report(comparison(*map(dataset, (train, holdout, fresh))), seed=0).values
    (flag,) = (f for f in raised_flags(values) if f.metric == "predictive_ratio")
    assert values["predictive_ratio"] < 0.7 and "better" in flag.meaning


def test_every_channel_counts():
    """The usual score looks at the last channel alone; here breaking the first must show."""
    train, holdout, fresh = (dataset(autoregressive(600, seed)) for seed in range(3))
    values = fresh.values.copy()
    values[:, 0] = np.random.default_rng(0).permuted(values[:, 0], axis=0)
    report = predictive_report(comparison(train, holdout, dataset(values)), seed=0).values
    assert report["predictive_ratio/channel_0"] > 1.5
    assert report["predictive_ratio/channel_1"] < 1.1
    assert report["predictive_ratio_worst"] == report["predictive_ratio/channel_0"]


def test_a_channel_without_measured_targets_is_named():
    observed = np.ones((60, 2, 6), bool)
    observed[:, 1, 4:] = False
    holdout = gaussian(60, 1, observed=observed)
    report = predictive_report(comparison(gaussian(60, 0), holdout, gaussian(60, 2)), seed=0)
    assert "predictive_ratio/channel_1" not in report.values
    assert "channel_1" in report.remarks[0]
