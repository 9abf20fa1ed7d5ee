import numpy as np
import pytest

from scripts.quality.privacy.distances import (
    distance_ratio,
    distances_report,
    effective_trials,
    share_closer,
)
from tests.support.metric_sets import comparison, dataset, gaussian


def test_share_counts_ties_as_halves():
    assert share_closer(np.array([1.0, 3.0, 2.0, 0.0]), np.array([2.0, 1.0, 2.0, 0.0])) == 0.5
    assert share_closer(np.array([1.0, 1.0]), np.array([2.0, 1.0])) == 0.75


def test_effective_trials_count_shared_series_once():
    assert effective_trials(np.arange(10)) == 10
    assert effective_trials(np.zeros(10, int)) == 1
    assert effective_trials(np.array([0, 0, 1, 1])) == 2


def test_distance_ratio_of_equal_and_zero_distances():
    pairs = np.array([[1.0, 2.0], [3.0, 3.0], [0.0, 1.0], [0.0, 0.0]])
    assert distance_ratio(pairs).tolist() == [0.5, 1.0, 0.0, 1.0]


def test_equals_brute_force():
    train, holdout, synthetic = gaussian(30, 0), gaussian(30, 1), gaussian(25, 2)
    three = comparison(train, holdout, synthetic)
    gaps = {
        name: np.sqrt(
            np.square(
                three.synthetic.x.numpy()[:, None].reshape(25, 1, -1)
                - x.numpy()[None].reshape(1, 30, -1)
            ).mean(2)
        )
        for name, x in (("train", three.train.x), ("holdout", three.holdout.x))
    }
    report = distances_report(three, seed=0)
    expected = (gaps["train"].min(1) < gaps["holdout"].min(1)).mean()
    assert report.values["closer_to_train_share"] == pytest.approx(expected)
    assert report.values["dcr_median"] == pytest.approx(np.median(gaps["train"].min(1)), rel=1e-5)
    two = np.sort(gaps["holdout"], axis=1)[:, :2]
    ratio = np.median(two[:, 0] / two[:, 1])
    assert report.values["nndr_median_reference"] == pytest.approx(ratio, rel=1e-4)


def test_copies_are_closer_to_train_and_fresh_series_are_not_whatever_the_sizes():
    train, holdout = gaussian(80, 0), gaussian(40, 1)
    report = distances_report(comparison(train, holdout, dataset(train.values)), seed=0).values
    # Half of train is drawn to match the hold-out; its copies are at distance 0.
    assert report["closer_to_train_share"] > 0.7
    assert report["closer_to_train_share_low"] > 0.5
    larger = comparison(gaussian(400, 3), holdout, gaussian(80, 2))
    report = distances_report(larger, seed=0).values
    assert report["closer_to_train_share_low"] < 0.5 < report["closer_to_train_share_high"]


def steady(n, seed):
    """Series that keep their own level: some central, most not."""
    rng = np.random.default_rng(seed)
    return dataset(rng.normal(size=(n, 2, 1)) + 0.3 * rng.normal(size=(n, 2, 10)))


def test_the_interval_keeps_its_level_where_the_plain_binomial_one_does_not():
    """Noise has the few most central series as its neighbours, so its series do not vote alone."""
    excluded, plain = 0, 0
    for run in range(60):
        noise = gaussian(100, 3 * run + 2, (2, 10))
        found = distances_report(
            comparison(steady(100, 3 * run), steady(100, 3 * run + 1), noise), seed=0
        )
        share = found.values["closer_to_train_share"]
        low, high = (found.values[f"closer_to_train_share_{end}"] for end in ("low", "high"))
        excluded += not low <= 0.5 <= high
        plain += abs(share - 0.5) > 1.96 * 0.5 / 10
    assert excluded <= 8  # binomial(60, 0.05) exceeds 8 with probability 0.3 %
    assert plain > 8


def test_a_subsample_is_that_of_its_seed(monkeypatch):
    monkeypatch.setattr("scripts.quality.privacy.distances.MAX_ROWS", 20)
    three = comparison(gaussian(60, 0), gaussian(60, 1), gaussian(60, 2))
    first, again, other = (distances_report(three, seed=seed).values for seed in (0, 0, 1))
    assert first == again and first["dcr_median"] != other["dcr_median"]
