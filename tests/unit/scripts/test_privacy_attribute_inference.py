import numpy as np
import pytest
import torch

from scripts.quality.common.metric_report import bounded
from scripts.quality.common.registry import CHANCE, PRIVACY, quality_flags, raised_flags
from scripts.quality.privacy.attribute_inference import (
    advantage,
    attribute_report,
    channel_errors,
    label_errors,
)
from tests.support.metric_sets import comparison, dataset, gaussian


def test_advantage_by_hand_and_its_interval_by_simulation():
    assert advantage(np.array([1.0, 1.0]), np.array([2.0, 2.0])) == (0.5, 0.5, 0.5)
    assert advantage(np.ones(3), np.zeros(3)) == (0.0, 0.0, 0.0)
    rng, covered = np.random.default_rng(0), 0
    for _ in range(400):
        _, low, high = advantage(0.8 * rng.exponential(size=200), rng.exponential(size=200))
        covered += low <= 0.2 <= high
    assert 0.92 <= covered / 400 <= 0.98


def test_an_advantage_by_chance_is_flagged_once_in_a_thousand_sets():
    """Errors are skewed, as absolute ones are; few series show it most."""
    flag = next(flag for flag in quality_flags(PRIVACY) if flag.metric == "attribute_advantage")
    rng, raised, sets = np.random.default_rng(0), 0, 10_000
    for _ in range(sets):
        members, others = np.abs(rng.normal(size=(2, 60)))
        found, low, high = advantage(members, others)
        raised += flag.raised(bounded("attribute_advantage", found, (low, high), 0.0))
    assert raised <= 2.5 * CHANCE * sets


def test_the_attacker_does_not_see_the_secret_channel():
    """Nearest by the other channel is row 1; nearest by all would be row 0."""
    target = torch.tensor([[[0.0, 0.0], [9.0, 9.0]]])
    source = torch.tensor([[[3.0, 3.0], [9.0, 9.0]], [[1.0, 1.0], [2.0, 4.0]]])
    assert channel_errors(target, source, 1).tolist() == [6.0]
    assert channel_errors(target, source, 0).tolist() == [3.0]


def test_label_errors_weigh_classes_equally():
    truth, guess = np.array([0, 0, 0, 1]), np.array([0, 0, 1, 0])
    assert label_errors(guess, truth).mean() == pytest.approx((1 / 3 + 1) / 2)


def test_copies_expose_every_secret():
    train, holdout = gaussian(100, 0, (3, 8)), gaussian(100, 1, (3, 8))
    found = attribute_report(comparison(train, holdout, dataset(train.values)), seed=0).values
    assert found["attribute_advantage"] == pytest.approx(1.0)
    assert found["attribute_advantage/channel_2"] == pytest.approx(1.0)
    assert found["attribute_advantage/label"] == pytest.approx(1.0)


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_fresh_and_over_smooth_sets_expose_nobody(scale):
    """A shrunken set predicts well, training series and non-members alike."""
    train, holdout, fresh = (gaussian(400, seed, (3, 8)) for seed in range(3))
    found = attribute_report(
        comparison(train, holdout, dataset(scale * fresh.values)), seed=0
    ).values
    assert found["attribute_advantage_low"] < 0 < found["attribute_advantage_high"]


def test_shared_static_facts_are_attacked_too():
    def aged(seed):
        age = np.random.default_rng(seed + 50).normal(60, 10, (100, 1)).astype(np.float32)
        age[:5] = np.nan
        return gaussian(100, seed, static=age, static_names=("age[years]",))

    train, holdout = aged(0), aged(1)
    found = attribute_report(comparison(train, holdout, train), seed=0).values
    assert found["attribute_advantage/age[years]"] == pytest.approx(1.0)
    found = attribute_report(comparison(train, holdout, gaussian(100, 2)), seed=0).values
    assert "attribute_advantage/age[years]" not in found


def test_a_single_channel_leaves_only_whole_series_secrets():
    sets = [gaussian(60, seed, (1, 8)) for seed in range(3)]
    found = attribute_report(comparison(*sets), seed=0).values
    assert set(found) == {"attribute_advantage_reference", "attribute_advantage/label"}


def test_a_channel_that_held_out_series_do_not_have_hides_no_leak():
    """A drug rate, other than 0 in three training series and in no held-out one."""
    rng = np.random.default_rng(0)
    train, holdout = (rng.normal(size=(400, 3, 8)) + rng.normal(size=(400, 3, 1)) for _ in "ab")
    copied = train + 0.02 * rng.normal(size=train.shape)

    def with_rate(values, count):
        rate = np.zeros((len(values), 1, 8))
        rate[:count] = 1.0
        return dataset(np.concatenate([values, rate], 1))

    found = attribute_report(
        comparison(with_rate(train, 3), with_rate(holdout, 0), with_rate(copied, 0)), seed=0
    ).values
    assert 0.9 < found["attribute_advantage"] <= 1
    assert "attribute_advantage" in [flag.metric for flag in raised_flags(found)]
