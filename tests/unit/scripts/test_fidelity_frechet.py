import numpy as np
import pytest
from scipy.linalg import sqrtm

from scripts.quality.fidelity.frechet import frechet_distance, frechet_report, within_class
from tests.support.metric_sets import comparison, dataset, gaussian


def exact_gaussian(rng, n, mean, covariance):
    """n rows whose sample mean and covariance are exactly the given ones."""
    rows = rng.normal(size=(n, len(mean)))
    rows -= rows.mean(0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows, rowvar=False))).T
    return rows @ np.linalg.cholesky(covariance).T + mean


def test_commuting_covariances_have_a_closed_form():
    rng = np.random.default_rng(0)
    first = exact_gaussian(rng, 50, np.array([0.0, 1.0, 2.0]), np.diag([1.0, 4.0, 9.0]))
    second = exact_gaussian(rng, 70, np.array([3.0, 1.0, 0.0]), np.diag([4.0, 4.0, 1.0]))
    expected = (9 + 0 + 4) + (1 + 0 + 4)  # squared mean gaps, then squared sd gaps
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-9)


def test_equals_the_formula_with_scipy_matrix_roots():
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(40, 5)), rng.normal(size=(60, 5)) @ rng.normal(size=(5, 5))
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    gap = np.square(first.mean(0) - second.mean(0)).sum()
    expected = gap + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-8)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-8)


def test_is_zero_for_equal_sets_even_with_singular_covariance():
    rows = np.random.default_rng(2).normal(size=(10, 30))
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-5)


def labelled(n, seed, gap):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return dataset(rng.normal(size=(n, 2, 6)) + gap * labels[:, None, None], labels)


def test_wrong_labels_show_within_classes_only():
    train, holdout, right = (labelled(300, seed, 1.0) for seed in range(3))
    wrong = dataset(right.values, 1 - right.labels)
    good = frechet_report(comparison(train, holdout, right), seed=0).values
    bad = frechet_report(comparison(train, holdout, wrong), seed=0).values
    assert bad["frechet"] == good["frechet"]
    assert good["frechet_within_class"] < 2 * good["frechet_within_class_reference"]
    assert good["frechet_within_class_p"] > 0.01
    assert bad["frechet_within_class"] > 5 * good["frechet_within_class"]
    assert bad["frechet_within_class_p"] == pytest.approx(1 / 201)


def rare_class(seed, shift=0.0):
    """Values of a set drawn from 60 training series of a class, moved by `shift`."""
    rng = np.random.default_rng(seed)
    train, holdout = rng.normal(size=(60, 16)), rng.normal(size=(600, 16))
    features = {"train": train, "holdout": holdout, "synthetic": rng.choice(train, 240) + shift}
    labels = {name: np.zeros(len(rows), int) for name, rows in features.items()}
    return within_class(features, labels, ("died",), seed=seed).values


def test_a_generator_that_knows_only_its_training_series_is_judged_by_them():
    """Their own distance to other patients is no fault of it: p-values are spread evenly."""
    found = [rare_class(seed) for seed in range(30)]
    chances = [values["frechet_within_class_p"] for values in found]
    assert 0.35 < np.mean(chances) < 0.65
    ratios = [v["frechet_within_class"] / v["frechet_within_class_reference"] for v in found]
    assert max(ratios) < 1.3
    moved = rare_class(0, shift=0.5)
    assert moved["frechet_within_class_p"] == pytest.approx(1 / 201)
    assert moved["frechet_within_class"] > 1.3 * moved["frechet_within_class_reference"]


def test_one_standard_deviation_everywhere_scores_about_one(monkeypatch):
    """Scaled by train's total variance, a shift by one feature sd in each feature is 1."""
    monkeypatch.setattr(
        "scripts.quality.fidelity.frechet.RandomConvolutions",
        lambda *_, **__: lambda x: x.flatten(1).numpy(),  # the entries are the features
    )
    train, holdout = gaussian(400, 0), gaussian(400, 1)
    shifted = dataset(gaussian(400, 2).values + 1.0)
    report = frechet_report(comparison(train, holdout, shifted), seed=0).values
    assert report["frechet"] == pytest.approx(1, abs=0.15)
    assert report["frechet_reference"] < 0.15


def test_a_class_too_small_is_named_and_left_out():
    labels = np.zeros(100, int)
    labels[:5] = 1
    sets = [gaussian(100, seed, labels=labels) for seed in range(3)]
    report = frechet_report(comparison(*sets), seed=0)
    assert "frechet_within_class/died" not in report.values
    assert "frechet_within_class" in report.values
    assert any("class died left out" in flag and "5 series" in flag for flag in report.remarks)
