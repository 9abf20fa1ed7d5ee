import numpy as np
import pytest

from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.common.registry import raised_flags
from scripts.quality.fidelity.plausibility import (
    DIASTOLIC,
    MEAN,
    SYSTOLIC,
    changes,
    find_channel,
    flat_share,
    largest_changes,
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
    assert changes(values[:1], spread) == pytest.approx(np.array([[[0.2, 2.0, 1.0]]]))


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


def test_laboratory_values_that_few_series_have_twice_are_left_to_chance():
    """40 of 2,000 series have one change each, of a size that varies from stay to stay."""

    def labs(seed, size=1.0):
        rng = np.random.default_rng(seed)
        values = np.zeros((2000, 12, 6), np.float32)
        for channel in range(12):
            rows = rng.choice(2000, 40, replace=False)
            values[rows, channel, 3:] = size * rng.lognormal(0, 1, (40, 1))
        return dataset(values)

    def flagged(*sets):
        report = plausibility_report(comparison(*sets), seed=0)
        return "change_ratio_worst" in {flag.metric for flag in raised_flags(report.values)}

    honest = [flagged(*(labs(3 * n + k) for k in range(3))) for n in range(20)]
    assert sum(honest) <= 1
    assert flagged(labs(0), labs(1), labs(2, size=4.0))
    assert flagged(labs(0), labs(1), dataset(np.zeros((2000, 12, 6), np.float32)))


@pytest.mark.parametrize("rows", [200, 2000])
def test_the_error_of_the_largest_changes_is_their_spread_over_samples(rows):
    found = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        sizes = rng.exponential(1, (rows, 1, 1)) * (rng.random((rows, 1, 1)) < 0.5)
        found.append(
            largest_changes(np.abs(sizes * rng.normal(size=(rows, 1, 9))).transpose(1, 0, 2))
        )
    spread = np.log([each.mean[0] for each in found]).std()
    assert np.mean([each.error[0] for each in found]) == pytest.approx(spread, rel=0.15)


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
