"""MarginalMap: what a biased model draws gets the margins of the training series."""

import numpy as np
import pytest
import torch

from configs import load_config
from configs.schema.experiment import SamplerConfig
from data_preprocess.build import ensure_built, load_splits
from tardiff.diffusion.quantile_mapping import KNOTS, MarginalMap
from tardiff.generation.fit_quantile_mapping import GRID, SAMPLER, _labels, fit_marginals
from tardiff.networks.registry import build_network
from tardiff.train import build_module
from tardiff.training.checkpoint import DiffusionModel, load_model, save_model
from tests.support.tiny_runs import tiny_arguments

N, C, T = 4000, 2, 5


def biased():
    """(drawn, train, measured): values shrunk and shifted, masks on too often."""
    rng = torch.Generator().manual_seed(0)
    train = torch.randn(N, 2 * C, T, generator=rng)
    train[:, 1] = torch.exp(train[:, 1])
    rate = torch.tensor([0.2, 0.7])[:, None].expand(C, T)
    measured = torch.rand(N, C, T, generator=rng) < rate
    train[:, C:] = measured.float() * 2 - 1
    train[:, :C] += 3.0 * ~measured  # what is filled in there is no measurement
    drawn = torch.randn(N, 2 * C, T, generator=rng)
    drawn[:, :C] = 0.8 * drawn[:, :C] + 0.3
    return drawn, train, measured


def fitted(masks=True):
    drawn, train, measured = biased()
    keep = 2 * C if masks else C
    made = MarginalMap(C, T, masks=masks)
    made.fit(drawn[:, :keep], train[:, :keep], measured)
    return made


def test_values_get_the_quantiles_of_the_measured_training_values():
    drawn, train, measured = biased()
    corrected = fitted()(drawn)
    on = corrected[:, C:] > 0
    for c in range(C):
        q = np.linspace(0.02, 0.98, 25)
        found = np.quantile(corrected[:, c][on[:, c]].numpy(), q)
        real = np.quantile(train[:, c][measured[:, c]].numpy(), q)
        np.testing.assert_allclose(found, real, atol=0.03 * np.ptp(real))
        before = np.quantile(drawn[:, c][on[:, c]].numpy(), q)
        assert np.abs(before - real).max() > 0.1 * np.ptp(real)  # there was something to correct


def test_masks_get_the_training_share_of_their_channel():
    drawn, _, measured = biased()
    on = fitted()(drawn)[:, C:] > 0
    np.testing.assert_allclose(on.float().mean((0, 2)), measured.float().mean((0, 2)), atol=1e-3)


def test_a_grid_point_gets_its_own_share():
    drawn, train, measured = biased()
    train[:, C, 0] = torch.where(torch.arange(N) < N // 20, 1.0, -1.0)  # 5 %, elsewhere 20 %
    before = measured[:, 0].float().mean(0)
    made = MarginalMap(C, T, masks=True)
    made.fit(drawn, train, measured)
    on = (made(drawn)[:, C:] > 0).float().mean(0)
    assert on[0, 0] == pytest.approx(0.05, abs=1e-3)
    torch.testing.assert_close(on[0, 1:], before[1:], rtol=0, atol=1e-3)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_a_mask_that_is_never_or_always_on_stays_so(sign):
    drawn, train, measured = biased()
    measured[:, 0], train[:, C] = sign > 0, sign
    made = MarginalMap(C, T, masks=True)
    made.fit(drawn, train, measured)
    assert ((made(drawn)[:, C] > 0) == (sign > 0)).all()


def test_the_map_is_monotone_and_a_series_does_not_depend_on_others():
    made = fitted(masks=False)
    line = torch.linspace(-8, 8, 200)[:, None, None].expand(-1, C, T)
    assert (made(line).diff(dim=0) > 0).all()
    drawn = biased()[0][:, :C]
    torch.testing.assert_close(made(drawn)[7:8], made(drawn[7:8]))


def test_static_channels_are_left_alone():
    drawn, train, measured = biased()
    more = torch.cat([drawn, torch.ones(N, 3, T)], dim=1)
    made = MarginalMap(C, T, masks=True)
    made.fit(more, torch.cat([train, torch.zeros(N, 3, T)], dim=1), measured)
    assert torch.equal(made(more)[:, 2 * C :], more[:, 2 * C :])


def test_an_unfitted_map_changes_nothing():
    drawn = torch.randn(10, 2 * C, T)
    torch.testing.assert_close(MarginalMap(C, T, masks=True)(drawn), drawn)


@pytest.mark.parametrize("rows", [3, 200])
def test_too_few_draws_leave_the_values_as_they_are(rows):
    drawn, train, measured = biased()
    made = MarginalMap(C, T, masks=False)
    made.fit(drawn[:rows, :C], train[:, :C], measured)
    changed = not torch.allclose(made(drawn[:, :C]), drawn[:, :C])
    assert changed == (rows * T >= KNOTS)


def test_whole_numbers_get_their_training_shares():
    rng = torch.Generator().manual_seed(1)
    shares = torch.tensor([0.38, 0.03, 0.07, 0.11, 0.05, 0.26, 0.1])
    train = torch.multinomial(shares, N * T, replacement=True, generator=rng).reshape(N, 1, T)
    train = train.float() / 2 - 1.5
    drawn = torch.randn(N, 1, T, generator=rng)
    made = MarginalMap(1, T, masks=False)
    made.fit(drawn, train, torch.ones_like(train, dtype=torch.bool))
    whole = (2 * made(drawn) + 3).round().clamp(0, 6).long()
    found = whole.flatten().bincount(minlength=7) / (N * T)
    torch.testing.assert_close(found, shares, rtol=0, atol=0.01)


def test_many_whole_numbers_are_rounded_to_no_comb():
    """Shares of 60 whole numbers, rounded: within sampling error if dithered, a comb if not."""
    rng = torch.Generator().manual_seed(1)
    train = (12 * torch.randn(N, 1, T, generator=rng)).round()
    dither = torch.rand(train.shape, generator=rng) - 0.5
    drawn = 0.9 * torch.randn(N, 1, T, generator=rng) + 0.1
    measured = torch.ones_like(train, dtype=torch.bool)

    def variation(target):
        made = MarginalMap(1, T, masks=False)
        made.fit(drawn, target, measured)
        counts = [
            (whole.flatten().long() + 60).clamp(0, 120).bincount(minlength=121)
            for whole in (made(drawn).round(), train)
        ]
        return float((counts[0] - counts[1]).abs().sum()) / (2 * N * T)

    assert variation(train + dither) < 0.025 < 0.05 < variation(train)


def test_a_model_is_matched_to_dithered_values(tmp_path, monkeypatch):
    config = load_config(tiny_arguments(tmp_path, "data.space.rounded=true"))
    ensure_built(config.data)
    splits = load_splits(config.data)
    module, arguments = build_module(config, splits)
    train = splits.train
    model = DiffusionModel(
        network=module.ema,
        network_args=arguments,
        prediction="v",
        level_table=None,
        feature_names=train.feature_names,
        label_names=train.label_names,
        length=train.length,
        normaliser=splits.normaliser.fingerprint(),
        data_fingerprint=splits.fingerprint,
        val_loss=1.0,
        step=1,
    )
    given = []
    monkeypatch.setattr(MarginalMap, "fit", lambda self, *arguments: given.append(arguments))
    fit_marginals(splits, model, torch.device("cpu"), rows=8, seed=0)
    target = given[0][1]
    assert not np.allclose(target, splits.normaliser.to_model(train.values))
    np.testing.assert_allclose(splits.normaliser.to_clinical(target), train.values, atol=1e-3)
    shares = np.bincount(_labels(train, 1000)) / 1000
    np.testing.assert_allclose(shares, train.class_counts / len(train), atol=1e-3)


@pytest.mark.parametrize("knots", [31, KNOTS])
def test_a_model_file_says_how_many_knots_its_map_has(tmp_path, knots):
    drawn, train, measured = biased()
    made = MarginalMap(C, T, masks=True, knots=knots)
    made.fit(drawn, train, measured)
    arguments = {"kind": "unet", "in_channels": 2 * C, "num_classes": 2, "width": 8}
    model = DiffusionModel(
        network=build_network(arguments),
        network_args=arguments,
        prediction="v",
        level_table=None,
        feature_names=("a", "b"),
        label_names=("no", "yes"),
        length=T,
        normaliser="n",
        data_fingerprint="d",
        val_loss=0.5,
        step=1,
        marginals=made,
    )
    save_model(tmp_path / "model.pt", model)
    loaded = load_model(tmp_path / "model.pt", "train").marginals
    assert loaded is not None and loaded.source.shape == (C, knots + 2)
    assert torch.equal(loaded(drawn), made(drawn))


def test_the_pilot_is_drawn_with_the_default_sampler():
    defaults = SamplerConfig()
    assert defaults.name == SAMPLER
    assert (defaults.num_steps, defaults.log_snr_min, defaults.log_snr_max) == GRID
