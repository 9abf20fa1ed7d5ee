import numpy as np
import pytest
from scipy.stats import norm

from scripts.quality.fidelity.conditional import conditional_report, probe_auc
from tests.support.metric_sets import comparison, dataset, gaussian


def labelled(n, seed, gap=0.35):
    rng = np.random.default_rng(seed)
    labels = (rng.random(n) < 0.3).astype(int)
    return dataset(rng.normal(size=(n, 2, 6)) + gap * labels[:, None, None], labels)


def test_probe_reaches_the_bayes_auc():
    rng = np.random.default_rng(0)
    labels = np.arange(4000) % 2
    features = rng.normal(size=(4000, 3)) + labels[:, None]
    auc, low, high = probe_auc(features[:2000], labels[:2000], features[2000:], labels[2000:])
    assert auc == pytest.approx(norm.cdf(np.sqrt(3 / 2)), abs=0.02)
    assert low < auc < high and high - low < 0.05


def test_three_classes_average_one_against_rest():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 3
    features = rng.normal(size=(600, 1)) * 0.01 + labels[:, None]
    auc, _, _ = probe_auc(features, labels, features, labels)
    assert auc > 0.75  # the ends are separated exactly, the middle class is not linear


def test_shuffled_labels_lose_both_probes():
    train, holdout, fresh = (labelled(800, seed) for seed in range(3))
    good = conditional_report(comparison(train, holdout, fresh), seed=0).values
    shuffled = dataset(fresh.values, np.random.default_rng(0).permutation(fresh.labels))
    bad = conditional_report(comparison(train, holdout, shuffled), seed=0).values
    for probe in ("label_auc_of_real_probe", "label_auc_of_synthetic_probe"):
        assert good[probe] == pytest.approx(good[f"{probe}_reference"], abs=0.06)
        assert bad[probe] < 0.6 < good[probe]


def test_a_single_class_is_named():
    one = gaussian(60, 2, labels=np.zeros(60, int))
    report = conditional_report(comparison(gaussian(60, 0), gaussian(60, 1), one), seed=0)
    assert report.values == {} and "synthetic" in report.remarks[0]
