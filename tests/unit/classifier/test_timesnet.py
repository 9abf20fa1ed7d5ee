"""TimesNet: folding by definition, independent rows, periods found."""

import pytest
import torch

from classifier.models.registry import build_model
from classifier.models.timesnet import Inception, TimesBlock, TimesNetClassifier
from classifier.training import FitRecipe, fit_classifier, predict_logits
from configs.runtime.errors import ConfigError


def build(length=24, channels=2, outputs=1, **model_args):
    return build_model(
        "timesnet", model_args, in_channels=channels, length=length, num_outputs=outputs
    )


@pytest.mark.parametrize(("channels", "length", "outputs"), [(7, 24, 1), (3, 288, 1), (2, 5, 4)])
def test_builds_with_independent_rows_for_any_shape(channels, length, outputs):
    # build_model probes shape and row independence, which batch-wide frequencies would break.
    model = build(length, channels, outputs)
    assert model(torch.randn(3, channels, length)).shape == (3, outputs)


def test_rows_with_different_periods_keep_their_logits_in_a_batch():
    torch.manual_seed(0)
    model = build().eval()
    time = torch.arange(24) / 24 * 2 * torch.pi
    waves = torch.stack([torch.sin(f * time).expand(2, 24) for f in (1, 2, 3, 5, 8)])
    alone = torch.cat([model(row[None]) for row in waves])
    assert torch.allclose(model(waves), alone, atol=1e-5)


@pytest.mark.parametrize(("length", "period"), [(24, 8), (24, 5), (10, 4)])
def test_folding_puts_the_same_phase_in_one_column(length, period):
    block = TimesBlock(1, length, top_k=1, kernels=1)
    seen = []
    block.convolve.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.arange(float(length)).reshape(1, 1, length)
    block._fold(x, period)
    for step in range(length):
        assert seen[0][0, 0, step // period, step % period] == step
    assert seen[0].flatten()[length:].abs().sum() == 0  # zero padding of the last cycle


def test_one_period_of_a_pure_wave_has_all_the_weight():
    block = TimesBlock(1, 24, top_k=1, kernels=1)
    folded = []
    original = block._fold
    block._fold = lambda x, period: folded.append(period) or original(x, period)
    time = torch.arange(24) / 24 * 2 * torch.pi
    x = torch.sin(4 * time).reshape(1, 1, 24)
    assert torch.allclose(block(x), x + original(x, 6), atol=1e-6)
    assert folded == [6]


def test_frequencies_of_one_period_are_folded_once_with_their_weights_added():
    torch.manual_seed(0)
    block = TimesBlock(1, 24, top_k=2, kernels=1)
    time = torch.arange(24) / 24 * 2 * torch.pi
    x = (torch.sin(9 * time) + torch.sin(11 * time)).reshape(1, 1, 24)  # 24 // 9 = 24 // 11 = 2
    assert torch.allclose(block(x), x + block._fold(x, 2), atol=1e-5)


def test_merged_kernels_are_the_mean_of_the_convolutions():
    torch.manual_seed(0)
    inception, x = Inception(3, 3), torch.randn(2, 3, 4, 6)
    separate = torch.stack([convolve(x) for convolve in inception.convolutions]).mean(0)
    assert torch.allclose(inception(x), separate, atol=1e-6)


def test_learns_a_difference_in_period():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(160) % 2
    phase = 6.28 * torch.rand(160, 1, generator=generator)
    time = torch.arange(24) / 24 * 2 * torch.pi
    wave = torch.sin((3 + y[:, None]) * time + phase)
    x = wave[:, None] + 0.5 * torch.randn(160, 2, 24, generator=generator)
    recipe = FitRecipe(max_epochs=10, batch_size=20, learning_rate=5e-3)
    fitted = fit_classifier(
        (x[:100], y[:100]), (x[100:], y[100:]), build=build, recipe=recipe, seed=0
    )
    assert fitted.history[fitted.best_epoch]["auroc"] > 0.95
    assert predict_logits(fitted.model, x[:5]).shape == (5, 1)


def test_second_derivatives_exist():
    # What influence by double backward needs.
    model = TimesNetClassifier(2, 12, 1).eval()
    x = torch.randn(3, 2, 12, requires_grad=True)
    loss = model(x).square().sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    (second,) = torch.autograd.grad(sum(g.square().sum() for g in gradients), x)
    assert torch.isfinite(second).all() and second.abs().sum() > 0


def test_bad_arguments_are_refused():
    with pytest.raises(ConfigError, match="at least 4 grid points, got 3"):
        build(length=3)
    with pytest.raises(ConfigError, match="top_k=0"):
        build(top_k=0)
