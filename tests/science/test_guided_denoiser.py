"""T4-T6 of docs/method.md: guided sampling against exact denoisers and closed forms."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from classifier.losses import per_sample_loss
from tardiff.diffusion.noise_schedule import alpha_sigma, log_snr_grid
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.guidance.calibration import calibrate, unguided_scale
from tardiff.guidance.guided_denoiser import (
    Guidance,
    GuidedDenoiser,
    Tilt,
    active_levels,
    limit,
)
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.input_gradient import InfluenceDirection
from tardiff.influence.preconditioner import precondition
from tests.support.oracles import KernelDenoiser, Recurrent, gaussian_denoiser

CPU = torch.device("cpu")


class LinearDirection:
    """score = <v, x>, gradient = v for every row: influence that is exactly linear."""

    def __init__(self, v: torch.Tensor, factor: float = 1.0) -> None:
        self.v, self.factor = v, factor
        self.calls = 0

    def __call__(self, x, y):
        self.calls += 1
        gradient = (self.factor * self.v).expand_as(x)
        return (x * gradient).sum((1, 2)), gradient


def process(steps, n_channels, length, sampler="dpmpp_2m", dtype=None, seed=0, eta=0.0):
    return ReverseProcess(
        sampler=sampler,
        levels=log_snr_grid(steps, -10.0, 9.0),
        shape=(n_channels, length),
        seed=seed,
        batch_size=5000,
        device=CPU,
        eta=eta,
    )


def guided(direction, w, scale, levels, interval=(0.0, 1.0), trust=100.0):
    return Guidance(
        direction=direction,
        gain=Tilt(torch.tensor([w, w]), torch.tensor([scale, scale])),
        active=active_levels(levels, interval),
        trust=trust,
    )


@pytest.mark.parametrize("steps", [20, 50, 100])
def test_t5_linear_score_moves_by_exactly_w_unguided_standard_deviations(steps):
    v = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    direction = LinearDirection(v)
    run = process(steps, 2, 3)
    y, numbers = torch.zeros(4000, dtype=torch.long), range(4000)
    denoise = gaussian_denoiser(0.0, 1.0)
    plain = run.run(denoise, y, numbers).x
    before, _ = direction(plain, y)
    scale = float(v.norm())  # exact for unit-variance data
    for w in (-1.0, 0.5, 1.0):
        moved = run.run(denoise, y, numbers, guided(direction, w, scale, run.levels)).x
        after, _ = direction(moved, y)
        assert abs(float(after.mean() - before.mean()) / scale - w) < 0.02 * abs(w)
        assert abs(float(after.std() / before.std()) - 1) < 0.01


def test_t5_units_of_the_score_cancel():
    v = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    run = process(25, 2, 3)
    y, numbers = torch.zeros(200, dtype=torch.long), range(200)
    denoise = gaussian_denoiser(0.0, 1.0)
    plain = run.run(denoise, y, numbers).x
    results = []
    for factor in (1.0, 100.0):
        direction = LinearDirection(v, factor)
        scale = unguided_scale(direction(plain, y)[0])
        guidance = guided(direction, 1.0, scale, run.levels)
        results.append(run.run(denoise, y, numbers, guidance).x)
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("sampler", "eta"), [("dpmpp_2m", 0.0), ("ddim", 0.0), ("ddim", 1.0)])
def test_t6_strength_zero_is_bitwise_unguided(sampler, eta):
    direction = LinearDirection(torch.ones(2, 3))
    run = process(20, 2, 3, sampler, eta=eta)
    y, numbers = torch.zeros(50, dtype=torch.long), range(50)
    denoise = gaussian_denoiser(0.0, 1.0)
    plain = run.run(denoise, y, numbers).x
    zero = run.run(denoise, y, numbers, guided(direction, 0.0, 1.0, run.levels)).x
    assert torch.equal(plain, zero)
    assert direction.calls == 0
    # The stochastic sampler must also draw the same noise when guidance does act.
    late = guided(direction, 1e-12, 1.0, run.levels)
    torch.testing.assert_close(run.run(denoise, y, numbers, late).x, plain)


def test_t6_shift_changes_sign_with_w():
    direction = LinearDirection(torch.ones(2, 3))
    run = process(25, 2, 3)
    y, numbers = torch.zeros(500, dtype=torch.long), range(500)
    denoise = gaussian_denoiser(0.0, 1.0)
    plain = run.run(denoise, y, numbers).x
    up = run.run(denoise, y, numbers, guided(direction, 0.7, 2.0, run.levels)).x - plain
    down = run.run(denoise, y, numbers, guided(direction, -0.7, 2.0, run.levels)).x - plain
    torch.testing.assert_close(up, -down, rtol=1e-4, atol=1e-5)
    assert (up > 0).all()


def test_strength_is_per_class():
    direction = LinearDirection(torch.ones(1, 2))
    run = process(25, 1, 2)
    denoise = gaussian_denoiser(0.0, 1.0)
    y, numbers = torch.arange(40) % 2, range(40)
    gain = Tilt(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]))
    guide = Guidance(direction=direction, gain=gain, active=(-20.0, 20.0), trust=100.0)
    change = (
        (run.run(denoise, y, numbers, guide).x - run.run(denoise, y, numbers).x).abs().amax((1, 2))
    )
    assert (change[y == 0] == 0).all()
    assert (change[y == 1] > 0.1).all()


def test_interval_limits_where_guidance_acts():
    levels = log_snr_grid(11, -5.0, 5.0)
    assert active_levels(levels, (0.2, 0.8)) == pytest.approx((-3.0, 3.0), abs=1e-3)
    direction = LinearDirection(torch.ones(1, 2))
    run = process(11, 1, 2)
    guide = guided(direction, 1.0, 1.0, run.levels, interval=(0.2, 0.8))
    run.run(gaussian_denoiser(0.0, 1.0), torch.zeros(4, dtype=torch.long), range(4), guide)
    assert direction.calls == 7  # steps 2..8 of 0..10
    with pytest.raises(ValueError, match="holds none"):
        active_levels(levels, (0.42, 0.44))


def test_the_interval_holds_the_steps_at_its_ends():
    levels = log_snr_grid(6, -5.0, 5.0)
    assert active_levels(levels, (0.0, 1.0)) == pytest.approx((-5.0, 5.0), abs=1e-3)
    assert active_levels(levels, (1.0, 1.0)) == pytest.approx((5.0, 5.0), abs=1e-3)
    assert active_levels(levels[:1], (0.0, 0.0)) == pytest.approx((-5.0, -5.0), abs=1e-3)


@pytest.mark.parametrize("noisy, seen", [(False, 3.0), (True, 7.0)])
def test_the_direction_is_evaluated_at_the_estimate_or_as_printed_at_the_noisy_series(noisy, seen):
    class Located(LinearDirection):
        def __call__(self, x, y):
            self.where = x
            return super().__call__(x, y)

    direction = Located(torch.ones(1, 2))
    gain = Tilt(torch.ones(1), torch.ones(1))
    guidance = Guidance(direction=direction, gain=gain, at_noisy=noisy)
    denoise = GuidedDenoiser(lambda x_t, log_snr, y: torch.full_like(x_t, 3.0), guidance)
    denoise(torch.full((4, 1, 2), 7.0), torch.zeros(4), torch.zeros(4, dtype=torch.long))
    assert direction.where.unique().tolist() == [seen]


def test_stats_count_shifts_steps_and_what_the_trust_region_shortened():
    direction, level = LinearDirection(torch.ones(1, 2)), torch.tensor([1.0])
    gain = Tilt(torch.tensor([1.0, 100.0]), torch.ones(2))  # the second class is shortened
    guidance = Guidance(direction=direction, gain=gain, trust=1.5)
    estimates = iter((1.0, 4.0))
    denoise = GuidedDenoiser(lambda x_t, *_: torch.full_like(x_t, next(estimates)), guidance)
    y, x = torch.tensor([0, 1]), torch.zeros(2, 1, 2)
    kappa = float(alpha_sigma(level)[1])
    for estimate in (1.0, 4.0):
        moved = denoise(x, level.expand(2), y) - estimate
        assert moved[0].tolist() == [pytest.approx([kappa**2] * 2)]
        assert moved[1].tolist() == [pytest.approx([1.5 * kappa] * 2)]
    stats = denoise.stats
    assert (stats.calls, stats.step_calls, stats.clipped) == (4, 2, 2)
    assert stats.shift_square == pytest.approx(2 * kappa**4 + 2 * (1.5 * kappa) ** 2)
    assert stats.step_square == pytest.approx(2 * 3.0**2)


def test_trust_region_bounds_the_rms_of_each_series_alone():
    shift = torch.stack([torch.full((2, 3), 5.0), torch.full((2, 3), 0.1)])
    limited, clipped = limit(shift, torch.tensor(1.0).expand(2, 1, 1))
    assert limited[0].square().mean().sqrt() == pytest.approx(1.0)
    assert torch.equal(limited[1], shift[1])
    assert clipped.tolist() == [True, False]
    smaller, _ = limit(shift, torch.tensor(0.02).expand(2, 1, 1))
    assert smaller.square().mean(dim=(1, 2)).sqrt().tolist() == pytest.approx([0.02, 0.02])


def test_stats_show_a_dead_guidance():
    run = process(15, 2, 3)
    y, numbers = torch.zeros(20, dtype=torch.long), range(20)
    stats = [
        run.run(
            gaussian_denoiser(0.0, 1.0),
            y,
            numbers,
            guided(LinearDirection(torch.ones(2, 3), factor), 1.0, scale, run.levels),
        ).stats
        for factor, scale in ((1.0, 2.0), (1e-10, 1.0))
    ]
    assert stats[0].relative_to_step > 0.05
    assert stats[1].relative_to_step < 1e-6
    assert stats[0].calls == 15 * 20 and stats[0].step_calls == 14 * 20
    assert (stats[0] + stats[1]).calls == 30 * 20
    assert (stats[0] + stats[0]).shift_rms == pytest.approx(stats[0].shift_rms)


def test_stats_are_those_of_the_batches_together():
    """The step of a batch starts at its own first estimate, not at the batch before."""
    direction = LinearDirection(torch.ones(2, 3))
    whole, halves = process(15, 2, 3), dataclasses.replace(process(15, 2, 3), batch_size=10)
    y, guide = torch.zeros(20, dtype=torch.long), guided(direction, 1.0, 2.0, whole.levels)
    found = [run.run(gaussian_denoiser(0.0, 1.0), y, range(20), guide) for run in (whole, halves)]
    assert torch.equal(found[0].x, found[1].x)
    for name, value in dataclasses.asdict(found[0].stats).items():
        assert getattr(found[1].stats, name) == pytest.approx(value, rel=1e-5), name


def toy(seed=0):
    """Two overlapping classes of smooth series; 12 % positives."""
    generator = torch.Generator().manual_seed(seed)
    n = 1000
    y = (torch.rand(n, generator=generator) < 0.12).long()
    time = torch.linspace(0, 1, 8)
    slope = torch.randn(n, 3, 1, generator=generator) + 0.8 * y[:, None, None]
    x = slope * time + 0.3 * torch.randn(n, 3, 8, generator=generator)
    return x / x.std(), y


def trained_guide(x, y):
    torch.manual_seed(0)
    model = Recurrent(nn.GRU, 3, 8, 1)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        per_sample_loss(model(x), y).mean().backward()
        optimizer.step()
    return model.eval()


def one_step_change(model, x, y, guide_x, guide_y):
    """Change of the guidance loss per unit of step, after one small SGD step on (x, y)."""
    before = per_sample_loss(model(guide_x), guide_y).mean().detach()
    parts = torch.autograd.grad(per_sample_loss(model(x), y).mean(), list(model.parameters()))
    eta = 1e-3
    with torch.no_grad():
        for parameter, part in zip(model.parameters(), parts, strict=True):
            parameter -= eta * part
        after = per_sample_loss(model(guide_x), guide_y).mean()
        for parameter, part in zip(model.parameters(), parts, strict=True):
            parameter += eta * part
    return float(after - before) / eta


def test_t4_guided_series_lower_the_guidance_loss_in_the_order_of_w():
    x, y = toy()
    train, guide = slice(0, 400), slice(400, 1000)
    model = trained_guide(x[train], y[train])
    g = guidance_gradient(model, x[guide], y[guide], GuidanceLoss("nll", 2))
    direction = InfluenceDirection(model, per_sample_loss, g)
    double_model, guide_x, guide_y = copy.deepcopy(model).double(), x[guide].double(), y[guide]
    denoise = KernelDenoiser(x[train].float(), y[train], 0.3)
    run = process(25, 3, 8)
    labels = (torch.arange(400) < 48).long()
    plain = run.run(denoise, labels, range(400)).x
    scale = torch.tensor(
        [unguided_scale(direction(plain[labels == k], labels[labels == k])[0]) for k in (0, 1)]
    )

    def changes(w):
        guide_w = Guidance(
            direction=direction,
            gain=Tilt(torch.tensor([w, w]), scale),
            active=active_levels(run.levels, (0.2, 0.8)),
            trust=1.0,
        )
        sample = run.run(denoise, labels, range(400), guide_w).x.double()
        parts = [
            one_step_change(double_model, sample[i::8], labels[i::8], guide_x, guide_y)
            for i in range(8)
        ]
        return torch.tensor(parts)

    negative, zero, positive = changes(-1.0), changes(0.0), changes(0.5)
    for better, worse in ((positive, zero), (zero, negative)):
        gap = worse - better  # paired: the parts share their noise
        assert float(gap.mean()) > 3 * float(gap.std() / len(gap) ** 0.5)


def test_preconditioned_guidance_calibrates_to_what_was_asked():
    x, y = toy(1)
    train, guide = slice(0, 400), slice(400, 1000)
    model = trained_guide(x[train], y[train])
    g = guidance_gradient(model, x[guide], y[guide], GuidanceLoss("rank", 2))
    g, _ = precondition(model, g, x[train], damping=0.015, iterations=20)
    direction = InfluenceDirection(model, per_sample_loss, g)
    denoise = KernelDenoiser(x[train], y[train], 0.3)
    run = process(15, 3, 8)
    labels = torch.ones(96, dtype=torch.long)
    natural = direction(run.run(denoise, labels, range(96)).x, labels)[0]

    def pilot(label, multiplier):
        guide_m = guided(
            direction, multiplier, unguided_scale(natural), run.levels, (0.2, 0.8), 1.0
        )
        return direction(run.run(denoise, labels, range(96), guide_m).x, labels)[0]

    for w in (0.5, -0.5):
        found = calibrate(pilot, 1, natural, w)
        assert abs(found.realised - w) <= 0.2 * abs(w)
        assert found.multiplier * w > 0
    assert calibrate(pilot, 1, natural, 0.0).multiplier == 0.0


def test_calibration_solves_steep_and_flat_responses(caplog):
    natural = torch.linspace(-1, 1, 101)
    scale = unguided_scale(natural)

    def response(function):
        return lambda label, m: natural + scale * function(m)

    for function in (lambda m: 12 * m, lambda m: 0.05 * m, lambda m: 3 * m**3):
        found = calibrate(response(function), 0, natural, 0.5)
        assert abs(found.realised - 0.5) < 0.05
    bounded = calibrate(response(lambda m: 0.1 * torch.tanh(torch.tensor(m))), 0, natural, 0.5)
    assert bounded.realised == pytest.approx(0.1, abs=0.01)
    assert "best realised" in caplog.text


def test_wrong_settings_are_refused():
    direction = LinearDirection(torch.ones(1, 2))
    with pytest.raises(ValueError, match="positive"):
        guided(direction, 1.0, 0.0, log_snr_grid(5, -1.0, 1.0))
    with pytest.raises(ValueError, match="does not vary"):
        unguided_scale(torch.ones(10))
