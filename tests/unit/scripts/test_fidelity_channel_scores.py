import numpy as np
import pytest
from scipy.stats import ks_2samp

from scripts.quality.fidelity.marginals import marginals_report
from scripts.quality.fidelity.temporal import temporal_report
from scripts.quality.suite import channel_scores
from tests.support.metric_sets import comparison, dataset, gaussian


def correlated(n, r, seed):
    first, second = np.random.default_rng(seed).normal(size=(2, n, 6))
    return dataset(np.stack([first, r * first + np.sqrt(1 - r**2) * second], axis=1))


def scores(*sets):
    reports = (report(comparison(*sets), seed=0) for report in (marginals_report, temporal_report))
    return channel_scores({name: v for found in reports for name, v in found.values.items()})


def test_scores_are_those_of_scipy_and_numpy():
    real, other = gaussian(60, 0, (3, 6)), gaussian(60, 1, (3, 6))
    values = scores(gaussian(60, 2, (3, 6)), real, other)
    channels, pairs = [], []
    for i in range(3):
        channels.append(1 - ks_2samp(real.values[:, i].ravel(), other.values[:, i].ravel())[0])
        for j in range(i + 1, 3):
            r, s = (
                np.corrcoef(each.values[:, i].ravel(), each.values[:, j].ravel())[0, 1]
                for each in (real, other)
            )
            pairs.append(1 - abs(r - s) / 2)
    assert values["channel_score"] == pytest.approx(np.mean(channels))
    assert values["channel_pair_score"] == pytest.approx(np.mean(pairs), abs=1e-6)
    assert values["quality_score"] == pytest.approx(
        (np.mean(channels) + np.mean(pairs)) / 2, abs=1e-6
    )


def test_opposite_correlation_loses_all_of_the_pair():
    train, real = correlated(200, 0.99, 0), correlated(200, 0.99, 1)
    values = scores(train, real, correlated(200, -0.99, 2))
    assert values["channel_pair_score"] == pytest.approx(0.01, abs=0.01)
    assert values["channel_pair_score_reference"] > 0.99
    assert values["channel_score"] > 0.9


def test_a_single_channel_has_no_pairs():
    sets = (gaussian(40, seed, (1, 6)) for seed in range(3))
    values = scores(*sets)
    assert "channel_pair_score" not in values
    assert values["quality_score"] == values["channel_score"]
