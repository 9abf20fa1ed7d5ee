import numpy as np
import pytest

from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.fidelity.plausibility import (
    DIASTOLIC,
    MEAN,
    SYSTOLIC,
    changes,
    find_channel,
    flat_share,
    plausibility_report,
    pressure_order_violations,
    range_shares,
)
from tests.support.metric_sets import comparison, dataset, gaussian, with_dose

NAMES = ("mean_pressure[mmHg]", "Systolic_Pressure[mmHg]", "diastolic_pressure[mmHg]")


def pressures(mean, systolic, diastolic):
    return np.stack([mean, systolic, diastolic], 1).astype(np.float32)


def test_channels_are_found_by_name_without_unit_or_case():
    assert [find_channel(NAMES, names) for names in (SYSTOLIC, MEAN, DIASTOLIC)] == [1, 0, 2]
    assert find_channel(("heart_rate[bpm]", "mapping"), MEAN) is None
    cuff = ("NISysABP", "NIDiasABP", "NIMAP")
    assert [find_channel(cuff, names) for names in (SYSTOLIC, DIASTOLIC, MEAN)] == [0, 1, 2]


def test_pressure_order_counts_each_broken_grid_point_once():
    mean = np.full((1, 5), 80.0)
    systolic = np.array([[120.0, 70.0, 120.0, 50.0, 80.0]])
    diastolic = np.array([[60.0, 60.0, 90.0, 90.0, 80.0]])
    found = pressure_order_violations(
        dataset(pressures(mean, systolic, diastolic), feature_names=NAMES)
    )
    assert found == pytest.approx(3 / 5)
    without_mean = dataset(
        pressures(mean, systolic, diastolic), feature_names=("other", *NAMES[1:])
    )
    assert pressure_order_violations(without_mean) == pytest.approx(1 / 5)
    assert pressure_order_violations(gaussian(3, 0)) is None


def test_range_flatness_and_change_by_hand():
    train = dataset(np.tile(np.array([0.0, 10.0, 0.0, 10.0]), (25, 1, 1)))
    spread = np.array([5.0])
    values = np.array([[[-1.0, 0.0, 10.0, 5.0]], [[5.0, 5.0, 5.0, 5.0]]], np.float32)
    shares = range_shares(values, Normaliser.fit(train), spread)
    assert shares == {"out_of_range_share": 1 / 8, "at_range_end_share": 2 / 8}
    assert flat_share(values, spread) == 0.5
    assert changes(values[:1], spread) == pytest.approx(np.array([[0.2, 1.0, 2.0]]))


def test_report_compares_with_held_out_series():
    train, holdout, fresh = (gaussian(200, seed) for seed in range(3))
    rough = dataset(3 * fresh.values)
    three = comparison(train, holdout, rough)
    report = plausibility_report(three, seed=0).values
    assert report["change_ratio_worst"] == pytest.approx(3.0, rel=0.1)
    assert report["out_of_range_share"] > 0.1 > report["out_of_range_share_reference"]
    assert "pressure_order_violations" not in report


def test_changes_are_held_against_the_nearer_of_two_real_samples():
    """A dose of one stay in twenty: train and held-out differ, and the set lies between them."""

    def worst(size):
        sizes = enumerate((1.0, 4.0, size))
        three = comparison(*(with_dose(600, seed, rows=30, size=dose) for seed, dose in sizes))
        return plausibility_report(three, seed=0).values["change_ratio_worst"]

    assert worst(2.0) == pytest.approx(1.0, abs=0.05)
    assert worst(12.0) == pytest.approx(3.0, rel=0.1)


def test_a_score_of_whole_points_does_not_jump_by_chance():
    """The 95 % quantile of the hourly change is 1 in one set and 2 in the other."""

    def scores(twos):
        steps = np.zeros(100 * 29, np.float32)
        steps[::10], steps[: 10 * twos : 10] = 1, 2
        return dataset(np.pad(steps.reshape(100, 1, 29), ((0, 0), (0, 0), (1, 0))).cumsum(2))

    train, holdout, made = scores(155), scores(140), scores(160)
    levels = [np.quantile(np.diff(part.values), 0.95) for part in (holdout, made)]
    assert levels == [1, 2]
    report = plausibility_report(comparison(train, holdout, made), seed=0).values
    assert report["change_ratio_worst"] == pytest.approx(1.05, abs=0.05)
