import numpy as np
import pytest
import torch

from scripts.quality.privacy.adversarial_accuracy import (
    OVERLAP,
    adversarial_accuracy,
    adversarial_report,
)
from tests.support.metric_sets import comparison, dataset, gaussian


def brute_force(real, synthetic):
    def closest(a, b, skip):
        gaps = np.linalg.norm(a[:, None] - b[None], axis=2)
        if skip:
            np.fill_diagonal(gaps, np.inf)
        return gaps.min(1)

    rs, rr = closest(real, synthetic, False), closest(real, real, True)
    sr, ss = closest(synthetic, real, False), closest(synthetic, synthetic, True)
    return 0.5 * ((rs > rr).mean() + (sr > ss).mean())


def test_equals_the_definition_spelled_out():
    rng = np.random.default_rng(0)
    real, synthetic = rng.normal(size=(40, 3)), rng.normal(0.3, 0.8, size=(40, 3))
    found = adversarial_accuracy(torch.from_numpy(real), torch.from_numpy(synthetic))
    assert found.value == pytest.approx(brute_force(real, synthetic))


def test_known_values():
    x, other = torch.randn(2, 400, 4, generator=torch.Generator().manual_seed(0))
    assert adversarial_accuracy(x, x).value == 0.0
    assert adversarial_accuracy(x, x + 100).value == 1.0
    assert adversarial_accuracy(x, other).value == pytest.approx(0.5, abs=0.06)
    ones = torch.ones(30, 2)
    assert adversarial_accuracy(ones, ones).value == 0.5  # all ties


@pytest.mark.parametrize(("dim", "n"), [(2, 150), (20, 150)])
def test_overlap_bounds_the_variance_of_the_loss(dim, n):
    generator = torch.Generator().manual_seed(dim)
    losses, variances = [], []
    for _ in range(120):
        train, holdout, synthetic = torch.randn(3, n, dim, generator=generator)
        pair = adversarial_accuracy(holdout, synthetic), adversarial_accuracy(train, synthetic)
        losses.append(pair[0].value - pair[1].value)
        variances.append(pair[0].variance + pair[1].variance)
    assert 0.5 < np.var(losses) / np.mean(variances) < 1.3 * OVERLAP


def test_copies_have_a_loss_and_fresh_series_do_not():
    train, holdout, fresh = (gaussian(150, seed) for seed in range(3))
    bad = adversarial_report(comparison(train, holdout, dataset(train.values)), seed=0).values
    assert bad["nnaa_train"] == 0 and bad["nnaa_loss_low"] > 0.3
    good = adversarial_report(comparison(train, holdout, fresh), seed=0).values
    assert good["nnaa_loss_low"] < 0 < good["nnaa_loss_high"]


def test_real_sets_of_different_populations_are_flagged():
    train, fresh = gaussian(100, 0), gaussian(100, 2)
    holdout = dataset(gaussian(100, 1).values + 1.5)
    report = adversarial_report(comparison(train, holdout, fresh), seed=0)
    assert report.values["nnaa_real"] > 0.6 and "differ in distribution" in report.remarks[0]


def test_real_sets_of_one_population_are_rarely_said_to_differ():
    """Of 20 series each; 0.6 alone was exceeded by 11 % of such pairs."""
    said = []
    for seed in range(100):
        train, holdout, fresh = (gaussian(20, 3 * seed + part, (4, 6)) for part in range(3))
        said.append(len(adversarial_report(comparison(train, holdout, fresh), seed=0).remarks))
    assert np.mean(said) < 0.05
