"""The private G: bounded contributions, the noise that the promise needs, one patient one row."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from scipy.stats import norm as normal

from configs.runtime.errors import DataError, UserError
from tardiff.export_guidance import _one_per_patient
from tardiff.influence.convex_guide import LabelledDesign, fit_guide
from tardiff.influence.dp_gradient import clipped_sum, gradient_norms
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.privacy.noise import add_noise, noise_multiplier


def rows_and_head(classes: int = 2) -> tuple[LabelledDesign, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([3 * torch.randn(24, 5, generator=generator), torch.ones(24, 1)], 1).double()
    y = torch.arange(24) % 3 // 2 if classes == 2 else torch.arange(24) % classes
    guide = fit_guide(x, y, num_classes=classes, penalty=0.1)
    return LabelledDesign(x, y), guide.theta


@pytest.mark.parametrize("classes", [2, 3])
def test_the_norms_are_those_of_single_series(classes):
    known, theta = rows_and_head(classes)
    one_by_one = [
        clipped_sum(
            LabelledDesign(known.rows[[i]], known.y[[i]]),
            theta,
            weights=torch.ones(1).double(),
            clip=1e9,
        ).gradient.norm()
        for i in range(len(known.y))
    ]
    torch.testing.assert_close(gradient_norms(known, theta), torch.stack(one_by_one))


@pytest.mark.parametrize("kind", ["nll", "balanced"])
@pytest.mark.parametrize("classes", [2, 3])
def test_unclipped_weights_give_the_guidance_gradient(kind, classes):
    known, theta = rows_and_head(classes)
    loss = GuidanceLoss(kind, classes)
    found = clipped_sum(known, theta, weights=loss.row_weights(known.y), clip=1e9)
    expected = known.rows.T @ loss.gradient(known.rows @ theta, known.y)
    torch.testing.assert_close(found.gradient, expected)
    assert found.share_clipped == 0


@pytest.mark.parametrize("kind", ["nll", "balanced"])
def test_replacing_a_series_moves_the_sum_by_at_most_the_sensitivity(kind):
    known, theta = rows_and_head()
    weights = GuidanceLoss(kind, 2).row_weights(known.y)

    def total(rows):
        return clipped_sum(LabelledDesign(rows, known.y), theta, weights=weights, clip=0.2)

    base, moved = total(known.rows), 0.0
    for row in range(len(known.y)):
        changed = known.rows.clone()
        changed[row] = -5 * known.rows[row]
        after = total(changed)
        assert after.sensitivity == base.sensitivity
        moved = max(moved, float((after.gradient - base.gradient).norm()))
    assert moved <= base.sensitivity * (1 + 1e-12)
    assert moved > 0.9 * base.sensitivity  # and the bound is a tight one
    assert base.share_clipped > 0  # the clip bites
    within = weights * (gradient_norms(known, theta) <= 0.2)  # others do not count
    assert clipped_sum(known, theta, weights=within, clip=0.2).share_clipped == 0


def test_a_series_that_is_not_finite_does_not_betray_itself():
    known, theta = rows_and_head()
    weights = GuidanceLoss("nll", 2).row_weights(known.y)
    rows = known.rows.clone()
    rows[3, 0] = float("inf")
    odd = clipped_sum(LabelledDesign(rows, known.y), theta, weights=weights, clip=0.2)
    base = clipped_sum(known, theta, weights=weights, clip=0.2)
    assert odd.gradient.isfinite().all()
    assert float((odd.gradient - base.gradient).norm()) <= base.sensitivity


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 4.0])
@pytest.mark.parametrize("delta", [1e-6, 1e-3])
def test_noise_keeps_the_closed_form_of_balle_and_wang(epsilon, delta):
    pytest.importorskip("dp_accounting")
    sd = noise_multiplier(epsilon, delta)

    def delta_of(sigma):  # theorem 8, sensitivity 1
        a, b = 1 / (2 * sigma), epsilon * sigma
        return normal.cdf(a - b) - math.exp(epsilon) * normal.cdf(-a - b)

    assert delta_of(sd) == pytest.approx(delta, rel=1e-6)
    assert delta_of(0.99 * sd) > delta


def test_noise_is_normal_in_every_entry_and_unseeded():
    zero = torch.zeros(10_000, 2, dtype=torch.float64)
    torch.manual_seed(0)
    first = add_noise(zero, 3.0)
    torch.manual_seed(0)
    second = add_noise(zero, 3.0)
    assert not torch.equal(first, second)
    assert kstest(first.flatten().numpy() / 3, "norm").statistic < 0.02  # of uniform noise: 0.06
    assert abs(float(torch.corrcoef(first.T)[0, 1])) < 0.05


def test_without_the_library_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "dp_accounting", None)
    with pytest.raises(UserError, match=r"\[dp\]"):
        noise_multiplier(1.0, 1e-5)


def test_a_patient_counts_once(make_dataset):
    guide = make_dataset(6, subject_ids=np.array([4, 4, 7, 8, 7, 9]))
    assert _one_per_patient(guide).subject_ids.tolist() == [4, 7, 8, 9]
    with pytest.raises(DataError, match="which patient"):
        _one_per_patient(make_dataset(2, subject_ids=np.array([-1, -1])))
