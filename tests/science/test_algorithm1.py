"""compat=paper against Algorithm 1 of the paper, written out here step by step."""

import pytest
import torch

from tardiff.diffusion.noise_schedule import alpha_sigma, linear_log_snr, log_snr_grid
from tardiff.diffusion.samplers import sample_ddim
from tardiff.generation.reverse_process import ReverseProcess, SeriesNoise
from tardiff.guidance.algorithm1 import algorithm1, paper_levels, weight_of_x0
from tardiff.guidance.guided_denoiser import GuidedDenoiser
from tests.support.oracles import gaussian_denoiser

CPU = torch.device("cpu")
STEPS, FIRST, LAST = 200, 5e-4, 0.1
SHAPE, SEED, ROWS = (2, 5), 3, 6


class Bent:
    """score = sum cos(2 x) + x, differently per class: its gradient depends on the point."""

    def __call__(self, x, y):
        sign = torch.where(y == 1, 1.0, -0.5)[:, None, None].to(x)
        return (sign * (torch.cos(2 * x) + x)).sum((1, 2)), sign * (1 - 2 * torch.sin(2 * x))


def printed(denoiser, direction, y, w):
    """for t = T..1: x_{t-1} ~ N(mu_theta(x_t, t) + w J(x_t, y), beta_tilde_t I)."""
    beta = torch.linspace(FIRST, LAST, STEPS, dtype=torch.float64)
    bar = torch.cumprod(1 - beta, 0)
    noise = SeriesNoise(SEED, range(len(y)), SHAPE, CPU)
    x = noise().double()
    for t in reversed(range(STEPS)):
        before = bar[t - 1] if t else torch.ones((), dtype=torch.float64)
        log_snr = torch.log(bar[t] / (1 - bar[t])).expand(len(y))
        x0_hat = denoiser(x, log_snr, y)
        mu = before.sqrt() * beta[t] / (1 - bar[t]) * x0_hat
        mu = mu + (1 - beta[t]).sqrt() * (1 - before) / (1 - bar[t]) * x
        x = mu + w * direction(x, y)[1]
        if t:
            x = x + ((1 - before) / (1 - bar[t]) * beta[t]).sqrt() * noise().double()
    return x


@pytest.mark.parametrize("w", [0.0, 0.02, -0.02])
def test_it_is_the_printed_algorithm(w):
    levels = paper_levels(None, linear_log_snr(STEPS, FIRST, LAST))
    process = ReverseProcess(
        sampler="ddim", levels=levels, shape=SHAPE, seed=SEED, batch_size=4, device=CPU, eta=1.0
    )
    denoiser, y = gaussian_denoiser(0.3, 0.8), torch.arange(ROWS) % 2
    drawn = process.run(denoiser, y, range(ROWS), algorithm1(Bent(), w, levels))
    expected = printed(denoiser, Bent(), y, w)
    torch.testing.assert_close(drawn.x.double(), expected, rtol=0, atol=2e-5)
    plain = process.run(denoiser, y, range(ROWS)).x
    assert ((drawn.x - plain).abs().max() > 0.05) == (w != 0)
    assert drawn.stats.calls == STEPS * ROWS and drawn.stats.clipped == 0


def test_a_trained_table_is_walked_as_it_is():
    table = linear_log_snr(7, FIRST, LAST)
    assert torch.equal(paper_levels(table.tolist(), linear_log_snr(9, 0.1, 0.2)), table.flip(0))


def test_a_constant_shift_moves_the_result_by_its_propagated_steps():
    class Constant:
        def __call__(self, x, y):
            return x.sum((1, 2)), torch.ones_like(x)

    levels, sd, shift, rows = log_snr_grid(30, -10.0, 9.0), 0.8, 0.05, 200
    y, denoise = torch.zeros(rows, dtype=torch.long), gaussian_denoiser(0.0, sd)
    ends = []
    for guidance in (None, algorithm1(Constant(), shift, levels)):
        noise = SeriesNoise(0, range(rows), (1, 1), CPU)
        guided = GuidedDenoiser(denoise, guidance)
        ends.append(sample_ddim(guided, noise().double(), y, levels, eta=1.0, noise=noise))
    expected = 0.0
    one = torch.ones(1, 1, 1, dtype=torch.float64)
    for step in range(len(levels)):
        following = levels[step + 1] if step + 1 < len(levels) else torch.tensor(torch.inf).double()
        gain = denoise(one, levels[step].expand(1), y[:1])
        weight_x0 = weight_of_x0(levels[step], following)
        (alpha, sigma), (alpha_next, sigma_next) = map(alpha_sigma, (levels[step], following))
        weight_xt = alpha / alpha_next * sigma_next**2 / sigma**2
        expected = expected * float(weight_x0 * gain + weight_xt) + shift
    assert torch.allclose(ends[1] - ends[0], torch.tensor(expected).double(), rtol=1e-6)
