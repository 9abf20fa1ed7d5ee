import numpy as np
import pytest
import torch
from scipy.stats import norm

from scripts.quality.common.metric_report import auc_variance
from scripts.quality.fidelity.discriminative import (
    Discrimination,
    collapse_remarks,
    discriminate,
    discriminative_report,
)
from tests.support.metric_sets import comparison, dataset, gaussian


def test_one_distribution_scores_a_half_and_noise_is_found():
    report = discriminative_report(comparison(*(gaussian(300, seed) for seed in range(3))), seed=0)
    assert report.values["discriminative_auc"] == pytest.approx(0.5, abs=0.06)
    assert report.values["discriminative_collapsed"] == 0 and report.remarks == []


def test_a_shift_reaches_the_bayes_auc():
    """Every entry shifted by d: the best AUC is Phi(d sqrt(C T) / sqrt 2)."""
    first, second = torch.randn(2, 1500, 1, 8, generator=torch.Generator().manual_seed(0))
    best = norm.cdf(0.3 * np.sqrt(8) / np.sqrt(2))
    found = discriminate(first, second + 0.3, seed=0)
    assert found.auc == pytest.approx(best, abs=0.03)


def test_equal_series_everywhere_are_called_a_collapse_not_a_success():
    x = torch.ones(100, 2, 6)
    found = discriminate(x, x, seed=0)
    assert found.auc == pytest.approx(0.5, abs=0.05)
    flags = collapse_remarks(found, found)
    assert "collapsed" in flags[0] and "too small" in flags[1]


def test_the_control_sees_a_classifier_too_weak_to_judge():
    able = Discrimination(0.5, 0.1, 0.01)
    unable = Discrimination(0.6, 0.1, 0.01)
    assert collapse_remarks(able, Discrimination(0.99, 0.3, 0.01)) == []
    assert len(collapse_remarks(able, unable)) == 1


def test_a_wrong_set_is_found():
    train, holdout, fresh = (gaussian(200, seed) for seed in range(3))
    smooth = dataset(np.repeat(fresh.values[:, :, ::2], 2, axis=2))
    report = discriminative_report(comparison(train, holdout, smooth), seed=0).values
    assert report["discriminative_auc_low"] > 0.9
    assert report["discriminative_auc_low"] <= report["discriminative_auc"]


def test_more_series_make_the_auc_more_certain_and_not_larger():
    """A classifier fitted on few is as weak on many as it is on few."""
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 1500, 2, 8, generator=generator)
    second[:, :, ::2] += 0.15
    few = [
        discriminate(first[start : start + 150], second[start : start + 150], seed=0)
        for start in range(0, 1500, 150)
    ]
    many = [discriminate(first, second, seed=seed, most=150) for seed in range(4)]
    mean_auc = float(np.mean([found.auc for found in many]))
    assert mean_auc == pytest.approx(np.mean([found.auc for found in few]), abs=0.02)
    assert mean_auc < discriminate(first, second, seed=0).auc - 0.02
    # Ten times the series are scored; what the fit adds keeps the error from falling as far.
    assert max(found.error for found in many) < 0.6 * min(found.error for found in few)


def test_the_interval_counts_every_series_that_is_scored():
    train, holdout, synthetic = gaussian(150, 0), gaussian(1200, 1), gaussian(900, 2)
    found = discriminative_report(comparison(train, holdout, synthetic), seed=0).values
    assert found["discriminative_scored"] == 900
    half = found["discriminative_auc_high"] - found["discriminative_auc"]
    scored = 1.96 * np.sqrt((1 / 900 + 1 / 1200) / 12)  # of the AUC of noise, without the fit
    assert scored * 0.98 < half < 1.5 * scored


def test_models_that_differ_by_what_they_are_fitted_on_make_the_auc_less_certain():
    """Sixty series to fit on, 3,000 to score: the scored ones alone would be too sure of it."""
    ratios = []
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        first, second = torch.randn(2, 3000, 2, 8, generator=generator)
        second[:, :, ::2] += 0.15
        found = discriminate(first, second, seed=seed, most=60)
        ratios.append(found.error / auc_variance(found.auc, 3000, 3000) ** 0.5)
    assert min(ratios) >= 1 and np.mean(ratios) > 1.1


def test_the_error_is_what_the_auc_varies_by_between_fresh_sets():
    """Folds share what they are fitted on: the error of the scored series is 0.87 of it here."""
    found = []
    for seed in range(40):
        first, second = torch.randn(2, 100, 2, 8, generator=torch.Generator().manual_seed(seed))
        second[:, :, ::2] += 0.4
        found.append(discriminate(first, second, seed=seed))
    spread = np.std([each.auc for each in found], ddof=1)
    assert spread < np.mean([each.error**2 for each in found]) ** 0.5 < 1.25 * spread
