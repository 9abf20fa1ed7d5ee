"""Under the influence report: loss values, single gradients and the one-step test (T3)."""

import numpy as np
import pytest
import torch
from torch import nn

from classifier.losses import per_sample_loss
from configs.runtime.errors import ConfigError
from tardiff.influence.guidance_gradient import all_logits, guidance_gradient
from tardiff.influence.guidance_losses import KINDS, GuidanceLoss, residual
from tardiff.influence.one_step_check import StepTest, one_step_test, rank_correlation
from tardiff.influence.parameter_space import gradient_norms, inner, row_gradients
from tests.support.oracles import Recurrent, random_direction


def make(rows=120, out=1):
    torch.manual_seed(0)
    model = Recurrent(nn.GRU, 3, 6, out).double().eval()
    x = torch.randn(rows, 3, 8, dtype=torch.float64)
    return model, x, torch.arange(rows) % max(2, out)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("out", [1, 3])
def test_the_loss_has_the_gradient_that_guides(kind, out):
    torch.manual_seed(0)
    logits = torch.randn(30, out, dtype=torch.float64)
    y = (torch.arange(30) % max(2, out)) * (torch.arange(30) % 4 > 0)
    guide = GuidanceLoss(kind, max(2, out))
    step = 1e-5 * torch.randn_like(logits)
    change = guide.value(logits + step, y) - guide.value(logits - step, y)
    expected = float((guide.gradient(logits, y) * 2 * step).sum())
    assert change == pytest.approx(expected, rel=1e-5)


def test_auto_ranks_two_classes_and_balances_more():
    assert [GuidanceLoss("auto", classes).kind for classes in (2, 3)] == ["rank", "balanced"]
    assert GuidanceLoss("auto", 3, [1]).kind == "balanced"


@pytest.mark.parametrize("kind", ["rank", "auto"])
def test_a_rank_of_some_classes_is_refused(kind):
    with pytest.raises(ValueError, match="^guidance loss 'rank' compares .* guidance set$"):
        GuidanceLoss(kind, 2, [1])


@pytest.mark.parametrize("classes", [[2], [-1]])
def test_a_class_that_the_task_has_not_is_refused(classes):
    with pytest.raises(ConfigError, match="the classes are 0 to 1"):
        GuidanceLoss("nll", 2, classes)


def test_single_gradients_add_up_to_the_guidance_gradient():
    model, x, y = make(20)
    total = dict.fromkeys(dict(model.named_parameters()), 0.0)
    for part in row_gradients(model, per_sample_loss, x, y):
        total = {name: total[name] + part[name] / 20 for name in part}
    mean = guidance_gradient(model, x, y, GuidanceLoss("nll", 2))
    for name in mean:
        torch.testing.assert_close(total[name], mean[name])
    norms = gradient_norms(model, per_sample_loss, x, y)
    first = next(row_gradients(model, per_sample_loss, x, y))
    assert float(norms[0]) == pytest.approx(inner(first, first) ** 0.5)


def test_a_certain_prediction_has_a_finite_loss_and_gradient():
    logits = 200 * torch.eye(3).repeat(2, 1)  # the probability of a class rounds to 1
    y, loss = torch.arange(6) % 3, GuidanceLoss("rank", 3)
    assert np.isfinite(loss.value(logits, y))
    assert bool(loss.gradient(logits, y).isfinite().all())


def test_rows_of_some_classes_have_residuals_for_all():
    logits, y = torch.randn(4, 3), torch.tensor([0, 0, 1, 1])
    expected = torch.softmax(logits, 1) - torch.eye(3)[y]
    torch.testing.assert_close(residual(logits, y), expected)


@pytest.mark.parametrize("kind", ["rank", "nll"])
def test_t3_one_step_at_fixed_norm(kind):
    model, x, y = make(260)
    guide, candidates = (x[:60], y[:60]), (x[60:], y[60:].roll(1))
    loss = GuidanceLoss(kind, 2)
    found = one_step_test(
        model,
        per_sample_loss,
        *candidates,
        guide_gradient=guidance_gradient(model, *guide, loss),
        guide_loss=lambda trial: loss.value(all_logits(trial, guide[0], 64), guide[1]),
        step_norm=1e-3,
    )
    assert found.spearman >= 0.99
    assert 0.95 <= found.slope <= 1.05
    assert found.sign_agreement >= 0.97


def test_a_vector_that_is_not_the_gradient_fails_the_one_step_test():
    model, x, y = make(60)
    wrong = {name: part.double() for name, part in random_direction(model, 3).items()}
    loss = GuidanceLoss("nll", 2)
    found = one_step_test(
        model,
        per_sample_loss,
        x,
        y,
        guide_gradient=wrong,
        guide_loss=lambda trial: loss.value(all_logits(trial, x, 64), y),
        step_norm=1e-3,
    )
    assert abs(found.spearman) < 0.9 or not 0.5 < found.slope < 2


def test_scores_of_a_step_test():
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])
    assert StepTest(x, -2 * x).spearman == pytest.approx(-1.0)
    assert StepTest(x, -2 * x).slope == pytest.approx(-2.0)
    assert StepTest(x, -2 * x).sign_agreement == 0.0
    assert rank_correlation(x, x**3) == pytest.approx(1.0)
