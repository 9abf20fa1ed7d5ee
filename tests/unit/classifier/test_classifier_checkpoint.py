"""A classifier comes back as it was saved, and only for the data it was trained on."""

import dataclasses
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from classifier import checkpoint
from classifier.checkpoint import ClassifierFacts, load_classifier, load_facts, save_classifier
from configs.runtime import atomic_files as atomic
from configs.runtime.errors import DataError, MismatchError, MissingInputError
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits

NAMES = ("heart_rate[bpm]", "temperature[C]")


def split(first: int, *, names=NAMES, labels=("survived", "died"), length=6) -> EHRDataset:
    rng = np.random.default_rng(first)
    values = rng.normal(50, 10, (12, len(names), length)).astype(np.float32)
    return EHRDataset(
        values=values,
        observed=np.ones(values.shape, bool),
        labels=np.arange(12) % len(labels),
        subject_ids=np.arange(first, first + 12),
        feature_names=names,
        label_names=labels,
        static=np.zeros((12, 0), np.float32),
        static_names=(),
    )


def splits(fingerprint: str = "abc", kind: str = "zscore", **task) -> Splits:
    train = split(0, **task)
    return Splits(
        train=train,
        val_guide=split(100, **task),
        val_select=split(200, **task),
        test=split(300, **task),
        normaliser=Normaliser.fit(train, kind=kind),
        fingerprint=fingerprint,
    )


def facts(of: Splits, **changes) -> ClassifierFacts:
    made = ClassifierFacts(
        model_path="rnn",
        model_args={"hidden": 4, "cell": "lstm"},
        feature_names=of.train.feature_names,
        label_names=of.train.label_names,
        length=of.train.length,
        normaliser=of.normaliser,
        data_fingerprint=of.fingerprint,
        settings={"seed": 3, "classifier": {"batch_size": 64, "model_args": {"hidden": 4}}},
        scores={"auroc": 0.75},
    )
    return dataclasses.replace(made, **changes)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "checkpoint" / "best.ckpt"
    of = splits()
    save_classifier(path, facts(of).build(), facts(of))
    return path


@pytest.mark.parametrize("labels", [("survived", "died"), ("a", "b", "c")])
def test_round_trip(tmp_path, labels):
    path, of = tmp_path / "best.ckpt", splits(labels=labels)
    wanted = facts(of)
    model = wanted.build().eval()
    save_classifier(path, model, wanted)
    loaded = load_classifier(path, of)
    x = of.normaliser.to_model(of.test.values)
    assert torch.equal(loaded(x), model(x))
    assert loaded(x).shape == (12, 1 if len(labels) == 2 else 3)
    assert not loaded.training
    assert load_facts(path) == wanted


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            {"names": ("heart_rate[bpm]", "gcs")},
            "feature_names is .*heart_rate.*temperature.*, but .*gcs",
        ),
        ({"labels": ("short", "long")}, "label_names is .*survived.*died.*, but .*short.*long"),
        ({"length": 7}, "length is 6, but 7"),
        ({"kind": "quantile"}, "normaliser"),
        ({"fingerprint": "xyz"}, "data_fingerprint is abc, but xyz"),
    ],
)
def test_other_data_are_refused(saved, other, message):
    with pytest.raises(MismatchError, match=message):
        load_classifier(saved, splits(**other))


def test_without_splits_nothing_is_compared(saved):
    assert not load_classifier(saved).training
    assert load_facts(saved).data_fingerprint == "abc"


def test_loading_leaves_the_callers_random_state(saved):
    state = torch.get_rng_state()
    load_classifier(saved)
    assert torch.equal(torch.get_rng_state(), state)


class Malicious:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


@pytest.mark.parametrize("write", [torch.save, lambda o, p: p.write_bytes(pickle.dumps(o))])
def test_a_file_that_would_run_code_is_refused(tmp_path, write):
    path, target = tmp_path / "best.ckpt", tmp_path / "owned"
    write({**checkpoint.MARKS, "facts": Malicious(target)}, path)
    with pytest.raises(DataError, match=r"best\.ckpt: not a classifier checkpoint"):
        load_classifier(path)
    assert not target.exists()


def _truncate(path):
    path.write_bytes(path.read_bytes()[:2000])


def _edit(change):
    def edit(path):
        content = torch.load(path, weights_only=True)
        change(content)
        torch.save(content, path)

    return edit


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_text("hello"), "not a classifier checkpoint"),
        (lambda path: path.write_bytes(b""), "not a classifier checkpoint"),
        (lambda path: torch.save([1, 2], path), "not a classifier checkpoint"),
        (_truncate, "not a classifier checkpoint"),
        (_edit(lambda c: c.update(format=1)), "'format': 2} and not .*'format': 1}"),
        (_edit(lambda c: c["facts"].pop("length")), "damaged"),
        (_edit(lambda c: c["facts"].update(extra=1)), "damaged"),
        (_edit(lambda c: c["facts"].update(normaliser=None)), "damaged"),
        (_edit(lambda c: c["weights"].popitem()), "do not fit its architecture"),
        (
            _edit(lambda c: c["facts"].update(model_args={"hidden": 5})),
            "do not fit its architecture",
        ),
    ],
)
def test_other_and_damaged_files_are_refused(saved, damage, message):
    damage(saved)
    with pytest.raises(DataError, match=message):
        load_classifier(saved)


def test_missing_file_names_the_command(tmp_path):
    with pytest.raises(MissingInputError, match=r"classifier/train\.sh"):
        load_classifier(tmp_path / "best.ckpt")


def test_an_interrupted_save_keeps_the_old_file_whole(saved, monkeypatch):
    before = saved.read_bytes()

    def interrupted(path):
        assert [p for p in saved.parent.iterdir() if p != saved]  # all of it lies beside the old
        raise KeyboardInterrupt

    monkeypatch.setattr(atomic, "flush", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_classifier(saved, facts(splits()).build(), facts(splits()))
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["best.ckpt"]


def test_shapes_alone_take_no_memory_and_load_no_libraries():
    # In a process of its own, since others may have loaded them.
    code = """
import sys
from torch import nn
from classifier.checkpoint_validation import shapes_alone
from tardiff.networks.registry import build_network

before = set(sys.modules)
with shapes_alone():
    shapes = build_network({"kind": "unet", "in_channels": 3, "num_classes": 2}).state_dict()
    wide = nn.Embedding(10**9, 10**6).weight
assert {weight.device.type for weight in [*shapes.values(), wide]} == {"meta"}
assert shapes["embed_label.weight"].shape == (3, 96), shapes["embed_label.weight"].shape
heavy = {name for name in set(sys.modules) - before if name.startswith("torch.fx.experimental")}
assert not heavy, sorted(heavy)
assert nn.Embedding(2, 3).weight.std() > 0  # outside, weights begin as they do
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
