"""The linear reference: what it scores, its intervals, and when stage 2 warns."""

import logging

import numpy as np
import pytest
import torch
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from classifier import linear_reference, train
from classifier.checkpoint import load_facts
from classifier.linear_reference import AgainstLinear, against_linear, auroc_parts, linear_scores
from configs import load_config
from data_preprocess.build import load_splits
from data_preprocess.model_space.encoding import encode
from tests.support.local_shapes import KINDS, Kind, local_shapes

BUMP = Kind(40, "white", "bump", 6.0, width=8)
FAINT = Kind(40, "white", "bump", 2.5, width=8)


def two(scores):
    return np.stack([-scores, scores], axis=1)


def drawn(seed, rows=60, classes=2, ties=False):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(classes, size=rows - classes)])
    scores = rng.normal(size=(rows, classes)) + np.eye(classes)[y]
    return (scores.round() if ties else scores), y


def delong(columns, y):
    """Covariance of binary AUROCs from the kernel of all pairs, as DeLong et al. define it."""
    kernels = []
    for score in columns:
        above = score[y == 1][:, None] - score[y == 0][None]
        kernels.append(np.where(above == 0, 0.5, above > 0))
    by_positive = np.stack([k.mean(1) - k.mean() for k in kernels])
    by_negative = np.stack([k.mean(0) - k.mean() for k in kernels])
    return by_positive @ by_positive.T / (y == 1).sum() ** 2 + by_negative @ by_negative.T / (
        (y == 0).sum() ** 2
    )


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 4])
def test_auroc_is_that_of_scikit_learn(classes, ties):
    scores, y = drawn(classes, classes=classes, ties=ties)
    if classes == 2:
        expected = roc_auc_score(y, scores[:, 1])
    else:
        expected = np.mean([roc_auc_score(y == k, scores[:, k]) for k in range(classes)])
    assert auroc_parts(scores, y)[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_intervals_are_those_of_delong(ties):
    own, y = drawn(1, ties=ties)
    linear, _ = drawn(2, ties=ties)
    linear = 0.5 * linear + own
    covariance = delong([own[:, 1], linear[:, 1]], y)
    found = against_linear([own], linear, y, None)
    z = norm.ppf(0.975)
    half = z * np.sqrt(covariance[1, 1])
    assert found.linear_high - found.linear == pytest.approx(half, rel=1e-5)
    assert found.linear - found.linear_low == pytest.approx(half, rel=1e-5)
    gap = z * np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    middle = found.linear - found.auroc
    assert (found.gap_low, found.gap_high) == pytest.approx((middle - gap, middle + gap), rel=1e-5)


def test_several_seeds_are_averaged():
    (a, y), (b, _) = drawn(1), drawn(2)
    linear, _ = drawn(3)
    both = against_linear([a, b], linear, y, None)
    assert both.auroc == pytest.approx(np.mean([auroc_parts(x, y)[0] for x in (a, b)]))
    assert against_linear([a, a], linear, y, None) == against_linear([a], linear, y, None)


def test_the_interval_of_a_difference_holds_the_truth():
    """Two equally good scores of 150 rows: the difference is 0, in 95 % of 400 draws."""
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(400):
        y = (np.arange(150) < 30).astype(int)
        shared = rng.normal(size=150) + y
        own, linear = (two(shared + rng.normal(size=150)) for _ in range(2))
        found = against_linear([own], linear, y, None)
        inside.append(found.gap_low <= 0 <= found.gap_high)
    assert np.mean(inside) == pytest.approx(0.95, abs=0.035)  # three standard errors


def test_series_of_one_patient_are_no_further_evidence():
    """Two equally good scores of 60 patients with ten series each, alike within a patient."""
    rng, inside, blind = np.random.default_rng(0), [], []
    patients = np.repeat(np.arange(60), 10)
    for _ in range(200):
        y = patients % 2
        own, linear = (
            two(y + rng.normal(size=60)[patients] + 0.5 * rng.normal(size=600)) for _ in range(2)
        )
        found = against_linear([own], linear, y, patients)
        inside.append(found.gap_low <= 0 <= found.gap_high)
        blind.append(found.is_blind)
    assert np.mean(inside) > 0.9 and np.mean(blind) < 0.04
    few = against_linear([own[:90]], linear[:90], y[:90], patients[:90])
    assert (few.gap_low, few.linear_low) == (-1, 0)  # nine patients


def test_a_few_rows_call_no_classifier_blind_and_no_score_is_certain():
    """Of classes that are told apart wholly DeLong's variance is 0."""
    for rows, known in ((9, False), (10, True), (1000, True)):
        y = np.arange(2 * rows) % 2
        perfect = two(y + np.linspace(0, 0.1, 2 * rows))
        found = against_linear([-perfect], perfect, y, None)
        assert found.auroc == 0 and found.linear == found.gap_high == 1
        assert found.is_blind == known
        low = 1 - 0.98 / rows if known else 0.0
        assert (found.linear_low, found.linear_high) == (pytest.approx(low, abs=1e-3), 1)
    assert against_linear([perfect[:4]], perfect[:4], y[:4], None).gap_low == -1


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_reference_sees_local_shapes(kind):
    fit, rows = local_shapes(KINDS[kind], 500, 0), local_shapes(KINDS[kind], 300, 1)
    auroc, _ = auroc_parts(linear_scores(fit, rows[0]), rows[1].numpy())
    assert auroc > 0.97


def test_the_reference_sees_nothing_where_there_is_nothing():
    x, y = local_shapes(BUMP, 600, 0)
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(0))]
    scores = linear_scores((x[:300], y[:300]), x[300:])
    assert auroc_parts(scores, y[300:].numpy())[0] == pytest.approx(0.5, abs=0.18)


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("classes", [2, 3])
def test_series_of_any_length_and_classes(length, classes):
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(90) % classes
    x = torch.randn(90, 2, length, generator=generator) + y[:, None, None]
    scores = linear_scores((x, y), x)
    assert scores.shape == (90, classes)
    assert auroc_parts(scores, y.numpy())[0] > 0.75


def test_only_a_part_of_large_sets_is_read_and_no_class_is_lost(monkeypatch):
    x, y = local_shapes(BUMP, 400, 0)
    y[:] = 0
    y[7] = y[300] = 1
    seen = []
    fit = linear_reference.RidgeClassifierCV.fit

    def counting(self, features, labels):
        seen.append(np.bincount(labels).tolist())
        return fit(self, features, labels)

    monkeypatch.setattr(linear_reference.RidgeClassifierCV, "fit", counting)
    monkeypatch.setattr(linear_reference, "MOST_VALUES", 20 * 40)
    state = torch.get_rng_state()
    first, again = (linear_scores((x, y), x[:50]) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert torch.equal(torch.get_rng_state(), state)
    assert seen[0][1] >= 1 and 20 <= sum(seen[0]) <= 21


@pytest.mark.parametrize(
    ("low", "high", "blind"), [(0.021, 0.5, True), (0.019, 0.5, False), (-0.3, -0.1, False)]
)
def test_blind_is_surely_below_by_more_than_the_margin(low, high, blind):
    found = AgainstLinear(0.7, 0.9, 0.8, 1.0, low, high)
    assert found.is_blind is blind


def config_of(folder, *overrides, kind=BUMP):
    """Stage 2 on 400 series with a bump in a tenth; half of them select."""
    x, y = local_shapes(kind, 400, 0)
    np.save(folder / "x.npy", x.numpy())
    np.save(folder / "x_labels.npy", y.numpy())
    path = folder / "c.yaml"
    path.write_text("experiment: c\n")
    settings = {
        "data.source": "files",
        "data.files.train": folder / "x.npy",
        "data.dir": folder / "data",
        "data.val_select": 0.4,
        "data.val_guide": 0.1,
        "data.test": 0.1,
        "runs_dir": folder / "runs",
        "classifier.checkpoint_dir": folder / "checkpoint",
        "accelerator": "cpu",
    }
    return load_config([str(path), *(f"{k}={v}" for k, v in settings.items()), *overrides])


BLIND = ("classifier.max_epochs=1", "classifier.learning_rate=1e-7")


def test_stage_2_warns_of_a_blind_classifier_and_says_so_again(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    config = config_of(tmp_path, *BLIND, kind=FAINT)
    for what in ("saved", "is up to date"):
        caplog.clear()
        train.main(config)
        assert what in caplog.text
        (warning,) = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert "does not see what tells the classes apart" in warning
        assert "classifier.model=conv" in warning and "classifier.max_epochs" in warning
        assert "a linear model on 250 random convolutions has AUROC" in caplog.text
    scores = load_facts(tmp_path / "checkpoint" / "best.ckpt").scores
    assert f"AUROC {scores['auroc']:.3f} on val_select" in warning
    assert (
        f"{scores['gap_low']:.3f}, {scores['gap_high']:.3f}] below {scores['linear']:.3f}"
        in warning
    )
    assert scores["gap_low"] > 0.02
    splits = load_splits(config.data)
    parts = [encode(splits.normaliser, part) for part in (splits.train, splits.val_select)]
    fitted = linear_scores((parts[0], torch.from_numpy(splits.train.labels)), parts[1])
    assert scores["linear"] == pytest.approx(auroc_parts(fitted, splits.val_select.labels)[0])
    assert scores["linear"] < 0.999  # what a reference fitted on val_select itself would have


def test_stage_2_does_not_warn_of_a_classifier_that_sees(tmp_path, caplog):
    recipe = ("learning_rate=0.005", "batch_size=16", "max_epochs=25", "patience_steps=0")
    chosen = [f"classifier.{part}" for part in ("model_args={cell: lstm, layers: 1}", *recipe)]
    with caplog.at_level(logging.INFO):
        train.main(config_of(tmp_path, *chosen))
    assert "a linear model on 250 random convolutions" in caplog.text
    warned = [r for r in caplog.records if r.levelname == "WARNING"]
    # The build asks whether the bump, which alone tells the class, is known in time.
    assert {r.name for r in warned} == {"tardiff.data"}
