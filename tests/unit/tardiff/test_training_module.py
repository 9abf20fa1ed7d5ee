"""The denoising network and its training module: exactness, masks, balance, averaging."""

from types import SimpleNamespace

import pytest
import torch

from tardiff.diffusion.denoiser import NetworkDenoiser, to_x0, training_target
from tardiff.diffusion.noise_schedule import add_noise, cosine_log_snr, draw_levels, linear_log_snr
from tardiff.networks.unet1d import UNet1D
from tardiff.training.module import DiffusionModule, SeriesBatch
from tests.support.small_objective import objective


@pytest.mark.parametrize("kind", ["v", "eps", "x0"])
def test_a_perfect_prediction_returns_the_clean_series(kind):
    x_0, eps = torch.randn(5, 2, 3).double(), torch.randn(5, 2, 3).double()
    levels = torch.linspace(-8, 8, 5).double()
    target = training_target(x_0, eps, levels, kind)
    found = to_x0(target, add_noise(x_0, levels, eps), levels, kind)
    torch.testing.assert_close(found, x_0, rtol=1e-6, atol=1e-6)


def test_classifier_free_guidance_extrapolates_from_the_null_label():
    class ByLabel(torch.nn.Module):
        null_label = 2

        def forward(self, x_t, log_snr, y):
            return y[:, None, None].expand_as(x_t).float()

    network = ByLabel()
    x, levels, y = torch.zeros(2, 1, 3), torch.zeros(2), torch.tensor([0, 1])
    plain = NetworkDenoiser(network, prediction="x0")(x, levels, y)
    strong = NetworkDenoiser(network, prediction="x0", cfg_scale=3.0)(x, levels, y)
    torch.testing.assert_close(plain[:, 0, 0], torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(strong[:, 0, 0], torch.tensor([2 - 3 * 2.0, 2 - 3 * 1.0]))


def test_levels_cover_the_schedule_evenly():
    generator = torch.Generator().manual_seed(0)
    levels = draw_levels(1000, table=None, generator=generator)
    t = 2 / torch.pi * torch.atan(torch.exp(-levels.double() / 2))
    # Stratified: one draw in each thousandth of the time axis (but where levels are bounded).
    inside = (t > 0.01) & (t < 0.99)
    assert (t[inside].mul(1000).long().bincount(minlength=1000)[11:989] == 1).all()
    table = linear_log_snr(7, 1e-3, 0.2)
    drawn = draw_levels(70, table=table, generator=generator)
    assert torch.equal(drawn.unique(return_counts=True)[1], torch.full((7,), 10))
    assert cosine_log_snr(torch.tensor([0.5])).abs() < 1e-5


def module(**changes):
    torch.manual_seed(0)
    y = (torch.arange(50) % 10 == 0).long()
    x = torch.randn(50, 2, 8)
    data = SeriesBatch(x, torch.rand(50, 2, 8) > 0.3, y)
    network = UNet1D(2, 2, width=8)
    return DiffusionModule(network, data, data, objective(**changes), seed=3)


def test_unobserved_entries_do_not_enter_the_loss():
    m = module()
    x, observed, y = m.train_data.x, m.train_data.observed, m.train_data.y
    losses = [
        m._losses(m.network, x, observed, y, torch.Generator().manual_seed(1)) for _ in range(2)
    ]
    torch.testing.assert_close(losses[0], losses[1])

    class Target(torch.nn.Module):
        """Predicts 0, so the loss is the mean square of the target over observed entries."""

        def forward(self, x_t, log_snr, y):
            return torch.zeros_like(x_t)

    found = m._losses(Target(), x, observed, y, torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(1)
    levels = draw_levels(50, table=None, generator=generator)
    eps = torch.randn(x.shape, generator=generator)
    square = training_target(x, eps, levels, "v").square()
    expected = torch.stack([square[i][observed[i]].mean() for i in range(50)])
    torch.testing.assert_close(found, expected)
    m.objective = objective(observed_only=False)
    whole = m._losses(Target(), x, observed, y, torch.Generator().manual_seed(1))
    torch.testing.assert_close(whole, square.mean((1, 2)))


def test_balanced_batches_draw_every_class_equally_often():
    m = module(batch_size=20)
    rows = torch.cat([m._draw_rows(torch.Generator().manual_seed(s)) for s in range(10)])
    assert m.train_data.y[rows].float().mean() == 0.5
    assert len(rows.unique()) > 30
    m = module(batch_size=400, class_balanced=False)
    rows = m._draw_rows(torch.Generator().manual_seed(0))
    assert 0.05 < m.train_data.y[rows].float().mean() < 0.16 and len(rows.unique()) > 45


def test_rows_are_those_of_a_loop_over_the_batch():
    m = module(batch_size=33)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(33, generator=generator).tolist()
        by_class = [torch.nonzero(m.train_data.y == label).flatten().tolist() for label in (0, 1)]
        expected = [by_class[i % 2][int(u * len(by_class[i % 2]))] for i, u in enumerate(uniform)]
        assert m._draw_rows(torch.Generator().manual_seed(seed)).tolist() == expected


def test_label_dropout_uses_the_null_label_at_its_rate():
    m = module(label_dropout=0.25)
    y = torch.zeros(4000, dtype=torch.long)
    dropped = m._drop_labels(y, torch.Generator().manual_seed(0)) == m.network.null_label
    assert 0.22 < dropped.float().mean() < 0.28


def test_weights_are_updated_together():
    """fused=False would mean one after the other: 24 ms a step for 23 M weights on an H200."""
    m = module()
    m._trainer = SimpleNamespace(max_steps=3)
    assert m.configure_optimizers()["optimizer"].defaults["fused"] is True


def test_the_learning_rate_rises_and_falls_to_a_tenth():
    m = module(warmup_steps=4)
    m._trainer = SimpleNamespace(max_steps=24)
    factor = m.configure_optimizers()["lr_scheduler"]["scheduler"].lr_lambdas[0]
    rates = {0: 0.25, 1: 0.5, 3: 1.0, 4: 1.0, 9: 0.1 + 0.45 * (1 + 0.5**0.5), 14: 0.55, 24: 0.1}
    assert {step: factor(step) for step in rates} == pytest.approx(rates)


def test_every_step_rank_and_seed_draws_on_its_own():
    m, drawn = module(), set()
    for m.seed, step, rank in [(3, 1, 0), (3, 2, 0), (3, -1, 0), (3, 1, 1), (4, 1, 0)]:
        drawn.add(float(torch.rand(1, generator=m._generator(step, rank))))
    assert len(drawn) == 5


def test_the_held_out_loss_is_that_of_the_averaged_weights():
    m, found = module(), []
    m._trainer = SimpleNamespace(
        world_size=1, global_rank=0, strategy=SimpleNamespace(reduce=lambda own, reduce_op: own)
    )
    m.log = lambda name, value, **_: found.append(float(value))
    for network in (m.network, m.network, m.ema):
        m.validation_step(None, 0)
        for parameter in network.parameters():
            parameter.data.add_(0.1)
    m.validation_step(None, 0)
    assert found[0] == found[1] == found[2] != found[3]


@pytest.mark.parametrize(("step", "decay"), [(4, 5 / 14), (400, 0.9)])
def test_averaging_follows_its_formula(step, decay):
    m = module()
    before = [p.clone() for p in m.ema.parameters()]
    with torch.no_grad():
        for p in m.network.parameters():
            p.add_(1.0)
    m.on_train_batch_end.__func__(_Proxy(m, step), None, None, 0)
    for old, new in zip(before, m.ema.parameters(), strict=True):
        torch.testing.assert_close(new, old + (1 - decay))


class _Proxy:
    """The module with a fixed step number, without a Trainer."""

    def __init__(self, module, step):
        self.ema, self.network, self.objective = module.ema, module.network, module.objective
        self.global_step = step
