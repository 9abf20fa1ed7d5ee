"""A compiled network samples what the plain one does."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from configs import load_config
from configs.runtime.errors import ConfigError
from data_preprocess.storage.dataset_files import load_dataset
from tardiff.diffusion import denoiser as compiled
from tardiff.diffusion.denoiser import CompiledNetwork
from tardiff.networks.registry import build_network
from tardiff.training.checkpoint import load_model
from tests.support.tiny_runs import tiny_arguments

ROOT = Path(__file__).parents[3]
NETWORK = {"kind": "unet", "in_channels": 2, "num_classes": 2, "width": 8}


def test_an_output_survives_the_next_call(monkeypatch):
    """CUDA graphs write into one buffer; so does this stand-in."""
    network = build_network(NETWORK)
    monkeypatch.setattr(network, "compile", lambda mode: None)
    buffer = torch.zeros(3, 2, 8)
    monkeypatch.setattr(network, "forward", lambda x, level, y: buffer.copy_(x + y[:, None, None]))
    steps = []
    monkeypatch.setattr(
        compiled.torch.compiler, "cudagraph_mark_step_begin", lambda: steps.append(1)
    )
    wrapped = CompiledNetwork(network)
    x, level = torch.zeros(3, 2, 8), torch.zeros(3)
    first = wrapped(x, level, torch.zeros(3, dtype=torch.long))
    wrapped(x, level, torch.ones(3, dtype=torch.long))
    assert (first == 0).all() and len(steps) == 2
    assert wrapped.null_label == 2


@pytest.mark.parametrize("elsewhere", ["generation.workers=2", "processes.backend=dask"])
def test_compiled_workers_are_refused(tmp_path, elsewhere):
    with pytest.raises(ConfigError, match=rf"sampler.compile with .*{elsewhere}"):
        load_config(tiny_arguments(tmp_path, "sampler.compile=true", elsewhere))


def stage(module: str, *arguments: str) -> str:
    """A stage in a process without the tests' type checks, which the compiler cannot trace."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("compiled")
    arguments = tiny_arguments(root, "guidance=none", "generation.counts=[12,6]")
    stage("tardiff.train", *arguments)
    return root, arguments


@pytest.mark.slow
def test_a_compiled_network_makes_the_same_set(trained):
    root, arguments = trained
    for name, compiled_ in (("plain", "false"), ("quick", "true")):
        asked = (f"generation.name={name}", f"sampler.compile={compiled_}")
        stage("tardiff.generate", *arguments, *asked)
    plain, quick = (
        load_dataset(root / f"runs/tiny/synthetic/{name}.npz").values for name in ("plain", "quick")
    )
    scale = plain.std(axis=(0, 2), keepdims=True)
    difference = np.abs(quick - plain) / scale
    assert 0 < difference.max()  # otherwise rounded: it was compiled
    assert np.quantile(difference, 0.99) < 1e-2


@pytest.mark.slow
def test_a_compiled_network_trains_to_the_same_weights(trained):
    root, arguments = trained
    stage("tardiff.train", *arguments, "experiment=quick", "diffusion.compile=true")
    plain, quick = (
        load_model(root / f"runs/{name}/diffusion/model.pt", "train") for name in ("tiny", "quick")
    )
    for one, other in zip(plain.network.parameters(), quick.network.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert plain.val_loss == pytest.approx(quick.val_loss, rel=1e-3)
