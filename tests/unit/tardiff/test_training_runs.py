"""Trainings of stage 1 as a whole: resuming, more steps, when they are evaluated."""

import csv
import dataclasses
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.accelerators import MPSAccelerator

from classifier.train import require_buildable
from configs import load_config
from configs.run_record import describe_differences
from configs.runtime.errors import ConfigError, MismatchError, MissingInputError
from configs.runtime.torch_files import load_plain
from data_preprocess.build import ensure_built, load_splits
from tardiff.records_from_config import diffusion_settings
from tardiff.train import build_module, evaluated_every, main, train
from tardiff.training.callbacks import COLUMNS, CSVLog
from tardiff.training.checkpoint import load_model
from tardiff.training.module import DiffusionModule
from tardiff.training.more_steps import Patience
from tardiff.training.trainer import best_checkpoint
from tests.support.tiny_runs import tiny_arguments


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    root = tmp_path_factory.mktemp("tiny")
    config = load_config(
        ["configs/base/tiny.yaml", f"runs_dir={root}", f"data.dir={root}/data", "accelerator=cpu"]
    )
    ensure_built(config.data)
    return config, load_splits(config.data), root


def weights(model):
    return torch.cat([p.flatten() for p in model.network.state_dict().values()])


def interrupt_at(step):
    """Makes DiffusionModule fail at a step, as a killed process would stop there."""
    original = DiffusionModule.training_step

    def failing(self, batch, batch_idx):
        if self.global_step == step:
            raise RuntimeError("killed")
        return original(self, batch, batch_idx)

    return original, failing


def test_a_macs_gpu_is_left_alone(tiny, monkeypatch):
    """Lightning's auto takes it, and the held-out loss is summed in double precision."""
    config, splits, root = tiny
    monkeypatch.setattr(MPSAccelerator, "is_available", lambda: True)
    config = dataclasses.replace(config, accelerator="auto")
    assert train(config, splits, root / "mac") is not None


def test_a_resumed_run_equals_the_uninterrupted_one(tiny, monkeypatch):
    config, splits, root = tiny
    whole = train(config, splits, root / "whole")
    original, failing = interrupt_at(27)
    monkeypatch.setattr(DiffusionModule, "training_step", failing)
    with pytest.raises(RuntimeError, match="killed"):
        train(config, splits, root / "parts")
    monkeypatch.setattr(DiffusionModule, "training_step", original)
    resumed = train(config, splits, root / "parts")
    assert torch.equal(weights(whole), weights(resumed))
    assert whole.val_loss == resumed.val_loss
    logs = []
    for name in ("whole", "parts"):
        with (root / name / "log.csv").open(newline="") as handle:
            logs.append([(r["step"], r["val_loss"]) for r in csv.DictReader(handle)])
    assert logs[0] == logs[1]
    assert [step for step, _ in logs[0]] == ["20.0", "40.0"]


def test_a_raised_max_steps_goes_on_from_the_last_checkpoint(tmp_path):
    arguments = tiny_arguments(tmp_path, "diffusion.patience=1")
    main(load_config(arguments))
    folder = tmp_path / "runs/tiny/diffusion"
    short = load_plain(folder / "last.ckpt", "checkpoint")
    main(load_config([*arguments, "diffusion.max_steps=80"]))
    longer = load_plain(folder / "last.ckpt", "checkpoint")
    assert short["global_step"] == 40 < longer["global_step"]  # of the last improvement
    with (folder / "log.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["step"] for row in rows] == ["20.0", "40.0", "60.0", "80.0"]
    # The schedule is that of 80 steps: back up from a tenth after step 40, a tenth at the end.
    rates = [float(row["learning_rate"]) for row in rows]
    assert rates[2] > 2 * rates[1] and rates[3] == pytest.approx(rates[1])
    model = load_model(folder / "model.pt", "train")
    losses = {row["step"]: float(row["val_loss"]) for row in rows}
    assert model.val_loss == pytest.approx(min(losses.values()))
    with pytest.raises(MismatchError, match="max_steps: 80 -> 60"):
        main(load_config([*arguments, "diffusion.max_steps=60"]))
    with pytest.raises(
        MismatchError, match=r"batch_size: 32 -> 16; diffusion\.max_steps: 80 -> 90"
    ):
        main(load_config([*arguments, "diffusion.max_steps=90", "diffusion.batch_size=16"]))
    (folder / "model.pt").unlink()  # as where the longer training was stopped
    with pytest.raises(MissingInputError, match=r"with: train diffusion\.max_steps=80, which goes"):
        load_model(folder / "model.pt", "train")


def test_going_on_does_not_warn_of_results(tmp_path, recwarn):
    """Evaluations stand at other steps then; the rows of a step do not depend on that."""
    arguments = tiny_arguments(tmp_path, "diffusion.max_steps=60", "diffusion.val_every=40")
    main(load_config(arguments))
    main(load_config([*arguments, "diffusion.max_steps=400"]))
    assert not [w for w in recwarn if "unreliable results" in str(w.message)]


def test_going_on_evaluates_the_last_step(tmp_path):
    """Of epochs of another length: 12 steps, then 18, then 11."""
    few = ("diffusion.val_every=20", "diffusion.marginal_rows=0")
    for steps in (12, 30, 41):
        main(load_config(tiny_arguments(tmp_path, *few, f"diffusion.max_steps={steps}")))
    with (tmp_path / "runs/tiny/diffusion/log.csv").open(newline="") as handle:
        assert [float(row["step"]) for row in csv.DictReader(handle)] == [12, 30, 41]


def test_the_log_of_a_resumed_run_has_no_rows_behind_its_step(tmp_path, monkeypatch):
    """As where the process was killed between the row and its checkpoint."""
    path = tmp_path / "log.csv"
    path.write_text(f"{','.join(COLUMNS)}\n20,1,1,1,30\n40,1,1,1,70\n")
    monkeypatch.setattr("time.monotonic", lambda: 1000.0)
    log = CSVLog(path)
    log.on_train_start(Mock(pl.Trainer, global_step=20), Mock(pl.LightningModule))
    assert [row["step"] for row in log.rows] == [20] and log.started == 970


def test_going_on_gives_patience_afresh():
    used, same, longer = (
        Patience("val_loss", patience=3, max_steps=steps) for steps in (40, 40, 80)
    )
    used.wait_count = 2
    for other in (same, longer):
        other.load_state_dict(used.state_dict())
    assert (same.wait_count, longer.wait_count) == (2, 0)


def test_a_moved_training_remembers_its_best(tiny):
    config, splits, root = tiny
    whole = train(config, splits, root / "before")
    (root / "before").rename(root / "after")
    again = train(config, splits, root / "after")  # nothing is left to train
    assert torch.equal(weights(whole), weights(again)) and whole.val_loss == again.val_loss

    content = torch.load(root / "after" / "last.ckpt", weights_only=True)
    states = [state for key, state in content["callbacks"].items() if "ModelCheckpoint" in key]
    shutil.copytree(root / "after", root / "elsewhere")
    moved = best_checkpoint(root / "elsewhere")
    moved.load_state_dict(states[0])
    path = str(root / "elsewhere" / "best.ckpt")
    assert float(moved.best_model_score) == pytest.approx(whole.val_loss)
    assert moved.best_model_path == moved.kth_best_model_path == path
    assert list(moved.best_k_models) == [path]
    Path(path).unlink()  # a score without its model would keep every other model out
    without = best_checkpoint(root / "elsewhere")
    with pytest.warns(UserWarning, match="dirpath has changed"):
        without.load_state_dict(states[0])
    assert without.best_model_score is None


def test_a_classifier_that_cannot_be_made_is_refused_before_the_training(tmp_path):
    config = load_config(tiny_arguments(tmp_path, "classifier.model_args={nosuch: 1}"))
    with pytest.raises(ConfigError, match=r"nosuch.*the class accepts"):
        main(config)
    assert not (tmp_path / "runs/tiny/diffusion").exists()


def test_looking_at_the_classifier_changes_no_training(tiny):
    """Its initial weights are drawn from a stream of their own."""
    config, splits, _ = tiny
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    require_buildable(config, splits)
    assert torch.equal(torch.rand(4), expected)


def test_a_finished_run_of_before_stays_valid(tiny):
    config, _, _ = tiny
    recorded = diffusion_settings(config)
    assert recorded["precision"] == "32-true"  # as "auto" was recorded on a CPU
    before = {key: value for key, value in recorded.items() if key != "private"} | {"compile": True}
    now = {"diffusion": recorded, "seed": config.seed}
    assert not describe_differences({"diffusion": before, "seed": config.seed}, now)
    assert {"compile", "micro_batch"}.isdisjoint(recorded)


def test_training_lowers_the_held_out_loss_and_averages_weights(tiny):
    config, splits, root = tiny
    longer = dataclasses.replace(config.diffusion, max_steps=30, val_every=20)
    config = dataclasses.replace(config, diffusion=longer)
    model = train(config, splits, root / "longer")
    untrained, _ = build_module(config, splits)
    assert model.step in (20, 30)
    assert not torch.equal(weights(model), weights_of(untrained.ema))
    with (root / "longer" / "log.csv").open(newline="") as handle:
        losses = [float(row["val_loss"]) for row in csv.DictReader(handle)]
    assert losses[-1] < 1.0  # an untrained v-prediction of unit-variance series scores about 1


def test_mixed_precision_trains_with_clipped_gradients(tiny, monkeypatch):
    config, splits, root = tiny
    half = dataclasses.replace(
        config.diffusion, precision="bf16-mixed", max_steps=3, gradient_clip=1e-3
    )
    norms = []

    def seen(self, *_):
        gradients = [p.grad.flatten() for p in self.network.parameters()]
        norms.append(float(torch.cat(gradients).norm()))

    monkeypatch.setattr(DiffusionModule, "on_train_batch_end", seen)
    model = train(dataclasses.replace(config, diffusion=half), splits, root / "half")
    assert model.step == 3 and model.val_loss < 2
    assert norms == pytest.approx([1e-3] * len(norms), rel=1e-2) and norms


def test_a_training_shorter_than_val_every_is_evaluated_at_its_end(tiny):
    config, splits, root = tiny
    short = dataclasses.replace(config.diffusion, max_steps=3, val_every=20)
    model = train(dataclasses.replace(config, diffusion=short), splits, root / "short")
    assert model.step == 3


def weights_of(network):
    return torch.cat([p.flatten() for p in network.state_dict().values()])


def test_the_last_step_is_evaluated():
    """Else the steps behind the last evaluation are trained and lost."""
    assert evaluated_every(4000, 250, 0) == 250
    assert evaluated_every(100, 250, 0) == 100
    assert evaluated_every(55, 20, 0) == 11
    assert evaluated_every(300, 250, 0) == evaluated_every(300, 250, 150) == 150
    assert evaluated_every(500, 250, 300) == 200  # goes on from a training of 300
    assert evaluated_every(48, 10, 8) == 8
    with pytest.raises(ConfigError, match="choose a multiple of it"):
        evaluated_every(5003, 250, 0)
    assert evaluated_every(79, 20, 40) == 13  # 79 is a prime, the 39 steps that remain are not
    assert evaluated_every(79, 20, 79) == 20  # done: nothing is left to divide
    with pytest.raises(ConfigError, match="choose a multiple of it"):
        evaluated_every(83, 20, 40)
