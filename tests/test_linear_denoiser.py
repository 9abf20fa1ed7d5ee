"""The linear denoiser: exact on Gaussian data, bounded at both ends, a start for networks."""

import numpy as np
import pytest
import torch
from torch import nn

from tardiff import linear_denoiser
from tardiff.denoiser import NetworkDenoiser, to_x0
from tardiff.linear_denoiser import LinearSkip, fit_gaussian
from tardiff.networks import build_network
from tardiff.schedule import add_noise, alpha_sigma

C, T, CLASSES = 2, 6, 2


class Nothing(nn.Module):
    def __init__(self):
        super().__init__()
        self.null_label = CLASSES

    def forward(self, x, log_snr, y):
        return torch.zeros_like(x[:, :C])


def gaussian_series(n, seed=0):
    """Correlated series with class means, and their true mean and covariance; class 1 varies
    twice as much."""
    rng = np.random.default_rng(seed)
    root = np.random.default_rng(99).normal(size=(C * T, C * T)) * 0.3 + np.eye(C * T) * 0.2
    mean = np.random.default_rng(98).normal(size=(CLASSES, C * T))
    y = rng.integers(0, CLASSES, n)
    flat = mean[y] + (1 + y)[:, None] * rng.normal(size=(n, C * T)) @ root.T
    covariances = [root @ root.T, 4 * root @ root.T]
    return torch.tensor(flat.reshape(n, C, T)), torch.tensor(y), mean, covariances


def skip(x, y, *, rank=C * T, prediction="v"):
    made = LinearSkip(
        Nothing(), channels=C, length=T, num_classes=CLASSES, rank=rank, prediction=prediction
    )
    made.fit(x, y)
    return made


@pytest.mark.parametrize("level", [-9.0, -3.0, 0.0, 4.0, 9.0])
def test_it_is_the_conditional_mean_of_gaussian_series(level):
    x, y, mean, covariances = gaussian_series(200_000)
    model = skip(x, y)
    levels = torch.full((50,), level)
    noisy = add_noise(x[:50].float(), levels, torch.randn(50, C, T))
    alpha, sigma = (float(v) for v in alpha_sigma(torch.tensor(level, dtype=torch.float64)))
    found = NetworkDenoiser(model, prediction="v")(noisy, levels, y[:50]).flatten(1)
    flat = noisy.flatten(1).double().numpy()
    for label, own in enumerate(covariances):
        gain = alpha * own @ np.linalg.inv(alpha**2 * own + sigma**2 * np.eye(C * T))
        rows = (y[:50] == label).numpy()
        expected = mean[label] + (flat[rows] - alpha * mean[label]) @ gain.T
        np.testing.assert_allclose(found[rows], expected, atol=0.06)


@pytest.mark.parametrize("prediction", ["v", "eps", "x0"])
def test_every_parametrisation_is_the_same_estimate(prediction):
    x, y, *_ = gaussian_series(500)
    model = skip(x, y, rank=5, prediction=prediction)
    levels = torch.linspace(-6, 6, 40)
    noisy = add_noise(x[:40].float(), levels, torch.randn(40, C, T))
    x0_hat, linear = model.linear(noisy, levels, y[:40])
    torch.testing.assert_close(
        to_x0(linear, noisy, levels, prediction), x0_hat, atol=2e-3, rtol=1e-3
    )


@pytest.mark.parametrize("level", [-11.0, 11.0])
def test_the_prediction_is_bounded_at_the_ends(level):
    x, y, *_ = gaussian_series(500)
    levels = torch.full((100,), level)
    eps = torch.randn(100, C, T)
    found = skip(x, y)(add_noise(x[:100].float(), levels, eps), levels, y[:100])
    assert found.abs().max() < 10


def test_directions_left_out_share_their_variance():
    x, y, _, covariances = gaussian_series(100_000)
    found = fit_gaussian(x, y, num_classes=CLASSES, rank=4)
    values = np.linalg.eigvalsh((covariances[0] + covariances[1]) / 2)
    np.testing.assert_allclose(found.variance[2], values[-4:], rtol=0.03)
    assert found.rest == pytest.approx(values[:-4].mean(), rel=0.03)


def test_a_long_series_is_decomposed_at_random_with_the_same_result(monkeypatch):
    x, y, *_ = gaussian_series(5_000)
    exact = fit_gaussian(x, y, num_classes=CLASSES, rank=3)
    monkeypatch.setattr(linear_denoiser, "MOST_EXACT", 1)
    drawn = fit_gaussian(x, y, num_classes=CLASSES, rank=3)
    np.testing.assert_allclose(drawn.variance, exact.variance, rtol=1e-3)
    overlap = (drawn.basis[2].T @ exact.basis[2]).abs()
    np.testing.assert_allclose(overlap, np.eye(3), atol=1e-2)


def test_few_series_are_shrunk_towards_the_identity():
    x, y, *_ = gaussian_series(20)
    found = fit_gaussian(x, y, num_classes=CLASSES, rank=C * T)
    centred = (x - torch.stack([x[y == k].mean(0) for k in range(CLASSES)])[y]).flatten(1)
    raw = np.linalg.eigvalsh((centred.T @ centred / len(x)).numpy())
    pooled = found.variance[2]
    assert pooled.min() > raw.min() and pooled.max() < raw.max()
    assert float(pooled.sum()) == pytest.approx(raw.sum(), rel=1e-4)


def test_a_class_pools_its_covariance_as_far_as_its_series_are_few():
    x, y, _, covariances = gaussian_series(20_000)
    many = fit_gaussian(x, y, num_classes=CLASSES, rank=C * T)
    assert max(many.pooling) <= 0.1
    for label in range(CLASSES):
        values = np.linalg.eigvalsh(covariances[label])
        np.testing.assert_allclose(many.variance[label], values, rtol=0.1)
    few = fit_gaussian(x[:40], y[:40], num_classes=CLASSES, rank=C * T)
    assert min(few.pooling) >= 0.2


def test_the_null_label_has_the_mean_of_the_classes():
    x, y, *_ = gaussian_series(500)
    mean = fit_gaussian(x, y, num_classes=CLASSES, rank=3).mean
    torch.testing.assert_close(mean[2], (mean[0] + mean[1]) / 2)


def test_an_untrained_network_starts_as_the_linear_denoiser():
    x, y, *_ = gaussian_series(500)
    network = build_network(
        {"in_channels": C, "num_classes": CLASSES, "width": 8, "multipliers": [1, 2],
         "linear_rank": 7, "length": T, "prediction": "v"}
    )  # fmt: skip
    assert isinstance(network, LinearSkip)
    network.fit(x, y)
    levels = torch.linspace(-4, 4, 20)
    noisy = torch.randn(20, C, T)
    linear = network.linear(noisy, levels, y[:20])[1]
    bias = network.network.conv_out.bias.detach()[:, None]
    torch.testing.assert_close(network(noisy, levels, y[:20]).detach(), linear + bias)
