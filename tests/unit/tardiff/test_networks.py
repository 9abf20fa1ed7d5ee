"""The denoising networks by name: one contract, and nothing else that a checkpoint may name."""

import dataclasses
import shutil
from unittest.mock import patch

import numpy as np
import pytest
import torch

from classifier.models import source_code
from configs import load_config
from configs.runtime.errors import ConfigError
from configs.runtime.torch_files import load_plain
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.storage.dataset_files import load_dataset
from tardiff.generate import main as generate
from tardiff.networks.blocks import GatedFeedForward, GatedResidual, SelfAttention
from tardiff.networks.registry import build_network, network_arguments, network_class
from tardiff.networks.unet1d import UNet1D
from tardiff.train import build_module
from tardiff.train import main as train_diffusion
from tardiff.training.checkpoint import load_model, save_model
from tests.support.tiny_runs import tiny_arguments

KINDS = ("published_unet", "unet")
OPTIONS = {
    "unet": {"width": 8, "multipliers": [1, 2], "heads": 2, "patch": 2},
    "published_unet": {"width": 8, "multipliers": [1, 2], "attention_levels": [1]},
}


def network(kind, **changes):
    torch.manual_seed(0)
    arguments = {"in_channels": 3, "num_classes": 2} | OPTIONS[kind] | changes
    return build_network({"kind": kind} | arguments).eval()


def shaken(kind):
    """With random weights everywhere: what starts at zero would hide what lies behind it."""
    made = network(kind)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


def inputs(rows=4, length=9):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(rows, 3, length, generator=generator)
    return x, torch.linspace(-3, 4, rows), torch.arange(rows) % 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [1, 5, 12, 25])
def test_any_length_comes_back(kind, length):
    x, levels, y = inputs(length=length)
    assert shaken(kind)(x, levels, y).shape == x.shape


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_independent_and_use_level_label_and_every_step(kind):
    made, (x, levels, y) = shaken(kind), inputs()
    out = made(x, levels, y)
    torch.testing.assert_close(made(x[2:3], levels[2:3], y[2:3]), out[2:3])
    for other in (made(x, levels + 1, y), made(x, levels, 1 - y)):
        assert (other - out).abs().amax(dim=(1, 2)).min() > 1e-4
    null = made(x, levels, torch.full_like(y, made.null_label))
    assert (null - out).abs().amax(dim=(1, 2)).min() > 1e-4
    x = x.requires_grad_()
    made(x, levels, y)[:, :, 4].sum().backward()
    assert (x.grad.abs().sum(dim=1) > 0).all()  # a step sees the past, itself and the future


@pytest.mark.parametrize("kind", KINDS)
def test_the_untrained_output_does_not_depend_on_the_series(kind):
    made, (x, levels, y) = network(kind), inputs()
    out = made(x, levels, y)
    torch.testing.assert_close(out, out[:1, :, :1].expand_as(out))
    if kind != "published_unet":  # whose last bias is random
        assert not out.any()


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_parameter(kind):
    made, (x, levels, y) = shaken(kind), inputs()
    made(x, levels, y).square().mean().backward()
    unreached = [name for name, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert not unreached


def test_a_gated_residual_follows_its_formula_and_starts_open():
    h, embedding = torch.randn(3, 5, 8), torch.randn(3, 4)
    layer = GatedResidual(8, 4, torch.nn.Tanh())
    centred = h - h.mean(2, keepdim=True)
    normed = centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(layer(h, embedding), h + torch.tanh(normed))
    torch.nn.init.normal_(layer.modulate.weight)
    scale, shift, gate = layer.modulate(embedding)[:, None].split(8, dim=2)
    expected = h + (1 + gate) * torch.tanh(normed * (1 + scale) + shift)
    torch.testing.assert_close(layer(h, embedding), expected)


def test_a_gated_layer_follows_its_formula():
    h, layer = torch.randn(3, 5, 8), GatedFeedForward(8)
    value, gate = layer.value_and_gate(h).split(16, dim=2)
    torch.testing.assert_close(layer(h), layer.out(value * gate * torch.sigmoid(gate)))


def test_attention_is_that_of_its_formula():
    h, layer = torch.randn(3, 5, 8), SelfAttention(8, heads=2)
    q, k, v = (part.reshape(3, 5, 2, 4) for part in layer.to_qkv(h).split(8, dim=2))
    weights = torch.einsum("blgd,bmgd->bglm", q, k).div(2.0).softmax(dim=3)
    mixed = torch.einsum("bglm,bmgd->blgd", weights, v).reshape(3, 5, 8)
    torch.testing.assert_close(layer(h), layer.to_out(mixed))


def test_tokens_know_their_place():
    made, (x, levels, y) = shaken("unet"), inputs(length=8)
    swapped = torch.cat([x[..., 4:], x[..., :4]], dim=2)  # its two tokens of the coarsest level
    out = made(x, levels, y)
    back = made(swapped, levels, y).roll(4, dims=2)
    assert (back - out).abs().max() > 1e-3


def test_patches_levels_and_padding_stay_in_order():
    """Without blocks and with identities between the levels the network doubles the series."""
    made = network("unet", width=12, patch=4)
    made.norm_out = torch.nn.Identity()
    made.down, made.middle, made.up = (
        torch.nn.ModuleList(torch.nn.ModuleList() for _ in range(count)) for count in (1, 0, 1)
    )
    with torch.no_grad():
        for layer in (made.tokens_in, made.fold[0], made.unfold[0], made.tokens_out):
            layer.weight.copy_(torch.eye(len(layer.weight)))
            layer.bias.zero_()
    x, levels, y = inputs(length=13)
    places = made(torch.zeros_like(x), levels, y)
    torch.testing.assert_close(made(x, levels, y) - places, 2 * x)


def test_what_is_missing_of_a_token_repeats_the_last_value():
    made, (x, levels, y) = shaken("unet"), inputs(length=9)
    whole = torch.cat(
        [x, x[..., -1:].expand(-1, -1, 3)], dim=2
    )  # two coarse tokens of 4 and a half
    torch.testing.assert_close(made(x, levels, y), made(whole, levels, y)[..., :9])


def test_every_level_adds_to_what_goes_past_it():
    made, (x, levels, y) = shaken("unet"), inputs()
    out = made(x, levels, y)
    for cut in (made.fold[0], made.unfold[0], made.down[0][1].inner.out, made.up[0][1].inner.out):
        kept = cut.weight.detach().clone()
        torch.nn.init.zeros_(cut.weight)
        assert (made(x, levels, y) - out).abs().max() > 1e-3
        with torch.no_grad():
            cut.weight.copy_(kept)


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("unet", {"heads": 3}),
        ("unet", {"heads": 0}),
        ("unet", {"patch": 0}),
        ("unet", {"blocks_per_level": 0}),
        ("unet", {"multipliers": []}),
        ("unet", {"multipliers": [1, 0]}),
        ("unet", {"width": 9, "heads": 3}),
        ("other", {}),
    ],
)
def test_arguments_that_do_not_fit_are_refused(kind, changes):
    arguments = {"kind": kind, "in_channels": 3, "num_classes": 2} | OPTIONS.get(kind, {})
    with pytest.raises(ValueError, match=next(iter(changes), "unknown network 'other'")):
        build_network(arguments | changes)


def test_the_config_names_what_does_not_fit():
    base = ["configs/base/tiny.yaml"]
    with pytest.raises(ConfigError, match=r"diffusion\.heads=5: must divide diffusion\.width=8"):
        load_config([*base, "diffusion.heads=5"])
    with pytest.raises(ConfigError, match=r"diffusion\.patch=0"):
        load_config([*base, "diffusion.patch=0"])
    with pytest.raises(ConfigError, match="expected one of unet, published_unet"):
        load_config(["configs/base/tiny.yaml", "diffusion.network=mlp"])
    load_config([*base, "diffusion.heads=5", "diffusion.network=published_unet"])  # reads none


def test_every_option_of_the_config_reaches_its_network():
    base = load_config(["configs/base/tiny.yaml"]).diffusion
    changes = {
        "unet": {"multipliers": [1, 3], "blocks_per_level": 2, "heads": 2, "patch": 3},
        "published_unet": {"multipliers": [1, 3], "blocks_per_level": 2, "attention_levels": [0]},
    }
    assert changes.keys() == set(KINDS)
    for kind, options in changes.items():
        for name, value in (options | {"width": 24}).items():
            changed = dataclasses.replace(base, network=kind, **{name: value})
            arguments = network_arguments(changed, in_channels=3, num_classes=2)
            assert arguments["kind"] == kind and arguments[name] == value
            build_network(arguments)


@pytest.fixture(scope="module", params=KINDS)
def trained(request, tmp_path_factory):
    root = tmp_path_factory.mktemp(request.param)
    config = load_config(
        tiny_arguments(root, f"diffusion.network={request.param}", "guidance.kind=none")
    )
    ensure_built(config.data)
    train_diffusion(config)
    return config, root


def test_a_checkpoint_comes_back_as_the_network_it_was(trained, tmp_path):
    config, root = trained
    model = load_model(root / "runs/tiny/diffusion/model.pt", "train")
    assert type(model.network) is network_class(config.diffusion.network)
    save_model(tmp_path / "again.pt", model)
    again = load_model(tmp_path / "again.pt", "train")
    x, y = torch.randn(3, 4, 12), torch.tensor([0, 1, 2])
    out = model.network(x, torch.zeros(3), y)
    assert torch.equal(again.network(x, torch.zeros(3), y), out)
    untrained, _ = build_module(config, load_splits(config.data))
    assert not torch.allclose(untrained.ema(x, torch.zeros(3), y), out)


def test_a_model_of_a_network_whose_code_has_changed_is_told_of(trained, tmp_path, caplog):
    """Its weights load into the new code, whatever that computes."""
    config, root = trained
    model = load_model(root / "runs/tiny/diffusion/model.pt", "train")
    assert not caplog.records
    with patch.object(source_code, "source_version", lambda names: f"edited {names}"):
        save_model(tmp_path / "model.pt", model)
    load_model(tmp_path / "model.pt", "train")
    assert f"the code of network {config.diffusion.network} has changed" in caplog.text
    wanted = f"tardiff.networks.{model.network.__module__.split('.')[-1]}"
    source = load_plain(tmp_path / "model.pt", "model")["network_source"]
    assert source.startswith("edited") and f"'{wanted}'" in source
    assert "torch" not in source and "'tardiff.networks.blocks'" in source


@pytest.mark.parametrize("more", [0, 20])
def test_stage_1_tells_so_of_a_model_that_it_takes_over(trained, tmp_path, caplog, more):
    """Also of one that it trains further: the next one has the hash of the new code."""
    root = tmp_path / "root"
    shutil.copytree(trained[1], root)
    config = dataclasses.replace(trained[0], runs_dir=str(root / "runs"))
    diffusion = dataclasses.replace(config.diffusion, max_steps=config.diffusion.max_steps + more)
    path = root / "runs/tiny/diffusion/model.pt"
    with patch.object(source_code, "source_version", lambda names: "edited"):
        save_model(path, load_model(path, "train"))
    caplog.clear()
    train_diffusion(dataclasses.replace(config, diffusion=diffusion))
    assert "has changed since it was trained" in caplog.text
    assert (load_plain(path, "model")["network_source"] == "edited") == (more == 0)


def test_generation_runs_to_its_end(trained):
    config, root = trained
    generate(config)
    made = load_dataset(root / "runs/tiny/synthetic/unguided.npz")
    splits = load_splits(config.data)
    np.testing.assert_array_equal(made.class_counts, splits.train.class_counts)
    means, spread = splits.train.values.mean((0, 2)), splits.train.values.std((0, 2))
    assert (np.abs(made.values.mean((0, 2)) - means) < spread).all()


@pytest.mark.parametrize("length", [5, 12, 24, 25])
def test_unet_keeps_any_length(length):
    network = UNet1D(3, 2, width=8, multipliers=(1, 2, 2))
    x = torch.randn(2, 3, length)
    assert network(x, torch.zeros(2), torch.tensor([0, 1])).shape == x.shape


def test_unet_rows_are_independent_and_use_label_and_level():
    torch.manual_seed(0)
    network = UNet1D(3, 2, width=8).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x, levels, y = torch.randn(4, 3, 8), torch.tensor([-3.0, 0.0, 1.0, 4.0]), torch.arange(4) % 2
    out = network(x, levels, y)
    torch.testing.assert_close(network(x[2:3], levels[2:3], y[2:3]), out[2:3])
    assert not torch.allclose(network(x, levels, 1 - y), out)
    assert not torch.allclose(network(x, levels + 1, y), out)
    assert not torch.allclose(network(x, levels, torch.full_like(y, network.null_label)), out)
