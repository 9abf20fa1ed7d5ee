"""Synthetic series as a test set: errors by hand, groups, and what a set cannot tell."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scripts.quality.common.metric_report import auc_variance
from scripts.results.score_tables import testing_table as as_table
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import REAL, Fit
from scripts.utility.synthetic_testing import auroc_errors

N = 600


@pytest.fixture
def test_split(make_dataset):
    sex = np.arange(N, dtype=np.float32)[:, None] // 300
    return make_dataset(N, static=sex, static_names=("sex[1=male]",))


def predictions(y, signal, seed):
    rng = np.random.default_rng(seed)
    p = 1 / (1 + np.exp(-(signal * y + rng.normal(size=len(y)))))
    return Predictions(probabilities=np.stack([1 - p, p], 1), labels=y, minority=1, threshold=0.5)


def fits(y, *, on_set, y_set=None):
    y_set = y if y_set is None else y_set
    real = {Fit("TRTR", REAL, 0.0, "classifier", s): predictions(y, 1.0, s) for s in (0, 1)}
    sets = {Fit("TRTS", "a", None, "classifier", s): predictions(y_set, on_set, s) for s in (0, 1)}
    return real | sets


def auroc(found, rows=slice(None)):
    return roc_auc_score(found.labels[rows], found.probabilities[rows, 1])


def test_the_error_is_that_of_the_set_and_a_small_real_set_errs_less_the_larger_it_is(test_split):
    results = fits(test_split.labels, on_set=3.0)
    bare = dataclasses.replace(test_split, static=np.zeros((N, 0), np.float32), static_names=())
    (found,) = auroc_errors(results, test_split, {"a": bare}, seed=0)
    real, synthetic = list(results.values())[:2], list(results.values())[2:]
    gaps = [abs(auroc(s) - auroc(r)) for r, s in zip(real, synthetic, strict=True)]
    assert found.group == "all" and found.error == pytest.approx(np.mean(gaps))
    assert found.real == pytest.approx(np.mean([auroc(r) for r in real]))
    # About sqrt(2 / pi) of the standard error of an AUROC of 0.76 on 50 + 50 and 100 + 100 rows.
    assert found.small[100] == pytest.approx(0.038, abs=0.008)
    assert found.small[200] == pytest.approx(found.small[100] / 2**0.5, rel=0.2)


def test_the_chance_of_the_real_series_is_in_both_errors(make_dataset):
    """110 real series are hardly more than 100: two such draws differ by the chance of both."""
    few = make_dataset(110)
    found, *_ = auroc_errors(fits(few.labels, on_set=1.0), few, {"a": few}, seed=0)
    sides = np.bincount(few.labels)
    of_all = auc_variance(found.real, int(sides[1]), int(sides[0]))
    both = (of_all * (110 / 100 + 1)) ** 0.5
    assert found.small[100] == pytest.approx((2 / np.pi) ** 0.5 * both, rel=0.15)


def test_the_chance_of_real_series_is_that_of_their_patients(make_dataset):
    """Four series a patient: what stands for the truth is as uncertain as the patients are few."""
    few = make_dataset(160)
    alike = dataclasses.replace(few, labels=few.labels.repeat(4)[:160])
    grouped = dataclasses.replace(alike, subject_ids=np.arange(160) // 4)
    results = fits(alike.labels, on_set=1.0)
    for fit, found in results.items():
        rows = found.probabilities[np.arange(160) // 4]
        results[fit] = dataclasses.replace(found, probabilities=rows)
    apart, together = (
        auroc_errors(results, test, {"a": alike}, seed=0)[0].small[100]
        for test in (dataclasses.replace(alike, subject_ids=np.arange(160)), grouped)
    )
    assert together > 1.2 * apart


def test_groups_are_those_that_both_sets_know(test_split):
    results = fits(test_split.labels, on_set=1.0)
    found = auroc_errors(results, test_split, {"a": test_split}, seed=0)
    assert [entry.group for entry in found] == ["all", "sex not male", "sex male"]
    assert [entry.error for entry in found] == [0.0] * 3  # the real series themselves
    male = [auroc(results[fit], slice(300, None)) for fit in list(results)[:2]]
    assert found[2].real == pytest.approx(np.mean(male))
    women = dataclasses.replace(test_split, static=np.zeros((N, 1), np.float32))
    only_women = auroc_errors(results, test_split, {"a": women}, seed=0)
    assert [entry.group for entry in only_women] == ["all", "sex not male"]


def test_a_size_that_the_group_does_not_have_is_left_out(test_split):
    rows = np.r_[np.arange(75), np.arange(300, 375)]
    few = test_split.take(rows)
    found = auroc_errors(fits(few.labels, on_set=1.0), few, {"a": few}, seed=0)
    assert [sorted(entry.small) for entry in found] == [[100], [], []]
    assert as_table(found).rows[0][-1] == "-"


def test_without_trts_there_is_nothing_to_say(test_split):
    results = {f: p for f, p in fits(test_split.labels, on_set=1.0).items() if f.protocol == "TRTR"}
    assert auroc_errors(results, test_split, {"a": test_split}, seed=0) == []
