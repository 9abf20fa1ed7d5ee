"""Weighted scores against scikit-learn's, which repeats the definition row by row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from scripts.utility.metrics import (
    BLOCK,
    Predictions,
    confidence_and_truth,
    point_scores,
    ranking_scores,
    score,
)


def binary_case(seed: int, rows: int = 300, levels: int | None = None):
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.2).astype(np.int64)
    p = 1 / (1 + np.exp(-(rng.normal(size=rows) + y)))
    if levels:
        p = np.round(p * levels) / levels  # ties, also between classes
    weights = rng.multinomial(rows, np.full(rows, 1 / rows), size=200).astype(np.float32)
    return y, p, weights


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 1000), levels=st.sampled_from([None, 3, 20]))
def test_weighted_ranking_equals_sklearn(seed, levels):
    y, p, weights = binary_case(seed, levels=levels)
    auroc, auprc = ranking_scores(p, y == 1, weights)
    for b in (0, 7, 150, 199):
        w = weights[b]
        assert auroc[b] == pytest.approx(metrics.roc_auc_score(y, p, sample_weight=w), abs=1e-9)
        expected = metrics.average_precision_score(y, p, sample_weight=w)
        assert auprc[b] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("minority", [0, 1])
def test_binary_scores_equal_sklearn(minority):
    y, p, weights = binary_case(3)
    predictions = Predictions(
        probabilities=np.stack([1 - p, p], axis=1), labels=y, minority=minority, threshold=0.4
    )
    scores = score(predictions, weights)
    for b in (0, 131):
        w = weights[b]
        called = (predictions.probabilities[:, minority] >= 0.4).astype(int)
        f1 = metrics.f1_score((y == minority).astype(int), called, sample_weight=w)
        assert scores["f1"][b] == pytest.approx(f1, abs=1e-9)
        brier = metrics.brier_score_loss(y, p, sample_weight=w)
        assert scores["brier"][b] == pytest.approx(brier, abs=1e-6)
        auroc = metrics.roc_auc_score(y, p, sample_weight=w)
        assert scores["auroc"][b] == pytest.approx(auroc, abs=1e-9)


def test_multiclass_scores_are_macro_averages():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=400)
    logits = rng.normal(size=(400, 3)) + 1.2 * np.eye(3)[y]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    values = point_scores(
        Predictions(probabilities=p, labels=y, minority=2, threshold=float("nan"))
    )
    onehot = np.eye(3)[y]
    assert values["auroc"] == pytest.approx(metrics.roc_auc_score(onehot, p, average="macro"))
    assert values["auprc"] == pytest.approx(
        metrics.average_precision_score(onehot, p, average="macro")
    )
    assert values["f1"] == pytest.approx(metrics.f1_score(y, p.argmax(1), average="macro"))
    assert values["brier"] == pytest.approx(((p - onehot) ** 2).sum(axis=1).mean())


def test_calibration_error_is_the_gap_of_ten_equal_bins():
    rng = np.random.default_rng(0)
    p = rng.permutation(np.linspace(0.001, 0.3, 200))
    y = (rng.random(200) < p).astype(np.int64)
    predictions = Predictions(
        probabilities=np.stack([1 - p, p], axis=1), labels=y, minority=1, threshold=0.5
    )
    order = np.argsort(p)
    gaps = [abs(p[rows].mean() - y[rows].mean()) for rows in np.split(order, 10)]
    assert point_scores(predictions)["ece"] == pytest.approx(np.mean(gaps))


def test_calibration_error_sees_what_ranking_does_not():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.5, size=20_000)
    y = (rng.random(20_000) < p).astype(np.int64)

    def scores(probability):
        both = np.stack([1 - probability, probability], axis=1)
        return point_scores(Predictions(probabilities=both, labels=y, minority=1, threshold=0.5))

    honest, doubled = scores(p), scores(2 * p)
    assert honest["ece"] < 0.02
    assert doubled["ece"] == pytest.approx(p.mean(), abs=0.02)
    assert honest["auroc"] == doubled["auroc"]


def test_calibration_of_more_classes_is_about_the_answer_given():
    p = np.array([[0.6, 0.3, 0.1]] * 10)
    y = np.array([0] * 4 + [1] * 6)
    predictions = Predictions(probabilities=p, labels=y, minority=2, threshold=float("nan"))
    # Equal confidences are one bin, in whatever order the rows stand.
    assert point_scores(predictions)["ece"] == pytest.approx(0.6 - 0.4)


def test_a_side_without_weight_has_no_ranking_score():
    weights = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0], [1.0, 0.0, 1.0]])
    auroc, auprc = ranking_scores(
        np.array([0.1, 0.2, 0.3]), np.array([False, False, True]), weights
    )
    assert np.isnan(auroc).tolist() == [True, True, False]
    assert np.isnan(auprc).tolist() == [True, True, False]
    assert auroc[2] == auprc[2] == 1.0


def test_resample_counts_equal_repeated_rows():
    y, p, weights = binary_case(5, levels=10)
    rows = np.repeat(np.arange(len(y)), weights[0].astype(int))
    predictions = Predictions(
        probabilities=np.stack([1 - p, p], axis=1), labels=y, minority=1, threshold=0.5
    )
    repeated = Predictions(
        probabilities=predictions.probabilities[rows], labels=y[rows], minority=1, threshold=0.5
    )
    weighted = score(predictions, weights[:1])
    for name, value in point_scores(repeated).items():
        assert weighted[name][0] == pytest.approx(value, abs=1e-9)


@pytest.mark.parametrize("classes", [2, 3])
def test_every_resample_is_scored_by_itself(classes):
    """More resamples than one block of the sums holds."""
    rng = np.random.default_rng(5)
    y = np.arange(60) % classes
    p = rng.dirichlet(np.ones(classes), size=60) + 0.5 * np.eye(classes)[y]
    found = Predictions(
        probabilities=p / p.sum(axis=1, keepdims=True), labels=y, minority=1, threshold=0.4
    )
    weights = rng.integers(0, 4, size=(BLOCK + 7, 60)).astype(np.float32)
    together = score(found, weights)
    for row in (0, 1, BLOCK - 1, BLOCK, BLOCK + 6):
        alone = score(found, weights[row : row + 1])
        for name, values in together.items():
            assert values[row] == pytest.approx(alone[name][0], rel=1e-9), name


def test_the_answer_of_more_classes_is_the_likeliest():
    p = np.array([[0.1, 0.3, 0.6], [0.2, 0.5, 0.3]])
    found = Predictions(probabilities=p, labels=np.array([2, 1]), minority=1, threshold=None)
    confidence, truth = confidence_and_truth(found)
    assert confidence.tolist() == [0.6, 0.5] and truth.tolist() == [True, True]
