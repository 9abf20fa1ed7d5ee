import numpy as np
import pytest
import torch
from sklearn.neighbors import KernelDensity

from scripts.quality.privacy.membership import (
    chance_of_rate,
    log_density,
    membership_report,
    rate_at_false_positives,
)
from tests.support.metric_sets import comparison, dataset, gaussian


def test_log_density_equals_scikit_learn(monkeypatch):
    monkeypatch.setattr("scripts.quality.privacy.membership.CHUNK", 7)
    points, data = torch.randn(2, 20, 3, generator=torch.Generator().manual_seed(0)).double()
    expected = KernelDensity(bandwidth=0.4).fit(data.numpy()).score_samples(points.numpy())
    assert log_density(points, data, 0.4).numpy() == pytest.approx(expected, rel=1e-9)


def test_rate_at_false_positives_by_hand():
    others = np.arange(200.0)  # 1 % of 200: two may be above the threshold, which is 197
    members = np.array([196.0, 197.0, 197.5, 300.0])
    assert rate_at_false_positives(members, others) == 0.5
    assert rate_at_false_positives(members, np.arange(50.0)) == 1.0  # none may be above 49
    assert rate_at_false_positives(np.zeros(4), np.zeros(200)) == 0.0  # knows nothing


def test_chance_of_rate_equals_simulation():
    rng = np.random.default_rng(0)
    size, runs = 100, 4000
    scores = rng.random((runs, 2 * size))
    rates = np.array([rate_at_false_positives(row[:size], row[size:], 0.02) for row in scores])
    for rate in (0.01, 0.03, 0.06):
        expected = (rates >= rate - 1e-9).mean()
        assert chance_of_rate(rate, size, 0.02) == pytest.approx(expected, abs=0.025)
    assert chance_of_rate(0.0, size) == 1.0


def test_copies_are_found_by_every_attack():
    train, holdout = gaussian(200, 0), gaussian(200, 1)
    found = membership_report(comparison(train, holdout, dataset(train.values)), seed=0).values
    assert found["membership_auc"] == 1.0 and found["membership_tpr"] == 1.0
    assert found["membership_tpr_p"] < 1e-10
    assert found["membership_auc/distance_ratio"] > 0.99
    assert found["membership_auc/density_ratio"] > 0.6


def test_a_few_copies_show_at_low_false_positive_rate():
    train, holdout, fresh = (gaussian(400, seed, (3, 8)) for seed in range(3))
    values = fresh.values.copy()
    values[:40] = train.values[:40]  # half of the attacked members are among the first 200 rows
    found = membership_report(comparison(train, holdout, dataset(values)), seed=0).values
    assert found["membership_auc"] < 0.65
    assert found["membership_tpr"] > 0.05 and found["membership_tpr_p"] < 0.01


def test_fresh_series_keep_the_nominal_level():
    auc, rate = 0, 0
    for run in range(40):
        sets = [gaussian(120, 3 * run + k) for k in range(3)]
        found = membership_report(comparison(*sets), seed=0).values
        auc += found["membership_auc_low"] > 0.5
        rate += found["membership_tpr_p"] < 0.05
    assert auc <= 5 and rate <= 6  # binomial(40, 0.025) and (40, 0.05) exceed with < 1 %
