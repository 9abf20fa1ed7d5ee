"""The measured change of the guidance loss, beside the predicted one."""

import numpy as np
import pytest

from scripts.utility.loss_change import as_text, changes, loss_of
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import Fit
from tardiff.influence.guidance_losses import GuidanceLoss


def predictions(logits: list[float]) -> Predictions:
    p = 1 / (1 + np.exp(-np.array(logits)))
    return Predictions(
        probabilities=np.stack([1 - p, p], 1),
        labels=np.array([0, 1, 0, 1]),
        minority=1,
        threshold=0.5,
    )


def test_the_rank_loss_by_hand():
    found = loss_of(predictions([0.0, 1.0, -1.0, 2.0]), GuidanceLoss("rank", 2))
    gaps = np.array([1.0, 2.0, 2.0, 3.0])  # of every (positive, negative) pair
    assert found == pytest.approx(np.log1p(np.exp(-gaps)).mean())


def test_changes_are_paired_by_seed_and_only_of_predicted_sets():
    strength = {"change": -0.2, "error": 0.1}
    facts = {"guidance_loss": "rank", "classes": None, "strength": strength}
    guidance = {"guided": {"facts": facts}, "other": {"facts": {}}}
    worse, better = predictions([0.0, 0.0, 0.0, 0.0]), predictions([-1.0, 1.0, -1.0, 1.0])
    results = {}
    for seed in (0, 1):
        results[Fit("TSTR", "unguided", None, "gbdt", seed)] = worse
        results[Fit("TSTR", "other", None, "gbdt", seed)] = better
        results[Fit("TSTR", "guided", None, "gbdt", seed)] = (worse, better)[seed]
    (row,) = changes(results, guidance, 2)
    gain = np.log1p(np.exp(-2.0)) - np.log(2)
    assert row["set"] == "guided" and row["seeds"] == pytest.approx([0.0, gain])
    assert row["measured"] == pytest.approx(gain / 2)
    assert "predicted -0.2000 +- 0.1000, measured -0.2831" in as_text([row])


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
