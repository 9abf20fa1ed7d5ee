import numpy as np
import pytest

from scripts.quality.fidelity.missingness import (
    gap_lengths,
    mask_difference,
    missingness_report,
)
from tests.support.metric_sets import comparison, gaussian


def mask(n, rate, seed):
    return np.random.default_rng(seed).random((n, 2, 6)) < rate


def test_gap_lengths_by_hand():
    observed = np.array([[[0, 0, 1, 0, 1, 1, 0, 0, 0]], [[1] * 9]], bool)
    assert gap_lengths(observed).tolist() == [2, 1, 3]


def test_co_measurement_is_the_correlation_of_numpy():
    observed = mask(50, 0.6, 0)
    observed[:, 1] |= observed[:, 0]
    r = np.corrcoef(observed.transpose(1, 0, 2).reshape(2, -1))[0, 1]
    always = observed.copy()
    always[:, 1] = True  # correlates with nothing, itself included
    found = mask_difference(observed, always)["co_measurement"]
    assert found == pytest.approx((r + r + 0 + 1) / 4)


def test_each_difference_answers_to_its_own_defect():
    real = mask(400, 0.5, 0)
    assert mask_difference(real, mask(400, 0.8, 1))["rate"] == pytest.approx(0.3, abs=0.02)
    tied = real.copy()
    tied[:, 1] = tied[:, 0]
    found = mask_difference(real, tied)
    assert found["co_measurement"] == pytest.approx(0.5, abs=0.05) and found["rate"] < 0.05
    blocks = np.repeat(real[:, :, ::2], 2, axis=2)
    found = mask_difference(real, blocks)
    assert found["gap_length"] > 0.5 and found["rate"] < 0.05


def test_report_says_when_there_is_nothing_to_compare():
    complete = [gaussian(60, seed) for seed in range(3)]
    assert missingness_report(comparison(*complete), seed=0).values == {}
    real = [gaussian(60, seed, observed=mask(60, 0.5, seed)) for seed in range(2)]
    report = missingness_report(comparison(*real, complete[2]), seed=0)
    assert report.values == {} and "not measured" in report.remarks[0]
    masked = gaussian(60, 2, observed=mask(60, 0.9, 2))
    report = missingness_report(comparison(*real, masked), seed=0).values
    assert report["missing_rate_difference"] > 3 * report["missing_rate_difference_reference"]
