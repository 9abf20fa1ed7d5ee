"""Which series a group holds, and that its scores are theirs alone."""

import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from scripts.results.answers import NO, YES, Answer
from scripts.results.score_tables import subgroup_table
from scripts.results.useful import unless_a_group_loses
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import REAL, Fit
from scripts.utility.subgroups import find_subgroups, subgroup_scores
from tests.support.metric_sets import dataset

NAMES = ("age[years]", "sex[1=male]", "height[cm]", "icu_type[1=coronary,2=surgical]", "ward[code]")


@pytest.fixture
def test_split(make_dataset):
    n = 400
    rng = np.random.default_rng(0)
    facts = {
        "age": rng.choice([40, 50, 64, 65, 79, 80, np.nan], n),
        "sex": rng.integers(2, size=n),
        "height": rng.normal(170, 10, n),
        "icu": rng.integers(1, 3, size=n),
        "ward": rng.integers(3, size=n),
    }
    static = np.stack(list(facts.values()), axis=1).astype(np.float32)
    return make_dataset(n, static=static, static_names=NAMES)


def predictions(rng, y, signal):
    p = 1 / (1 + np.exp(-(signal * y + rng.normal(size=len(y)))))
    return Predictions(probabilities=np.stack([1 - p, p], 1), labels=y, minority=1, threshold=0.5)


def test_groups_are_ages_and_codes(test_split):
    groups = find_subgroups(test_split)
    assert list(groups) == [
        "age below 50",
        "age 50-64",
        "age 65-79",
        "age 80 and older",
        "sex not male",
        "sex male",
        "icu_type coronary",
        "icu_type surgical",
        "ward 0",
        "ward 1",
        "ward 2",
    ]
    age = test_split.static[:, 0]
    assert np.array_equal(groups["age 50-64"], (age == 50) | (age == 64))
    assert np.array_equal(groups["age 65-79"], (age == 65) | (age == 79))
    assert np.array_equal(groups["sex male"], test_split.static[:, 1] == 1)
    bands = [rows for name, rows in groups.items() if name.startswith("age")]
    assert np.array_equal(np.sum(bands, axis=0), np.isfinite(age))  # unknown: in none


def test_bands_of_age_given_as_categories_are_groups(test_split):
    """Their codes 0, 1, 2 are no ages."""
    codes = np.random.default_rng(0).integers(2, size=(len(test_split), 1)).astype(np.float32)
    banded = dataclasses.replace(test_split, static=codes, static_names=("age[0=18-40,1=41+]",))
    assert list(find_subgroups(banded)) == ["age 18-40", "age 41+"]


def test_a_covariate_of_two_values_is_a_code(test_split):
    """A sex of 1 and 2 in a user's table, whose unit names no code; three values may be a count."""
    rng = np.random.default_rng(0)
    static = np.stack([rng.choice([1, 2, np.nan], 400), rng.integers(3, size=400)], 1)
    plain = dataclasses.replace(
        test_split, static=static.astype(np.float32), static_names=("sex", "falls")
    )
    assert list(find_subgroups(plain)) == ["sex 1", "sex 2"]


def test_groups_with_few_series_of_a_class_are_left_out(test_split):
    rare = dataclasses.replace(test_split, labels=(np.arange(400) % 40 == 0).astype(np.int64))
    assert find_subgroups(rare) == {}


def test_a_group_is_large_by_its_patients(test_split):
    """Ten series a patient: ten patients of a class and sex are enough, nine too few."""
    static = (np.arange(400) // 200).astype(np.float32)[:, None]
    patients = np.arange(400) % 200 // 10 + 20 * (np.arange(400) // 200)
    labels = patients % 2
    ten = dataclasses.replace(
        test_split, static=static, static_names=("sex[1=male]",), labels=labels
    )
    ten = dataclasses.replace(ten, subject_ids=patients)
    assert list(find_subgroups(ten)) == ["sex not male", "sex male"]
    nine = dataclasses.replace(ten, subject_ids=np.where(patients == 2, 0, patients))
    assert list(find_subgroups(nine)) == ["sex male"]
    synthetic = dataclasses.replace(ten, subject_ids=np.full(400, -1))  # patients of their own
    assert list(find_subgroups(synthetic)) == ["sex not male", "sex male"]


def test_scores_are_those_of_the_group(test_split):
    rng = np.random.default_rng(1)
    y = test_split.labels
    results = {
        Fit(protocol, generator, ratio, "classifier", seed): predictions(rng, y, 1.0)
        for protocol, generator, ratio in [
            ("TRTR", REAL, 0.0),
            ("TSTR", "unguided", None),
            ("TSTR", "influence", None),
            ("TSRTR", "unguided", 0.5),
            ("TSRTR", "unguided", 1.0),
            ("TRTS", "unguided", None),
        ]
        for seed in (0, 1)
    }
    scores = subgroup_scores(results, test_split, resamples=100)
    assert len(scores) == 11 * 4  # TRTS and the smaller ratio are left out
    male = test_split.static[:, 1] == 1
    (row,) = [
        s.summary for s in scores if s.subgroup == "sex male" and s.summary.generator == "influence"
    ]
    fits = [c for c in results if (c.protocol, c.generator) == ("TSTR", "influence")]
    expected = [roc_auc_score(y[male], results[c].probabilities[male, 1]) for c in fits]
    assert row.mean == pytest.approx(np.mean(expected))
    assert row.low < row.mean < row.high
    assert row.vs_unguided is not None
    text = subgroup_table(scores).as_markdown()
    assert f"sex male ({int(male.sum())})" in text and "synthetic (TSTR)" in text
    alone = [score for score in scores if score.summary.generator != "influence"]
    for told, columns in (
        (scores, ["minus unguided", "minus real only"]),
        (alone, ["minus real only"]),
    ):
        assert subgroup_table(told).columns[5:] == columns


@pytest.mark.parametrize("harmed", [False, True])
def test_a_group_that_loses_is_found_among_many_with_few_resamples_asked(test_split, harmed):
    """Holm over eleven groups asks for p-values that 100 resamples cannot reach."""
    y, male = test_split.labels, test_split.static[:, 1] == 1
    results = {
        Fit(protocol, generator, ratio, "gbdt", seed): predictions(
            np.random.default_rng(seed), y, signal
        )
        for protocol, generator, ratio, signal in [
            ("TRTR", REAL, 0.0, 2.0),
            ("TSRTR", "guided", 1.0, np.where(male & harmed, -1.0, 3.0)),
        ]
        for seed in (0, 1, 2)
    }
    scores = subgroup_scores(results, test_split, resamples=100)
    groups = {s.subgroup: s.summary.vs_real for s in scores if s.summary.generator == "guided"}
    found = unless_a_group_loses(Answer(YES, "Better."), groups, allowed=0.0)
    assert (found.outcome == NO) == ("sex male" in found.reason) == harmed
    assert "sex not male" not in found.reason


def test_ages_in_other_units_make_no_bands_of_years():
    rng = np.random.default_rng(0)
    static = np.stack([rng.uniform(20, 90, 400), rng.uniform(0, 400, 400)], 1).astype(np.float32)
    names = ("age[years]", "age_days[days]")
    found = find_subgroups(dataset(rng.normal(size=(400, 1, 4)), static=static, static_names=names))
    assert sum(rows.sum() for rows in found.values()) == 400
    assert {name.split()[0] for name in found} == {"age"}
    months = dataset(
        rng.normal(size=(400, 1, 4)), static=static[:, 1:] / 12, static_names=("age[months]",)
    )
    assert find_subgroups(months) == {}


def test_one_known_value_makes_no_groups():
    static = np.where(np.arange(400) % 5, 1.0, np.nan)[:, None].astype(np.float32)
    made = dataset(np.zeros((400, 1, 4)), static=static, static_names=("ventilated",))
    assert find_subgroups(made) == {}


def test_a_unit_that_looks_like_codes_makes_no_groups_and_no_error(test_split):
    odd = dataclasses.replace(
        test_split, static_names=("base_excess[-=x]", *test_split.static_names[1:])
    )
    assert not any(name.startswith("base_excess x") for name in find_subgroups(odd))
