"""Stage 2 interrupted after any epoch ends as if it had not been, and knows whose file it is."""

import logging
import os

import pytest
import torch

from classifier import train
from classifier.training import Training
from configs.runtime.torch_files import load_plain, save_plain
from tests.unit.classifier.test_classifier_train import config_at

OPTIONS = (
    "classifier.model=rnn",  # with dropout, so that its random state counts too
    "classifier.model_args={hidden: 4, layers: 2, dropout: 0.5}",
    "classifier.max_epochs=5",
    "classifier.patience=1",
    "classifier.patience_steps=0",
    "classifier.learning_rate=0.01",
    "seed=2",
)


class Killed(BaseException):
    """As a kill: nothing catches it."""


def kill_after(epoch, monkeypatch):
    """Ends the training once `epoch` epochs are on disk; None: it runs to its end."""
    save = Training.save

    def and_die(self, path, key):
        save(self, path, key)
        if len(self.history) == epoch:
            raise Killed

    monkeypatch.setattr(Training, "save", and_die)


def outputs(folder):
    return {
        path.name: path.read_bytes() if path.suffix != ".ckpt" else load_plain(path, "file")
        for path in (folder / "checkpoint").iterdir()
    }


def same(left, right):
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clean")
    train.main(config_at(folder, *OPTIONS))
    return outputs(folder)


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_resumed_training_ends_with_the_same_bytes(tmp_path, clean, epoch, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(epoch, patch)
        train.main(config_at(tmp_path, *OPTIONS))
    assert os.listdir(tmp_path / "checkpoint") == [train.UNFINISHED]
    starts = []
    run_epoch = Training.run_epoch
    monkeypatch.setattr(
        Training,
        "run_epoch",
        lambda self, bar: (starts.append(len(self.history)), run_epoch(self, bar)),
    )
    train.main(config_at(tmp_path, *OPTIONS))
    assert "continuing from" in caplog.text
    # It trains no epoch twice, and none behind the one at which early stopping ends it.
    epochs = clean["history.csv"].count(b"\n") - 1
    assert starts == list(range(epoch, epochs))
    assert same(outputs(tmp_path), clean)


def test_the_clean_run_stops_early_so_that_the_last_kill_is_behind_its_end(clean):
    """Otherwise the case "killed after early stopping, before the model was saved" is not tried."""
    assert clean["history.csv"].count(b"\n") - 1 == 3


@pytest.mark.parametrize("change", ["seed=1", "classifier.batch_size=64", "data.seed=5"])
def test_a_file_of_another_training_is_left(tmp_path, change, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        kill_after(1, patch)
        train.main(config_at(tmp_path, *OPTIONS))
    again = [f"data.dir={tmp_path / 'again'}"] if change.startswith("data") else []
    train.main(config_at(tmp_path, *OPTIONS, change, *again))
    assert "is of another training" in caplog.text and "continuing" not in caplog.text


def test_a_damaged_file_is_said_and_left(tmp_path, monkeypatch, caplog):
    (tmp_path / "checkpoint").mkdir()
    path = tmp_path / "checkpoint" / train.UNFINISHED
    for damage in (lambda: path.write_bytes(b"PK"), lambda: save_plain(path, {"history": 3})):
        damage()
        with monkeypatch.context() as patch, pytest.raises(Killed):
            kill_after(1, patch)
            train.main(config_at(tmp_path, *OPTIONS))
        assert "cannot be read" in caplog.text
        caplog.clear()
