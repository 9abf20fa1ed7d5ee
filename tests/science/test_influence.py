"""T1-T3 of docs/method.md: influence and its gradient against closed forms and brute force."""

import copy

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from classifier.losses import per_sample_loss
from classifier.models.registry import SHORT_NAMES, build_model
from configs.runtime.errors import ConfigError, DataError
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.input_gradient import InfluenceDirection, loss_and_gradient
from tardiff.influence.parameter_space import moved_copy, norm
from tests.support.oracles import (
    Attentive,
    Convolutional,
    Logistic,
    Recurrent,
    double_backward,
    random_direction,
)

MODELS = {
    "gru": lambda out: Recurrent(nn.GRU, 3, 8, out),
    "lstm": lambda out: Recurrent(nn.LSTM, 3, 8, out),
    "conv": lambda out: Convolutional(3, 8, out),
    "attention": lambda out: Attentive(3, 8, out),
}


def make(name: str, out: int = 1, dtype: torch.dtype = torch.float64):
    torch.manual_seed(0)
    model = MODELS[name](out).to(dtype).eval()
    x = torch.randn(16, 3, 10, dtype=dtype)
    y = torch.randint(0, max(2, out), (16,))
    return model, x, y, random_direction(model, 1)


def oracle(model, x, y, g):
    # The math attention kernel is the only one with a second derivative.
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return double_backward(model, per_sample_loss, g)(x, y)


def relative(found: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Per-series relative error."""
    gap = (found.double() - expected.double()).flatten(1).norm(dim=1)
    return gap / expected.double().flatten(1).norm(dim=1)


@pytest.mark.parametrize("out", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_t1_gradient_equals_that_of_each_series_alone(name, out):
    model, x, y, g = make(name, out)
    score, gradient = oracle(model, x, y, g)
    found_score, found = InfluenceDirection(model, per_sample_loss, g)(x, y)
    assert relative(found, gradient).max() < 1e-10
    torch.testing.assert_close(found_score, score, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_t1_gradient_equals_the_difference_of_input_gradients_along_g(name):
    """First-order passes alone, at phi +- e G: right where the classifier is smooth."""
    model, x, y, g = make(name)
    step = 1e-5 / norm(g)
    (_, high), (_, low) = (
        loss_and_gradient(moved_copy(model, g, sign * step), per_sample_loss, x, y)
        for sign in (1, -1)
    )
    _, found = InfluenceDirection(model, per_sample_loss, g)(x, y)
    assert relative(found, (high - low) / (2 * step)).max() < 1e-5


@pytest.mark.parametrize("name", SHORT_NAMES)
def test_t1_in_float32_for_every_classifier_of_the_project(name):
    """They take a maximum over time, where a difference along G jumps between grid points."""
    torch.manual_seed(0)
    model = build_model(name, {}, in_channels=3, length=24, num_outputs=1).eval()
    x, y = torch.randn(200, 3, 24), torch.arange(200) % 2
    g = guidance_gradient(model, x[:100], y[:100], GuidanceLoss("rank", 2))
    score, found = InfluenceDirection(model, per_sample_loss, g)(x, y)
    double = {key: part.double() for key, part in g.items()}
    exact_score, exact = oracle(copy.deepcopy(model).double(), x.double(), y, double)
    errors = relative(found, exact)
    assert errors.median() < 1e-5 and errors.max() < 1e-2
    torch.testing.assert_close(score.double(), exact_score, rtol=1e-3, atol=1e-6)


def test_t1_score_is_the_inner_product_with_the_parameter_gradient():
    model, x, y, g = make("gru")
    score, _ = double_backward(model, per_sample_loss, g)(x, y)
    for row in range(4):
        loss = per_sample_loss(model(x[row : row + 1]), y[row : row + 1]).sum()
        parts = torch.autograd.grad(loss, list(model.parameters()))
        expected = sum((g[n] * p).sum() for n, p in zip(g, parts, strict=True))
        torch.testing.assert_close(score[row], expected)


def test_t1_gradient_equals_a_numeric_derivative_of_the_score():
    model, x, y, g = make("lstm")
    direction = InfluenceDirection(model, per_sample_loss, g)
    _, gradient = direction(x, y)
    step = 1e-6 * torch.randn_like(x)
    high, low = direction(x + step, y)[0], direction(x - step, y)[0]
    slope = (gradient * 2 * step).sum((1, 2))
    torch.testing.assert_close(high - low, slope, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("name", MODELS)
def test_t1_rows_do_not_see_their_batch_mates(name):
    model, x, y, g = make(name)
    direction = InfluenceDirection(model, per_sample_loss, g)
    _, together = direction(x, y)
    other = torch.cat([x[:1], torch.randn_like(x[1:]) * 5])
    _, changed = direction(other, torch.cat([y[:1], 1 - y[1:]]))
    _, alone = direction(x[:1], y[:1])
    for found in (changed[:1], alone):
        assert relative(found, together[:1]).max() < 1e-5


class OnlyOnce(torch.autograd.Function):
    """A square whose backward has no backward."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient * ctx.saved_tensors[0]


class Fused(Logistic):
    def forward(self, x):
        return super().forward(OnlyOnce.apply(super().forward(x))[:, :, None].expand(-1, 1, 6))


class Flash(Logistic):
    def forward(self, x):
        heads = super().forward(x)[:, None, None]
        kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
        return kernel(heads, heads, heads)[0].sum(3)[:, 0]


@pytest.mark.parametrize("model", [Fused(6), Flash(6, 8)], ids=["once", "flash"])
def test_t1_a_layer_without_a_second_derivative_is_refused(model):
    """One that torch would leave out in silence, and a kernel that says so."""
    model = model.double().eval()
    direction = InfluenceDirection(model, per_sample_loss, random_direction(model, 1))
    with pytest.raises(DataError, match="use influence.estimator=convex"):
        direction(torch.randn(4, 1, 6, dtype=torch.float64), torch.arange(4) % 2)


def test_t1_half_precision_context_is_kept_out():
    model, x, y, g = make("conv")
    single = {key: part.float() for key, part in g.items()}
    direction = InfluenceDirection(model.float(), per_sample_loss, single)
    _, plain = direction(x.float(), y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        _, inside = direction(x.float(), y)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, plain)


@pytest.mark.parametrize("method", [InfluenceDirection, double_backward])
def test_t2_logistic_closed_form(method):
    torch.manual_seed(0)
    model = Logistic(6).double().eval()
    x, y = torch.randn(9, 2, 3, dtype=torch.float64), torch.arange(9) % 2
    g = random_direction(model, 3)
    score, gradient = method(model, per_sample_loss, g)(x, y)
    h, w = x.flatten(1), model.head.weight[0]
    p = torch.sigmoid(model(x)[:, 0])
    change = h @ g["head.weight"][0] + g["head.bias"]
    residual = p - y
    expected = p[:, None] * (1 - p[:, None]) * change[:, None] * w + (
        residual[:, None] * g["head.weight"][0]
    )
    accuracy = 1e-10
    torch.testing.assert_close(score, residual * change, rtol=accuracy, atol=accuracy)
    torch.testing.assert_close(gradient.flatten(1), expected, rtol=accuracy, atol=accuracy)


def test_t2_sign_of_two_hand_computed_series():
    # f = 0 everywhere, so p = 1/2. Guidance row x = (1, 0), y = 1: G = (p - y) x = (-1/2, 0).
    # A copy of it, z = ((1, 0), 1), has grad = (-1/2, 0): I = 1/4 > 0, training on it helps.
    # The same x with label 0 has grad = (1/2, 0): I = -1/4 < 0, training on it hurts.
    model = Logistic(2).double().eval()
    nn.init.zeros_(model.head.weight)
    nn.init.zeros_(model.head.bias)
    model.head.bias.requires_grad_(False)
    guide = torch.tensor([[[1.0, 0.0]]], dtype=torch.float64)
    g = guidance_gradient(model, guide, torch.tensor([1]), GuidanceLoss("nll", 2, [1]))
    torch.testing.assert_close(g["head.weight"], torch.tensor([[-0.5, 0.0]], dtype=torch.float64))
    direction = double_backward(model, per_sample_loss, g)
    score, _ = direction(torch.cat([guide, guide]), torch.tensor([1, 0]))
    torch.testing.assert_close(score, torch.tensor([0.25, -0.25], dtype=torch.float64))


def guide_loss(model, x, y):
    with torch.no_grad():
        return float(per_sample_loss(model(x), y).mean())


def test_t3_predicts_the_measured_change_of_one_step():
    torch.manual_seed(0)
    model = Recurrent(nn.GRU, 3, 8, 1).double().eval()
    guide_x, guide_y = torch.randn(64, 3, 8, dtype=torch.float64), torch.randint(0, 2, (64,))
    x, y = torch.randn(200, 3, 8, dtype=torch.float64), torch.randint(0, 2, (200,))
    g = guidance_gradient(model, guide_x, guide_y, GuidanceLoss("nll", 2))
    score = InfluenceDirection(model, per_sample_loss, g)(x, y)[0]
    before = guide_loss(model, guide_x, guide_y)
    size = 1e-3 * norm({k: p.detach() for k, p in model.named_parameters()})
    changes, predicted = [], []
    for row in range(len(y)):
        trial = copy.deepcopy(model)
        loss = per_sample_loss(trial(x[row : row + 1]), y[row : row + 1]).sum()
        parts = torch.autograd.grad(loss, list(trial.parameters()))
        eta = size / torch.cat([p.flatten() for p in parts]).norm().item()
        with torch.no_grad():
            for parameter, part in zip(trial.parameters(), parts, strict=True):
                parameter -= eta * part
        changes.append(before - guide_loss(trial, guide_x, guide_y))
        predicted.append(float(eta * score[row]))
    assert spearmanr(predicted, changes).statistic >= 0.99
    slope = np.dot(predicted, changes) / np.dot(predicted, predicted)
    assert 0.95 <= slope <= 1.05
    clear = np.abs(predicted) > np.quantile(np.abs(predicted), 0.05)
    agreement = (np.sign(predicted) == np.sign(changes))[clear].mean()
    assert agreement >= 0.97


@pytest.mark.parametrize("kind", ["nll", "balanced", "rank"])
@pytest.mark.parametrize("out", [1, 3])
def test_guidance_gradient_equals_autograd_of_the_written_out_loss(kind, out):
    model, x, y, _ = make("gru", out)
    k = max(2, out)
    y = torch.arange(16) % k * (torch.arange(16) % 3 > 0)  # class 0 common, all present
    assert (torch.bincount(y, minlength=k) > 0).all()
    losses, logits = per_sample_loss(model(x), y), model(x)
    means = torch.stack([losses[y == c].mean() for c in range(k)])
    if kind == "nll":
        loss = losses.mean()
    elif kind == "balanced":
        loss = means.mean()
    else:
        loss = written_out_rank(logits, y, k)
    expected = torch.autograd.grad(loss, list(model.parameters()))
    for batch in (1, 7, 100):
        g = guidance_gradient(model, x, y, GuidanceLoss(kind, k), batch_size=batch)
        for (name, _), part in zip(model.named_parameters(), expected, strict=True):
            torch.testing.assert_close(g[name], part, rtol=1e-8, atol=1e-10)


def written_out_rank(logits, y, k):
    if k == 2:
        columns = [(logits[:, 0], 1)]
    else:
        p = torch.softmax(logits, 1)
        columns = [(torch.log(p[:, c] / (1 - p[:, c])), c) for c in range(k)]
    terms = []
    for scores, c in columns:
        pairs = [
            nn.functional.softplus(scores[j] - scores[i])
            for i in range(len(y))
            for j in range(len(y))
            if y[i] == c and y[j] != c
        ]
        terms.append(torch.stack(pairs).mean())
    return torch.stack(terms).mean()


def test_rank_gradient_does_not_depend_on_the_block_size(monkeypatch):
    logits, y = torch.randn(40, 1), (torch.arange(40) % 5 == 0).long()
    whole = GuidanceLoss("rank", 2).gradient(logits, y)
    monkeypatch.setattr("tardiff.influence.guidance_losses.PAIR_BLOCK", 7)
    torch.testing.assert_close(GuidanceLoss("rank", 2).gradient(logits, y), whole)


def test_a_loss_without_a_branch_is_refused():
    with pytest.raises(ConfigError, match="loss 'nosuch': expected one of auto, rank, balanced"):
        GuidanceLoss("nosuch", 2)


def test_class_specific_guidance_uses_those_rows_only():
    model, x, y, _ = make("conv", 3)
    y = torch.arange(16) % 3
    g = guidance_gradient(model, x, y, GuidanceLoss("nll", 3, [2]))
    mine = y == 2
    expected = guidance_gradient(model, x[mine], y[mine], GuidanceLoss("nll", 3, [2]))
    for name in g:
        torch.testing.assert_close(g[name], expected[name])


@pytest.mark.parametrize("kind", ["rank", "nosuch"])
def test_a_loss_that_takes_no_classes_refuses_them(kind):
    with pytest.raises(ConfigError, match=f"loss '{kind}' .* influence.classes must be empty"):
        GuidanceLoss(kind, 2, [1])


def test_products_keep_their_digits_inside_and_the_setting_outside(monkeypatch):
    model, x, y, g = make("gru", dtype=torch.float32)
    seen = []

    def loss(logits, labels):
        seen.append(torch.backends.cudnn.allow_tf32)
        return per_sample_loss(logits, labels)

    for outside in (True, False):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", outside)
        InfluenceDirection(model, loss, g)(x, y)
        assert torch.backends.cudnn.allow_tf32 is outside
    assert seen and not any(seen)


def test_weights_of_a_moved_copy_lie_in_one_block(monkeypatch):
    """Only a GPU sees the difference: count that they are put there."""
    model, _, _, g = make("lstm")
    flattened = []
    monkeypatch.setattr(nn.LSTM, "flatten_parameters", lambda layer: flattened.append(layer))
    moved = moved_copy(model, g, 0.1)
    assert [m for m in moved.modules() if isinstance(m, nn.LSTM)] == flattened


def test_errors_at_the_door():
    model, x, y, g = make("gru")
    with pytest.raises(ValueError, match="training mode"):
        guidance_gradient(copy.deepcopy(model).train(), x, y, GuidanceLoss("nll", 2))
    with pytest.raises(ValueError, match="training mode"):
        InfluenceDirection(copy.deepcopy(model).train(), per_sample_loss, g)
    with pytest.raises(ValueError, match="empty"):
        guidance_gradient(model, x[:0], y[:0], GuidanceLoss("nll", 2))
    with pytest.raises(ValueError, match="another classifier"):
        InfluenceDirection(model, per_sample_loss, {"odd": torch.zeros(1)})
    with pytest.raises(ValueError, match="no row"):
        guidance_gradient(model, x, torch.zeros_like(y), GuidanceLoss("balanced", 2))
    with pytest.raises(ValueError, match="at least one guidance row"):
        guidance_gradient(model, x, torch.zeros_like(y), GuidanceLoss("rank", 2))
    zero = {name: torch.zeros_like(part) for name, part in g.items()}
    with pytest.raises(ValueError, match="no direction"):
        InfluenceDirection(model, per_sample_loss, zero)
