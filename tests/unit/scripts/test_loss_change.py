"""The measured change of the guidance loss, beside the predicted one."""

import numpy as np
import pytest

from scripts.utility.loss_change import as_text, at_best_scale, changes, loss_of
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import Fit
from tardiff.influence.guidance_losses import GuidanceLoss


def predictions(logits, labels=(0, 1, 0, 1)) -> Predictions:
    p = 1 / (1 + np.exp(-np.asarray(logits)))
    return Predictions(np.stack([1 - p, p], 1), np.asarray(labels), minority=1, threshold=0.5)


def test_the_rank_loss_by_hand():
    found = loss_of(predictions([0.0, 1.0, -1.0, 2.0]), GuidanceLoss("rank", 2))
    gaps = np.array([1.0, 2.0, 2.0, 3.0])  # of every (positive, negative) pair
    assert found == pytest.approx(np.log1p(np.exp(-gaps)).mean())


@pytest.mark.parametrize("kind", ["rank", "nll"])
def test_the_order_alone_counts_for_the_rank_loss(kind):
    """Boosting with more trees, or a smaller penalty, says the same with larger logits."""
    logits, loss = np.array([0.5, 0.3, -1.0, 2.0]), GuidanceLoss(kind, 2)
    timid, bold = predictions(0.2 * logits), predictions(3.0 * logits)
    found = [loss_of(at_best_scale(p, loss), loss) for p in (timid, bold)]
    assert (found[0] == pytest.approx(found[1], abs=1e-4)) == (kind == "rank")
    if kind == "rank":
        grid = [predictions(a * logits) for a in np.geomspace(0.02, 50, 2000)]
        assert found[0] == pytest.approx(min(loss_of(p, loss) for p in grid), abs=1e-4)
    else:
        assert found == [loss_of(p, loss) for p in (timid, bold)]


def test_some_rows_of_each_class_find_the_scale_of_many():
    rng, loss = np.random.default_rng(0), GuidanceLoss("rank", 2)
    y = (np.arange(20_000) % 10 == 0).astype(np.int64)
    logits = 4 * (y + rng.normal(size=len(y)))
    found = loss_of(at_best_scale(predictions(logits, y), loss), loss)
    grid = [loss_of(predictions(a * logits, y), loss) for a in np.geomspace(0.1, 1, 30)]
    assert found == pytest.approx(min(grid), abs=1e-3)


def test_changes_are_paired_by_seed_and_only_of_predicted_sets():
    strength = {"change": -0.2, "error": 0.1}
    facts = {"guidance_loss": "rank", "classes": None, "strength": strength}
    guidance = {"guided": {"facts": facts}, "other": {"facts": {}}}
    worse, better = predictions([0.0, 0.0, 0.0, 0.0]), predictions([-1.0, 1.0, 0.5, 0.0])
    results = {}
    for seed in (0, 1):
        results[Fit("TSTR", "unguided", None, "gbdt", seed)] = worse
        results[Fit("TSTR", "other", None, "gbdt", seed)] = better
        results[Fit("TSTR", "guided", None, "gbdt", seed)] = (worse, better)[seed]
    (row,) = changes(results, guidance, 2)
    gaps = np.array([2.0, 0.5, 1.0, -0.5])  # of every (positive, negative) pair of the better ones
    scales = np.geomspace(0.02, 50, 5000)[:, None]
    gain = np.log1p(np.exp(-scales * gaps)).mean(1).min() - np.log(2)
    assert row["set"] == "guided" and row["seeds"] == pytest.approx([0.0, gain], abs=1e-4)
    assert row["measured"] == pytest.approx(gain / 2, abs=1e-4)
    assert f"predicted -0.2000 +- 0.1000, measured {gain / 2:+.4f}" in as_text([row])


def test_the_loss_of_some_classes_is_measured_on_these():
    """`influence.classes`: what was predicted is the loss of their rows, not of all."""
    facts = {"guidance_loss": "nll", "classes": [1], "strength": {"change": -0.1, "error": 0.1}}
    before, after = predictions([0.0, 0.0, 0.0, 0.0]), predictions([3.0, 1.0, 3.0, 1.0])
    results = {
        Fit("TSTR", "unguided", None, "gbdt", 0): before,
        Fit("TSTR", "guided", None, "gbdt", 0): after,
    }
    (row,) = changes(results, {"guided": {"facts": facts}}, 2)
    assert row["measured"] == pytest.approx(np.log1p(np.exp(-1.0)) - np.log(2))
