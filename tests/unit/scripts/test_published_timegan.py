"""TimeGAN's scores on sets whose scores are known, and that nothing is decided by them."""

import numpy as np
import pytest
import torch

from scripts.quality.common.registry import PUBLISHED, metrics, quality_flags
from scripts.quality.published import timegan
from tests.support.metric_sets import comparison, dataset


def walks(n, seed, *, lag=1):
    """The last channel is the first one, `lag` steps later."""
    x = np.random.default_rng(seed).random((n, 4, 8))
    x[:, -1, lag:] = x[:, 0, : 8 - lag]
    return dataset(x)


def test_a_set_that_is_far_away_is_told_apart_and_real_series_are_not():
    train, holdout = walks(300, 0), walks(300, 1)
    far = dataset(holdout.values + 1.0)
    found = timegan.timegan_report(comparison(train, holdout, far), seed=0, steps=(400, 1)).values
    assert found["timegan_discriminative"] > 0.45
    assert found["timegan_discriminative_reference"] < 0.12  # 0.5 +- of 120 unseen series


def test_the_forecast_is_as_good_as_what_it_was_trained_on(monkeypatch):
    monkeypatch.setattr(timegan, "LEARNING_RATE", 0.03)
    train, holdout, blind = walks(300, 0), walks(300, 1), walks(300, 2, lag=0)
    both = comparison(train, holdout, blind)
    found = timegan.timegan_report(both, seed=0, steps=(1, 300)).values
    # At lag 0 nothing is known a step ahead: the best forecast is the median, 1/4 off.
    assert found["timegan_predictive"] == pytest.approx(0.25, abs=0.03)
    assert found["timegan_predictive_reference"] < 0.12


def test_the_scores_repeat_and_leave_the_random_state_alone():
    both = comparison(walks(40, 0), walks(40, 1), walks(40, 2))
    torch.manual_seed(0)
    first = timegan.timegan_report(both, seed=3, steps=(5, 5)).values
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), after)
    assert timegan.timegan_report(both, seed=3, steps=(5, 5)).values == first


def test_no_verdict_reads_them():
    assert len(metrics(PUBLISHED)) == 1 and quality_flags(PUBLISHED) == []
