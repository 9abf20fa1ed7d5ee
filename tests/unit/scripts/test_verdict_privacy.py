"""Is a set private? What an attack, a copy and another population of the test series say."""

import pytest

from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.common.registry import raised_flags
from scripts.quality.suite import quality_report
from scripts.results.answers import CANNOT_TELL, NO, NO_LEAK_FOUND
from scripts.results.quality_answers import answer_privacy
from tests.support.metric_sets import dataset, gaussian
from tests.support.verdict_rows import privacy

ATTACKED = {"membership_auc": 0.7, "membership_auc_low": 0.66, "membership_auc_high": 0.74}
NEARER = {"train_closer_to_train_low": 0.54, "train_closer_to_train_high": 0.62}
FARTHER = {"train_closer_to_train_low": 0.38, "train_closer_to_train_high": 0.46}


@pytest.mark.parametrize(
    ("report", "outcome"),
    [
        (privacy(), NO_LEAK_FOUND),
        (privacy(copy_share=0.001), NO),
        (privacy(membership_auc=0.7, membership_auc_low=0.66, membership_auc_high=0.74), NO),
        (privacy(membership_auc_high=0.61), CANNOT_TELL),
        (privacy(closer_to_train_share_high=0.62), CANNOT_TELL),
        (privacy(remarks=["train and held-out differ"]), CANNOT_TELL),
    ],
)
def test_private_needs_an_attack_that_surely_fails(report, outcome):
    assert answer_privacy(report).outcome == outcome


@pytest.mark.parametrize(
    ("real", "remarks", "copies", "outcome"),
    [
        (NEARER, [], 0.0, CANNOT_TELL),
        (FARTHER, [], 0.0, CANNOT_TELL),
        ({}, ["train and held-out differ"], 0.0, CANNOT_TELL),
        (NEARER, ["one is a copy"], 1.0, NO),
        ({}, [], 0.0, NO),
    ],
)
def test_another_population_in_test_is_no_leak(real, remarks, copies, outcome):
    share = {"copies": copies, "copy_share": copies / 500}
    found = answer_privacy(privacy(remarks, **share, **ATTACKED, **real))
    assert found.outcome == outcome
    assert ("differ in distribution" in found.reason) == (outcome == CANNOT_TELL)


def test_an_honest_set_beside_test_series_of_another_population_does_not_leak():
    train, honest = gaussian(300, 0), gaussian(300, 1)
    holdout = dataset(gaussian(300, 2).values * 1.5)
    report = quality_report(
        "privacy", train, holdout, honest, normaliser=Normaliser.fit(train), seed=0
    )
    assert raised_flags(report.values)
    assert answer_privacy(report).outcome == CANNOT_TELL


def test_near_copies_leak_beside_test_series_of_another_population_too():
    """Training series with noise of 0.2 s.d.: of a fresh patient none would be so near."""
    train, noise = gaussian(300, 0, (4, 6)), gaussian(300, 1, (4, 6)).values
    holdout = dataset(gaussian(300, 2, (4, 6)).values * 1.5)
    report = quality_report(
        "privacy",
        train,
        holdout,
        dataset(train.values + 0.2 * noise),
        normaliser=Normaliser.fit(train),
        seed=0,
    )
    assert report.values["copies"] == 0 and report.values["train_closer_to_train_low"] > 0.5
    assert answer_privacy(report).outcome == NO


def test_what_was_not_attacked_is_not_cleared():
    found = answer_privacy(privacy(), ["val_guide"])
    assert found.outcome == CANNOT_TELL
    assert "leak of the guidance series; the training series were not attacked" in found.reason
    leaks = answer_privacy(privacy(copy_share=0.001), ["val_guide"])
    assert leaks.outcome == NO and leaks.reason.startswith("It leaks guidance series: ")
