"""T9 of docs/method.md and the samplers' contracts, against the exact Gaussian denoiser."""

import pytest
import torch

from configs.runtime.errors import ConfigError
from configs.schema.experiment import SamplerConfig
from tardiff.diffusion.noise_schedule import alpha_sigma, linear_log_snr, log_snr_grid
from tardiff.diffusion.samplers import sample_ddim, sample_dpmpp_2m
from tardiff.generation.artefacts import sampler_levels
from tardiff.generation.reverse_process import ReverseProcess, SeriesNoise
from tardiff.guidance.algorithm1 import weight_of_x0
from tests.support.oracles import gaussian_denoiser

CPU = torch.device("cpu")
N = 20_000


def draw(seed=0, n=N):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(n, 1, 1, generator=generator)


def labels(n=N):
    return torch.zeros(n, dtype=torch.long)


# 25 steps, and the default, whose 2.3 % the quantile mapping then takes back.
@pytest.mark.parametrize(("steps", "within"), [(25, 0.02), (SamplerConfig().num_steps, 0.025)])
@pytest.mark.parametrize("sd", [0.1, 0.5, 1.0, 2.0])
def test_t9_default_sampler_keeps_the_standard_deviation(sd, steps, within):
    noise = draw()
    x = noise()
    levels = log_snr_grid(steps, -10.0, 9.0)
    sample = sample_dpmpp_2m(gaussian_denoiser(1.5, sd), x, labels(), levels)
    assert abs(float(sample.std() / x.std()) / sd - 1) <= within
    # The map of the exact probability flow is affine: no noise is left around it.
    line = (x - x.mean()) / x.std()
    left = (sample - sample.mean()) / sample.std() - line
    assert left.abs().max() < 1e-3
    # Starting above the terminal noise level would pull the mean towards 0.
    assert 0.98 <= float((sample.mean() - x.mean() * sd) / 1.5) <= 1.02


def test_t9_every_covariance_mode_is_kept():
    torch.manual_seed(0)
    root = torch.randn(6, 6, dtype=torch.float64) * torch.tensor([2, 1, 1, 0.5, 0.3, 0.1])[:, None]
    covariance = root @ root.T
    values, vectors = torch.linalg.eigh(covariance)

    def denoise(x_t, log_snr, y):
        alpha, sigma = alpha_sigma(log_snr[0].double())
        gain = alpha * values / (alpha**2 * values + sigma**2)
        return ((x_t[:, 0] @ vectors) * gain @ vectors.T)[:, None]

    x = torch.randn(50_000, 1, 6, dtype=torch.float64)
    sample = sample_dpmpp_2m(denoise, x, labels(50_000), log_snr_grid(25, -10.0, 9.0))
    ratio = (sample[:, 0] @ vectors).std(0) / values.sqrt()
    wide = values.sqrt() > 0.02  # narrower modes than the last level's sigma cannot be resolved
    assert ((ratio[wide] > 0.97) & (ratio[wide] < 1.03)).all()


def test_ddpm_on_the_papers_schedule():
    noise = draw()
    levels = linear_log_snr(200, 5e-4, 0.1).flip(0)
    sample = sample_ddim(
        gaussian_denoiser(1.5, 0.4), noise(), labels(), levels, eta=1.0, noise=noise
    )
    assert abs(float(sample.mean()) - 1.5) < 0.02
    assert abs(float(sample.std()) - 0.4) < 0.02


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_of_ddim_spreads_by_its_eta(eta):
    """Song et al. 2021, eqs. 12 and 16, in the symbols of DDPM."""
    alpha_bar, alpha_bar_before, x_0, x = 0.3, 0.5, 1.5, torch.full((9, 1, 1), 0.7).double()
    seen = []

    def denoise(x_t, log_snr, y):
        seen.append(x_t)
        return torch.full_like(x_t, x_0)

    levels = torch.logit(torch.tensor([alpha_bar, alpha_bar_before]).double())
    sample_ddim(denoise, x, labels(9), levels, eta=eta, noise=draw(n=9))
    beta = 1 - alpha_bar / alpha_bar_before
    sd = eta * ((1 - alpha_bar_before) / (1 - alpha_bar) * beta) ** 0.5
    eps = (x - alpha_bar**0.5 * x_0) / (1 - alpha_bar) ** 0.5
    mean = alpha_bar_before**0.5 * x_0 + (1 - alpha_bar_before - sd**2) ** 0.5 * eps
    torch.testing.assert_close(seen[1], mean + sd * draw(n=9)().double())


def test_posterior_equals_bayes_rule():
    # One scalar step of DDPM, written with its own symbols.
    alpha_bar, alpha_bar_before = 0.3, 0.5
    beta = 1 - alpha_bar / alpha_bar_before
    levels = torch.logit(torch.tensor([alpha_bar, alpha_bar_before]).double())
    precision = (1 - beta) / beta + 1 / (1 - alpha_bar_before)
    expected = alpha_bar_before**0.5 / (1 - alpha_bar_before) / precision
    assert float(weight_of_x0(*levels)) == pytest.approx(expected, rel=1e-7)


def test_linear_schedule_accumulates_alpha_bar():
    levels = linear_log_snr(200, 5e-4, 0.1)
    betas = torch.linspace(5e-4, 0.1, 200, dtype=torch.float64)
    torch.testing.assert_close(torch.sigmoid(levels), torch.cumprod(1 - betas, 0))


def process(batch_size=256, sampler="dpmpp_2m", **changes):
    settings = {
        "sampler": sampler,
        "levels": log_snr_grid(10, -10.0, 9.0),
        "shape": (2, 5),
        "seed": 4,
        "batch_size": batch_size,
        "device": CPU,
    }
    return ReverseProcess(**(settings | changes))


@pytest.mark.parametrize(("sampler", "eta"), [("dpmpp_2m", 0.0), ("ddim", 1.0), ("ddim", 0.5)])
def test_a_series_is_the_same_alone_in_any_batch_and_anywhere(sampler, eta):
    denoise = gaussian_denoiser(0.0, 1.0)
    many = process(3, sampler, eta=eta).run(denoise, labels(9), list(range(9))).x
    alone = process(1, sampler, eta=eta).run(denoise, labels(1), [7]).x
    elsewhere = process(9, sampler, eta=eta).run(denoise, labels(3), [7, 2, 0]).x
    torch.testing.assert_close(alone[0], many[7])
    torch.testing.assert_close(elsewhere, many[[7, 2, 0]])


def test_seeds_and_numbers_make_different_noise():
    def first(seed, number):
        return SeriesNoise(seed, [number], (1, 4), CPU)()

    draws = [first(0, 1), first(1, 0), first(0, 0), first(1, 1)]
    for i in range(4):
        for j in range(i):
            assert not torch.equal(draws[i], draws[j])
    assert torch.equal(first(0, 1), first(0, 1))


def test_non_finite_values_stop_with_step_and_series():
    def broken(x_t, log_snr, y):
        out = torch.zeros_like(x_t)
        out[2] = float("nan")
        return out

    with pytest.raises(FloatingPointError, match="step 0.*in its row 2"):
        process().run(broken, labels(4), range(4))


def test_wrong_requests_are_refused():
    with pytest.raises(ValueError, match="3 series numbers for 4 labels"):
        process().run(gaussian_denoiser(0, 1), labels(4), range(3))


def test_sampling_starts_where_the_model_was_trained():
    """Few steps of the linear schedule end before the noise hides all."""
    table, grid = (
        linear_log_snr(20, 5e-4, 0.1).tolist(),
        {"steps": 5, "lowest": -10.0, "highest": 9.0},
    )
    with pytest.raises(ConfigError, match="trained on levels from -0.6 on"):
        sampler_levels(table, **grid)
    assert sampler_levels(linear_log_snr(200, 5e-4, 0.1).tolist(), **grid)[0] == -10
