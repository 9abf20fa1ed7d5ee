"""Stage 2 from config to checkpoint, and its shell script from both places."""

import csv
import json
import logging
import os
import subprocess
from pathlib import Path

import pytest
import torch

from classifier import train
from classifier.checkpoint import load_classifier, load_facts
from classifier.metrics import report_scores
from classifier.models import source_code
from classifier.models.networks import ConvClassifier
from classifier.training import predict_logits
from configs import load_config
from configs.runtime.errors import DataError
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.storage.content_cache import source_version
from tardiff.from_config import direction_loader
from tests.support.own_network import own_network

ROOT = Path(__file__).parents[3]


def config_at(folder: Path, *overrides: str):
    path = folder / "tiny.yaml"
    path.write_text("experiment: tiny\n")
    settings = {
        "data.dir": folder / "data",
        "runs_dir": folder / "runs",
        "accelerator": "cpu",
        "data.simulated.num_subjects": 300,
        "data.simulated.num_steps": 6,
        "data.simulated.num_channels": 2,
        "classifier.checkpoint_dir": folder / "checkpoint",
        "classifier.max_epochs": 2,
        "classifier.batch_size": 128,
        "classifier.model": "conv",
    }
    given = [f"{key}={value}" for key, value in settings.items()]
    return load_config([str(path), *given, *overrides])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stage2")
    train.main(config_at(folder))
    return folder


def _forbid_fit(monkeypatch):
    def fail(*args, **kwargs):
        pytest.fail("trained again")

    monkeypatch.setattr(train, "fit_classifier", fail)


def test_a_classifier_of_this_project_whose_code_has_changed_is_told_of(
    trained, monkeypatch, caplog
):
    _forbid_fit(monkeypatch)
    train.main(config_at(trained))
    assert "the code of" not in caplog.text
    monkeypatch.setattr(source_code, "source_version", lambda names: f"edited {names}")
    train.main(config_at(trained))
    load_classifier(trained / "checkpoint" / "best.ckpt")
    assert caplog.text.count("the code of network conv has changed since it was trained") == 2


def test_a_classifier_that_does_not_fit_the_new_code_is_trained_again(
    tmp_path, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    train.main(config_at(tmp_path))
    original = ConvClassifier.__init__
    monkeypatch.setattr(
        ConvClassifier, "__init__", lambda self, *_, **asked: original(self, **asked | {"width": 8})
    )
    train.main(config_at(tmp_path))
    assert "its weights do not fit its architecture" in caplog.text
    assert "training again replaces it" in caplog.text
    assert load_classifier(tmp_path / "checkpoint" / "best.ckpt")


def test_outputs_agree_with_the_checkpoint(trained):
    splits = load_splits(config_at(trained).data)
    path = trained / "checkpoint" / "best.ckpt"
    model, scores = load_classifier(path, splits), load_facts(path).scores
    x = splits.normaliser.to_model(splits.val_select.values)
    y = torch.from_numpy(splits.val_select.labels)
    own = report_scores(predict_logits(model, x), y)
    assert {name: scores[name] for name in own} == pytest.approx(own)
    metrics = json.loads((trained / "checkpoint" / "metrics.json").read_text())
    assert metrics["val_select"] == scores
    with (trained / "checkpoint" / "history.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 2
    best = rows[metrics["best_epoch"]]
    assert float(best["auroc"]) == max(float(row["auroc"]) for row in rows)
    assert float(best["auroc"]) == pytest.approx(scores["auroc"])
    record = json.loads((trained / "runs" / "tiny" / "record.json").read_text())
    assert record["classifier"]["data_fingerprint"] == splits.fingerprint


def test_the_test_split_and_the_guidance_split_are_never_read(tmp_path, monkeypatch):
    config = config_at(tmp_path)
    ensure_built(config.data)
    splits = load_splits(config.data)
    for name in ("test", "val_guide"):
        object.__delattr__(splits, name)
    monkeypatch.setattr(train, "load_splits", lambda data: splits)
    train.main(config)
    assert (tmp_path / "checkpoint" / "best.ckpt").is_file()


def test_the_same_command_again_trains_nothing(trained, monkeypatch, caplog):
    _forbid_fit(monkeypatch)
    with caplog.at_level(logging.INFO):
        train.main(config_at(trained))
    assert "up to date" in caplog.text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("classifier.learning_rate=0.001", "classifier.learning_rate: 0.002 -> 0.001"),
        ("seed=1", "seed: 0 -> 1"),
    ],
)
def test_other_settings_train_again(trained, caplog, override, message):
    train.main(config_at(trained))
    before = (trained / "checkpoint" / "best.ckpt").read_bytes()
    with caplog.at_level(logging.INFO):
        train.main(config_at(trained, override))
    assert message in caplog.text
    assert (trained / "checkpoint" / "best.ckpt").read_bytes() != before


def test_a_classifier_from_before_there_was_a_key_is_up_to_date(trained, monkeypatch):
    train.main(config_at(trained))
    path = trained / "checkpoint" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    del content["facts"]["settings"]["classifier"]["inputs"]
    torch.save(content, path)
    torch.save(content, path)
    _forbid_fit(monkeypatch)
    train.main(config_at(trained))


def test_other_data_train_again(trained, caplog):
    other = config_at(trained, f"data.dir={trained / 'other'}", "data.seed=1")
    with caplog.at_level(logging.INFO):
        train.main(other)
    assert "trained on other data" in caplog.text
    load_classifier(trained / "checkpoint" / "best.ckpt", load_splits(other.data))


def test_other_code_of_an_own_class_trains_again_and_is_another_guide(
    tmp_path, monkeypatch, caplog
):
    """Its weights, and a G computed with them, are those of what the class did."""
    caplog.set_level(logging.INFO)
    monkeypatch.syspath_prepend(tmp_path)
    own = ("classifier.model=own_net_of_stage2:Net", "influence.preconditioner=none")
    config = config_at(tmp_path, *own)
    cpu, keys = torch.device("cpu"), []

    def guide(factor: int) -> str:
        (tmp_path / "own_net_of_stage2.py").write_text(own_network(factor))
        source_version.cache_clear()
        caplog.clear()
        keys.append(direction_loader(config, load_splits(config.data), cpu).direction().key)
        return caplog.text

    (tmp_path / "own_net_of_stage2.py").write_text(own_network())
    train.main(config)
    assert "cached in" not in guide(1) and "cached in" in guide(1)
    assert "cached in" not in guide(2)
    assert keys[0] == keys[1] != keys[2]
    train.main(config)
    assert "has other settings (classifier.source: " in caplog.text
    caplog.clear()
    train.main(config)
    assert "is up to date" in caplog.text
    assert "source" not in train.classifier_settings(config_at(tmp_path))


def test_a_foreign_file_is_not_overwritten(tmp_path):
    path = tmp_path / "checkpoint" / "best.ckpt"
    path.parent.mkdir()
    path.write_text("mine")
    with pytest.raises(DataError, match="not a classifier checkpoint"):
        train.main(config_at(tmp_path))
    assert path.read_text() == "mine"


def test_an_interrupted_training_leaves_no_checkpoint(tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "fit_classifier", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train.main(config_at(tmp_path))
    assert not (tmp_path / "checkpoint").exists()


@pytest.fixture
def echo(tmp_path):
    """A stand-in for python that prints where it runs and what it was given."""
    path = tmp_path / "echo.sh"
    path.write_text('#!/bin/sh\nprintf "%s\\n" "$PWD" "$@"\n')
    path.chmod(0o755)
    return path


def _script(echo: Path, cwd: Path, script: str, *arguments: str) -> list[str]:
    environment = os.environ | {"PYTHON": str(echo)}
    done = subprocess.run(
        ["bash", script, *arguments],
        cwd=cwd,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.splitlines()


def test_script_runs_from_the_root_and_from_classifier(echo):
    arguments = ["configs/base/demo.yaml", "seed=3", "data.files.train=a b.npz"]
    expected = [str(ROOT), "-m", "configs", "classifier.train", *arguments]
    assert _script(echo, ROOT / "classifier", "train.sh", *arguments) == expected
    assert _script(echo, ROOT, "classifier/train.sh", *arguments) == expected
    assert _script(echo, ROOT, "classifier/train.sh") == expected[:4]


def test_script_without_an_environment_says_how_to_make_one(tmp_path):
    """An empty path has no Python; the copy of the repository has no .venv."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "classifier").mkdir()
    (tmp_path / "bin").mkdir()
    for name in ("scripts/env.sh", "scripts/start.sh", "classifier/train.sh"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    (tmp_path / "bin" / "dirname").symlink_to("/usr/bin/dirname")
    done = subprocess.run(
        ["/bin/bash", "classifier/train.sh"],
        cwd=tmp_path,
        env={"PATH": str(tmp_path / "bin")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "scripts/quickstart.sh" in done.stderr
