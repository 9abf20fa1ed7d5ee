"""Distributed training: two processes over gloo train one model."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from configs import load_config
from data_preprocess.build import ensure_built, load_splits
from tardiff.train import build_module
from tardiff.training.callbacks import quiet
from tests.support.tiny_runs import tiny_arguments

ROOT = Path(__file__).parents[3]


def two_processes(*command: str) -> str:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    paths = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
    done = subprocess.run(
        [*launcher, *command],
        cwd=ROOT,
        env=os.environ | paths | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    root = tmp_path_factory.mktemp("ranks")
    ensure_built(load_config(tiny_arguments(root)).data)
    two_processes("tests/support/two_ranks.py", str(root))
    return root, [torch.load(root / f"rank{r}.pt", weights_only=True) for r in range(2)]


def held_out_loss(root: Path, weights: torch.Tensor) -> float:
    """Of these averaged weights, as one process evaluates them."""
    config = load_config(tiny_arguments(root))
    module, _ = build_module(config, load_splits(config.data))
    torch.nn.utils.vector_to_parameters(weights, module.ema.parameters())
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    with quiet():
        return trainer.validate(module, DataLoader([0]), verbose=False)[0]["val_loss"]  # type: ignore[arg-type]


@pytest.mark.slow
def test_ranks_train_one_model_on_rows_of_their_own(ranks):
    root, (first, second) = ranks
    for name in ("weights", "averaged", "val_loss"):
        assert torch.equal(first[name], second[name]), name
    assert float(first["val_loss"]) == pytest.approx(
        held_out_loss(root, first["averaged"]), rel=1e-5
    )
    assert not torch.equal(first["rows"], second["rows"])
    assert int(first["steps"]) == 60
    assert bool(first["has_model"]) and not bool(second["has_model"])
    with (root / "ddp" / "log.csv").open(newline="") as handle:
        log = [(float(row["step"]), float(row["val_loss"])) for row in csv.DictReader(handle)]
    assert [step for step, _ in log] == [20, 40, 60]  # each rank takes every step
    assert log[-1][1] < log[1][1] < log[0][1] < 0.9  # about 1 before training


@pytest.mark.slow
def test_the_documented_command_starts_its_second_process(tmp_path):
    """Lightning starts it by the command line of the first."""
    command = ["bash", "train.sh", *tiny_arguments(tmp_path), "devices=2", "strategy=ddp"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert (tmp_path / "runs/tiny/diffusion/model.pt").is_file()
