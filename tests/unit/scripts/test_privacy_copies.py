from bisect import bisect

import numpy as np
import pytest
from scipy.stats import binom

from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.common.metric_report import wilson
from scripts.quality.common.registry import CHANCE, PRIVACY, quality_flags, raised_flags
from scripts.quality.privacy.distances import copies_report
from tardiff.privacy.memorisation import closeness
from tests.support.metric_sets import comparison, dataset, gaussian


def planted(train, fresh, copies, near, noise=0.3):
    """Fresh series with the first `copies` replaced by copies, the next `near` by noisy ones."""
    values = fresh.values.copy()
    values[:copies] = train.values[:copies]
    rows = slice(copies, copies + near)
    error = np.random.default_rng(9).normal(size=values[rows].shape)
    values[rows] = train.values[rows] + noise * error
    return dataset(values)


def test_counts_what_was_planted():
    train, holdout, fresh = (gaussian(200, seed, (3, 8)) for seed in range(3))
    report = copies_report(comparison(train, holdout, planted(train, fresh, 7, 20)), seed=0)
    assert report.values["copies"] == 7
    assert report.values["near_copy_share"] == pytest.approx(27 / 200)
    assert report.values["near_copy_share_reference"] == 0
    assert report.remarks == ["7 synthetic series are copies of training series"]


def test_one_copy_with_a_little_noise_is_found():
    train, holdout, fresh = (gaussian(2000, seed, (3, 8)) for seed in range(3))
    three = comparison(train, holdout, planted(train, fresh, 0, 1, noise=0.03))
    report = copies_report(three, seed=0)
    assert report.values["copies"] == 1 and report.values["copy_share_reference"] == 0


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_noisy_copies_do_not_hide_each_other(share):
    train, holdout, fresh = (gaussian(400, seed, (3, 8)) for seed in range(3))
    count = round(share * len(fresh))
    three = comparison(train, holdout, planted(train, fresh, 0, count, noise=0.03))
    assert copies_report(three, seed=0).values["copies"] == count


def test_a_copy_survives_the_way_through_the_normaliser():
    train, holdout = gaussian(50, 0), gaussian(50, 1)
    three = comparison(train, holdout, gaussian(50, 2))
    back = Normaliser.fit(train).to_clinical(three.train.x)
    assert copies_report(comparison(train, holdout, dataset(back)), seed=0).values["copies"] == 50


def test_fresh_series_are_no_copies():
    train, holdout, fresh = (gaussian(200, seed, (3, 8)) for seed in range(3))
    report = copies_report(comparison(train, holdout, fresh), seed=0)
    assert report.values["near_copy_share"] == 0 and report.remarks == []


def test_series_near_to_everyone_are_no_copies():
    """Half of them are nearer to train than any threshold on distance would allow."""
    train, holdout, fresh = (gaussian(500, seed, (2, 6)) for seed in range(3))
    three = comparison(train, holdout, dataset(0.3 * fresh.values))
    report = copies_report(three, seed=0)
    assert (closeness(three.synthetic.x, three.train.x).distance < 0.5).mean() > 0.5
    assert report.values["near_copy_share"] <= report.values["near_copy_share_reference_high"]
    assert report.values["near_copy_share"] < 0.01


def test_a_twin_in_train_does_not_hide_a_near_copy():
    train, holdout, fresh = (gaussian(100, seed, (3, 8)) for seed in range(3))
    values = train.values.copy()
    values[1] = values[0] + 0.01
    train = dataset(values)
    copy = fresh.values.copy()
    copy[0] = values[0] + 0.02
    assert (
        copies_report(comparison(train, holdout, dataset(copy)), seed=0).values["near_copy_share"]
        == 0.01
    )


def test_a_series_that_other_patients_have_too_is_no_copy():
    """3 % of each set are one flat series; one synthetic series is a copy of a training stay."""
    train, holdout, synthetic = gaussian(400, 0), gaussian(400, 1), gaussian(600, 2)
    for part in (train, holdout, synthetic):
        part.values[: len(part.values) * 3 // 100] = 0.5
    assert copies_report(comparison(train, holdout, synthetic), seed=0).values["copies"] == 0
    synthetic.values[-1] = train.values[-1]
    report = copies_report(comparison(train, holdout, synthetic), seed=0)
    assert report.values["copies"] == 1 and report.values["copy_share_reference"] == 0
    assert "copy_share" in [flag.metric for flag in raised_flags(report.values)]


def test_a_stay_with_two_temperatures_is_copied_by_chance():
    """What is not measured is the same for everybody."""
    train, holdout, synthetic = (gaussian(400, seed, (3, 8)) for seed in range(3))
    train.observed[:5], train.values[:5] = False, 0.5
    train.observed[:5, 1, [2, 4]] = True
    train.values[:5, 1, 2:] = np.linspace(-1, 1, 5)[:, None]
    synthetic.values[:5] = train.values[:5]
    report = copies_report(comparison(train, holdout, synthetic), seed=0)
    assert report.values["copies"] == report.values["near_copy_share"] == 0
    train.observed[:5] = True
    report = copies_report(comparison(train, holdout, synthetic), seed=0)
    assert report.values["copies"] == 5


def near_flag(own, trials, real, real_trials):
    """Whether `own` near copies in a set raise the flag beside `real` among held-out series."""
    flag = next(flag for flag in quality_flags(PRIVACY) if flag.metric == "near_copy_share")
    share, reference = own / trials, real / real_trials
    return flag.raised(
        {
            "near_copy_share": share,
            "near_copy_share_low": wilson(share, trials)[0],
            "near_copy_share_reference": reference,
            "near_copy_share_reference_high": wilson(reference, real_trials)[1],
        }
    )


@pytest.mark.parametrize(("trials", "real_trials"), [(400, 400), (3000, 200), (100, 1000)])
@pytest.mark.parametrize("share", [0.02, 0.2])
def test_near_copies_by_chance_are_flagged_once_in_a_thousand_sets(trials, real_trials, share):
    """Series of few degrees of freedom have near copies by chance, in either set as many."""
    chance = 0.0
    for real in range(*(int(end) for end in binom.interval(1 - 1e-5, real_trials, share))):
        # The flag is raised from some number of near copies on.
        fewest = bisect(
            range(trials + 1), 0, key=lambda own: near_flag(own, trials, real, real_trials)
        )
        chance += binom.pmf(real, real_trials, share) * binom.sf(fewest - 1, trials, share)
    assert chance < 1.3 * CHANCE


def test_few_near_copies_are_flagged_where_chance_makes_none():
    assert near_flag(10, 500, 0, 500) and near_flag(6, 8000, 0, 16_000)
    assert not near_flag(3, 500, 0, 500)
