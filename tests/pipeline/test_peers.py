"""Generators of others: from a user's folder to a row of the table, with a stand-in for a peer."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest

import benchmarks.peers.__main__ as peers
from benchmarks.peers import drivers
from benchmarks.peers.environment import Peer, interpreter
from configs.runtime.errors import UserError
from data_preprocess.storage.dataset_files import load_dataset, load_extra
from tests.support.tiny_runs import tiny_arguments

MODEL = """
import torch

class TimeGAN(torch.nn.Module):
    def __init__(self, args):
        super().__init__()
        self.args, self.mean = args, torch.nn.Parameter(torch.zeros(args.feature_dim))

    def forward(self, X, T, Z, obj):
        assert obj == "inference" and len(T) == len(Z)
        return self.mean.detach() + 0.1 * Z
"""
TRAINING = """
import torch

def timegan_trainer(model, data, time, args):
    assert len(data) % args.batch_size == 0 and data.min() >= 0 and data.max() <= 1
    assert SummaryWriter("log") is None
    model.mean.data = torch.as_tensor(data.mean((0, 1)), dtype=torch.float32)
    print("trained for", args.gan_epochs)
"""


@pytest.fixture
def clone(tmp_path):
    folder = tmp_path / "clone" / "models"
    folder.mkdir(parents=True)
    (folder / "timegan.py").write_text(MODEL)
    (folder / "utils.py").write_text(TRAINING)
    return folder.parent


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    def start(*more):
        monkeypatch.setattr(peers, "interpreter", lambda *_: Path(sys.executable))
        arguments = tiny_arguments(
            tmp_path,
            "evaluation.protocols=[TRTR,TSTR,TRTS]",
            "evaluation.seeds=[0]",
            "evaluation.workers=1",
        )
        monkeypatch.setattr(sys, "argv", ["peers", *arguments, *more])
        with pytest.raises(SystemExit) as stopped:
            peers.main()
        return stopped.value.code, capfd.readouterr().out

    yield start
    logging.getLogger().handlers.clear()


def test_a_peer_is_trained_per_class_evaluated_and_tabled(run, clone, tmp_path):
    code, out = run(f"peers.timegan={clone}", "--share", "timegan=0.01")
    assert code == 0, out
    train = load_dataset(tmp_path / "data" / "train.npz")
    path = tmp_path / "runs/tiny/peers/timegan.npz"
    found = load_dataset(path)
    assert np.array_equal(found.class_counts, train.class_counts)
    for label in range(train.num_classes):  # one model a class: each has its own means
        own, theirs = train.values[train.labels == label], found.values[found.labels == label]
        low, high = own.min(axis=(0, 2)), own.max(axis=(0, 2))
        expected = own.mean(axis=(0, 2)) + 0.05 * (high - low)
        assert theirs.mean(axis=(0, 2)) == pytest.approx(expected, rel=0.02)
    facts = load_extra(path)["peer"]
    assert [f["done"] for f in facts] == ["6 of 600 epochs a phase"] * 2
    row = next(line for line in out.splitlines() if line.startswith("| timegan |"))
    cells = [cell.strip() for cell in row.strip("| ").split("|")]
    summary = json.loads((tmp_path / "runs/tiny/evaluation/summary.json").read_text())
    (score,) = [r for r in summary["rows"] if (r["protocol"], r["metric"]) == ("TSTR", "auroc")]
    assert cells[1] == f"{2 * train.num_channels}" and cells[4].startswith(f"{score['mean']:.3f} [")
    assert all(cells[i] for i in (6, 7, 8, 9, 10)) and "6 of 600" in cells[11]


def test_what_was_trained_is_kept_and_model_space_is_another_set(run, clone, tmp_path, monkeypatch):
    monkeypatch.setattr(peers, "evaluate", lambda config: None)
    monkeypatch.setattr(peers, "table", lambda _, sets: " | ".join(sets))
    assert run(f"peers.timegan={clone}", "--share", "timegan=0.01")[0] == 0
    trained, kept = [], peers._trained
    monkeypatch.setattr(peers, "_trained", lambda *a: trained.append(a) or kept(*a))
    assert run(f"peers.timegan={clone}", "--share", "timegan=0.01")[0] == 0
    assert trained == []
    code, out = run(f"peers.timegan={clone}", "--share", "timegan=0.01", "--space", "model")
    assert code == 0 and len(trained) == 2
    assert "timegan | timegan_model_space" in out  # both are evaluated
    clinical, model = (
        load_dataset(tmp_path / f"runs/tiny/peers/{name}.npz").values.mean(axis=(0, 2))
        for name in ("timegan", "timegan_model_space")
    )
    assert model == pytest.approx(clinical, rel=0.2)


def test_every_series_is_in_a_whole_batch(clone, monkeypatch):
    monkeypatch.syspath_prepend(clone)
    for name in ("models", "models.timegan", "models.utils"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    train = np.random.default_rng(0).random((130, 8, 3)).astype(np.float32)
    drawn = drivers.timegan(train, 5, 1.0)  # the stand-in refuses what is not a multiple of 128
    assert drawn.sample().shape == (5, 8, 3) and drawn.done == "600 of 600 epochs a phase"


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ((), "name at least one peer"),
        (("peers.timevea={clone}",), "peers.timevea: unknown; expected some of timevae"),
        (("peers.timevae={clone}",), "no src/vae/timevae.py there; expected a clone of abudesai"),
        (("peers.timegan={clone}/none",), "no models/timegan.py there; expected a clone of"),
        (("peers.timegan={clone}", "--share", "timegan=2"), "expected 0 < share <= 1"),
        (("peers.timegan={clone}", "--share", "timevae=1"), "no such peer was asked for"),
    ],
)
def test_a_wrong_request_is_answered_in_one_sentence(run, clone, more, sentence):
    code, out = run(*(part.format(clone=clone) for part in more))
    assert code == 2 and sentence in out and "Traceback" not in out


def test_a_peer_that_fails_is_named_with_its_last_words(run, clone):
    (clone / "models" / "utils.py").write_text("raise ValueError('no such layer')")
    code, out = run(f"peers.timegan={clone}")
    assert code == 2 and "timegan stopped: ValueError: no such layer" in out


def test_requirements_that_do_not_exist_are_named(tmp_path):
    peer = Peer("a/b", "c.py", ("./no_such_folder",), shares=True)
    with pytest.raises(UserError, match=r"\./no_such_folder cannot be installed"):
        interpreter("stub", peer, tmp_path)


def test_an_environment_is_made_once_and_sees_the_packages_of_this_one(tmp_path):
    peer = Peer("a/b", "c.py", ("numpy",), shares=True)  # there already: nothing is fetched
    python = interpreter("stub", peer, tmp_path / "cache")
    assert python.is_file() and interpreter("stub", peer, tmp_path / "cache") == python
    assert len(list((tmp_path / "cache").iterdir())) == 1
