"""Stage 4 beside the linear reference: which downstream models are called blind, and how."""

import numpy as np
import pytest
import torch

from classifier.linear_reference import linear_scores
from scripts.utility.beside_linear import as_text, compare_with_linear, warnings
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import EncodedArrays, EvaluationData, Fit
from tests.support.local_shapes import Kind, local_shapes

BUMP = Kind(40, "white", "bump", 2.5, width=8)  # hard enough: no AUROC of 1


def series(count, seed, *, mask=False):
    x, y = local_shapes(BUMP, count, seed)
    if mask:  # a mask that gives the label away, which the reference must not see
        x = torch.cat([x, (2.0 * y - 1)[:, None, None].expand(-1, 1, BUMP.length)], 1)
    return EncodedArrays(x=x.numpy(), y=y.numpy())


def data_of(*, mask=False, **changes):
    parts = {
        name: series(count, seed, mask=mask)
        for seed, (name, count) in enumerate(
            {"train": 300, "guide": 60, "select": 200, "test": 60}.items()
        )
    }
    values = 1 if mask else None
    return EvaluationData(**(parts | changes), synthetic={}, num_classes=2, num_values=values)


def predictions(data, scores):
    p = 1 / (1 + np.exp(-scores))
    return Predictions(np.stack([1 - p, p], 1), data.select.y, minority=1, threshold=0.5)


def fits_of(data, protocol="TRTR", **scores_of_model):
    return {
        Fit(protocol, "real", 0.0, model, seed): predictions(data, scores)
        for model, of_seeds in scores_of_model.items()
        for seed, scores in enumerate(of_seeds)
    }


def noise(data, seed=0):
    return np.random.default_rng(seed).normal(size=len(data.select.y))


def seeing(data):
    return 4.0 * data.select.y + 0.5 * noise(data)


def test_only_models_that_are_blind_are_called_so():
    data = data_of()
    fits = fits_of(data, lstm=[noise(data, s) for s in range(3)], conv=[seeing(data)] * 3)
    found = compare_with_linear(fits, data, None)
    assert list(found) == ["lstm", "conv"]
    assert found["lstm"].is_blind and not found["conv"].is_blind
    (sentence,) = warnings(found)
    assert sentence.startswith("the downstream model 'lstm', trained on the real series, has AUROC")
    assert "conv or rocket" in sentence and "classifier.max_epochs" in sentence
    text = as_text(found)
    for beside in found.values():
        assert f"{beside.auroc:.3f}" in text
    assert f"{found['conv'].linear:.3f} [" in text
    assert found["lstm"].gap_low > 0.02


@pytest.mark.parametrize("name", ["gbdt", "rocket", "gbdt+mask"])
def test_the_remedy_for_a_model_without_steps_names_no_epochs(name):
    data = data_of()
    (sentence,) = warnings(compare_with_linear(fits_of(data, **{name: [noise(data)]}), data, None))
    assert "conv or rocket" in sentence and "epochs" not in sentence


def test_only_real_only_fits_count():
    data = data_of()
    fits = fits_of(data, conv=[seeing(data)])
    other = {Fit("TSTR", "set", None, "conv", 0): predictions(data, noise(data))}
    assert compare_with_linear(fits | other, data, None) == compare_with_linear(fits, data, None)


def test_series_of_nine_patients_call_no_model_blind():
    data = data_of()
    fits, patients = fits_of(data, lstm=[noise(data)]), np.arange(len(data.select.y)) // 2 % 9
    found = compare_with_linear(fits, data, patients)["lstm"]
    assert (found.gap_low, found.is_blind) == (-1, False)


def test_the_reference_is_fitted_on_train_and_sees_values_only():
    masked, plain = data_of(mask=True), data_of()
    found, expected = (
        compare_with_linear(fits_of(data, conv=[seeing(data)]), data, None)["conv"]
        for data in (masked, plain)
    )
    assert found == expected
    assert 0.7 < found.linear < 0.999
    scores = linear_scores(
        (torch.tensor(plain.train.x), torch.tensor(plain.train.y)), torch.tensor(plain.select.x)
    )
    positive = plain.select.y == 1
    above = scores[positive, 1][:, None] > scores[~positive, 1][None]
    assert found.linear == pytest.approx(above.mean())
