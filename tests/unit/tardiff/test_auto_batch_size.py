"""How many series at a time: counted memory, micro-batches of the same gradient, recorded sizes."""

import dataclasses
import json
import logging

import pytest
import torch
from torch import nn

from configs import load_config
from configs.runtime.errors import ConfigError
from data_preprocess.build import ensure_built, load_splits
from tardiff.diffusion import auto_batch_size as memory
from tardiff.diffusion.auto_batch_size import (
    bytes_per_series,
    rows_that_fit,
    sampling_rows,
    saved_bytes,
)
from tardiff.generate import main as generate
from tardiff.networks.registry import build_network
from tardiff.networks.unet1d import UNet1D
from tardiff.train import build_module
from tardiff.train import main as train_diffusion
from tardiff.training.module import DiffusionModule
from tests.support.tiny_runs import tiny_arguments

CPU = torch.device("cpu")
KINDS = ("unet", "published_unet")


def test_saved_bytes_of_known_operations():
    x = torch.ones(1000, requires_grad=True)
    assert saved_bytes(lambda: x.exp()) == 4000  # its output
    assert saved_bytes(lambda: x * x) == 4000  # its input, once
    assert saved_bytes(lambda: x + x) == 0
    with torch.no_grad():
        assert saved_bytes(lambda: (x.exp() * 2).sin()) == 8000


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_per_series_counts_what_grows_with_the_batch(kind):
    def counted(length, width=16):
        arguments = {"kind": kind, "in_channels": 3, "num_classes": 2, "width": width}
        return bytes_per_series(build_network(arguments), 3, length)

    # Linear in the length, whatever the weights take; the U-Net keeps no attention matrix.
    assert counted(64) / counted(32) == pytest.approx(2, rel=0.1)
    assert counted(64, width=32) / counted(64) == pytest.approx(2, rel=0.35)
    assert counted(32) > 32 * 16 * 4 * 4  # some layers' outputs at least


def test_rows_that_fit(monkeypatch):
    monkeypatch.setattr(memory, "total_memory", lambda device: 4_000_000)
    assert rows_that_fit(1000, CPU, largest=999) == 999
    assert rows_that_fit(1000, CPU, largest=1000) == 1000
    assert rows_that_fit(1000, CPU, largest=1001) == 512
    assert rows_that_fit(10**9, CPU, largest=64) == 1


def test_sampling_rows_are_256_on_a_cpu_unless_memory_is_short(monkeypatch):
    network = UNet1D(2, 2, width=8)
    assert sampling_rows(network, 2, 8) == 256
    per_series = bytes_per_series(network, 2, 8)
    monkeypatch.setattr(memory, "total_memory", lambda device: 4 * 100 * per_series)
    assert sampling_rows(network, 2, 8) == 64


@pytest.fixture
def built(tmp_path):
    arguments = tiny_arguments(tmp_path)
    config = load_config(arguments)
    ensure_built(config.data)
    return arguments, config, load_splits(config.data)


class Counting(nn.Module):
    """Remembers how many series it was called with."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.null_label, self.sizes = network, network.null_label, []

    def forward(self, x, levels, y):
        self.sizes.append(len(x))
        return self.network(x, levels, y)


def gradient(module: DiffusionModule, micro_batch: int | None) -> tuple[list[int], torch.Tensor]:
    module.objective = dataclasses.replace(module.objective, micro_batch=micro_batch)
    data, network = module.train_data, Counting(module.network)
    generator = torch.Generator().manual_seed(5)
    rows = slice(0, 10)
    losses = module._losses(network, data.x[rows], data.observed[rows], data.y[rows], generator)
    module.zero_grad()
    losses.mean().backward()
    gradients = [p.grad.flatten() for p in module.network.parameters() if p.grad is not None]
    return network.sizes, torch.cat(gradients)


def test_micro_batches_give_the_gradient_of_the_whole_batch(built):
    module, _ = build_module(built[1], built[2])
    for parameter in module.network.parameters():  # an untrained output depends on no input
        nn.init.normal_(parameter, std=0.2)
    calls, whole = gradient(module, None)
    assert calls == [10] and whole.abs().sum() > 0
    calls, parts = gradient(module, 4)
    # Each is run twice: for its output, and when its gradient is due.
    assert calls[:3] == [4, 4, 2] and sorted(calls[3:]) == [2, 4, 4]
    torch.testing.assert_close(parts, whole, rtol=1e-3, atol=1e-5 * float(whole.abs().max()))


def test_auto_goes_through_a_batch_in_parts_that_fit_and_says_so(built, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    module, arguments = build_module(built[1], built[2])
    assert module.objective.micro_batch == built[1].diffusion.batch_size
    assert "micro_batch" not in caplog.text
    x = module.train_data.x
    per_series = bytes_per_series(build_network(arguments), x.shape[1], x.shape[2])
    monkeypatch.setattr(memory, "total_memory", lambda device: 4 * 9 * per_series)
    module, _ = build_module(built[1], built[2])
    assert module.objective.micro_batch == 8
    assert "going through it 8 series at a time (diffusion.micro_batch)" in caplog.text


def test_a_training_may_go_on_with_another_micro_batch(built, caplog):
    caplog.set_level(logging.INFO)
    train_diffusion(built[1])
    train_diffusion(load_config([*built[0], "diffusion.micro_batch=4"]))
    assert "diffusion model is up to date" in caplog.text


def test_the_sampling_batch_in_use_is_recorded(built, tmp_path):
    config = load_config([*built[0], "guidance=none", "sampler.batch_size=auto"])
    train_diffusion(config)
    generate(config)
    record = json.loads((tmp_path / "runs/tiny/record.json").read_text())
    assert record["generation/unguided"]["config"]["sampler"]["batch_size"] == 256


@pytest.mark.parametrize("value", ["0", "half", "true", "2.5"])
@pytest.mark.parametrize("key", ["diffusion.micro_batch", "sampler.batch_size"])
def test_sizes_that_are_none_are_refused(tmp_path, key, value):
    with pytest.raises(ConfigError, match=key):
        load_config(tiny_arguments(tmp_path, f"{key}={value}"))


def test_private_training_takes_no_micro_batch(tmp_path):
    private = [
        "diffusion.private.epsilon=8",
        "diffusion.class_balanced=false",
        "diffusion.precision=32-true",
        "diffusion.marginal_rows=0",
    ]
    load_config(tiny_arguments(tmp_path, *private))
    with pytest.raises(ConfigError, match="micro_batch=4"):
        load_config(tiny_arguments(tmp_path, *private, "diffusion.micro_batch=4"))
