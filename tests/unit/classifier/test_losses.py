"""The loss against its closed forms."""

import math

import pytest
import torch

from classifier.losses import class_probabilities, num_outputs, per_sample_loss


def test_binary_loss_is_minus_log_probability_of_the_label():
    logits = torch.tensor([[0.0], [2.0], [-1.5], [2.0]], dtype=torch.float64)
    y = torch.tensor([1, 1, 0, 0])
    expected = [
        math.log(2),
        math.log1p(math.exp(-2.0)),
        math.log1p(math.exp(-1.5)),
        math.log1p(math.exp(2.0)),
    ]
    assert per_sample_loss(logits, y).tolist() == pytest.approx(expected, rel=1e-12)


def test_binary_gradient_is_probability_minus_label():
    logits = torch.tensor([[0.3], [-2.0], [4.0]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([0, 1, 1])
    (gradient,) = torch.autograd.grad(per_sample_loss(logits, y).sum(), logits)
    torch.testing.assert_close(gradient[:, 0], 1 / (1 + torch.exp(-logits[:, 0])) - y)


def test_cross_entropy_closed_form():
    logits = torch.tensor([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    y = torch.tensor([0, 2])
    total = math.exp(1) + math.exp(2) + math.exp(3)
    expected = [math.log(total) - 1.0, math.log(3)]
    assert per_sample_loss(logits, y).tolist() == pytest.approx(expected, rel=1e-12)


def test_two_logits_and_one_logit_agree():
    z = torch.linspace(-5, 5, 11, dtype=torch.float64)[:, None]
    y = torch.arange(11) % 2
    pair = torch.cat([torch.zeros_like(z), z], dim=1)
    torch.testing.assert_close(per_sample_loss(z, y), per_sample_loss(pair, y))
    torch.testing.assert_close(class_probabilities(z), class_probabilities(pair))


def test_extreme_logits_stay_finite():
    logits = torch.tensor([[200.0], [-200.0]])
    y = torch.tensor([0, 1])
    assert per_sample_loss(logits, y).tolist() == [200.0, 200.0]
    rare = class_probabilities(torch.tensor([[80.0]]))[0, 0].item()
    assert rare == pytest.approx(math.exp(-80), rel=1e-5, abs=0)


@pytest.mark.parametrize("outputs", [1, 4])
def test_probabilities_sum_to_one(outputs):
    logits = torch.randn(6, outputs, generator=torch.Generator().manual_seed(0))
    probabilities = class_probabilities(logits)
    assert probabilities.shape == (6, max(outputs, 2))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(6))


def test_number_of_outputs():
    assert [num_outputs(k) for k in (2, 3, 5)] == [1, 3, 5]
    with pytest.raises(ValueError, match="at least 2"):
        num_outputs(1)
