"""Every wrong pairing of artefacts is refused, in one list; the right one is accepted."""

import dataclasses
import logging

import numpy as np
import pytest
import torch

from classifier.checkpoint import ClassifierFacts, load_classifier, save_classifier
from classifier.checkpoint_validation import require_match, trained_on
from configs.runtime.errors import DataError, MismatchError, UserError
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits
from data_preprocess.storage.dataset_files import save_dataset
from scripts.synthetic_sets import load_set
from tardiff.influence.gradient_cache import InfluenceSettings, guide_vector
from tardiff.training.checkpoint import DiffusionModel

SETTINGS = InfluenceSettings(
    guidance_loss="nll",
    classes=None,
    preconditioner="none",
    damping=0.1,
    cg_iterations=1,
)


@pytest.fixture
def world(make_dataset, tmp_path):
    names = ("train", "val_guide", "val_select", "test")
    parts = {name: make_dataset(first_subject=100 * i, seed=i) for i, name in enumerate(names)}
    splits = Splits(**parts, normaliser=Normaliser.fit(parts["train"]), fingerprint="f" * 64)
    return World(splits, tmp_path)


class World:
    """Right artefacts of one experiment, and the checks that stages 3 and 4 make of them."""

    def __init__(self, splits, folder):
        self.splits, self.folder = splits, folder

    def classifier(self, splits=None, **changes):
        train = self.splits.train
        fields = {
            "model_path": "rnn",
            "model_args": {"hidden": 3, "layers": 1},
            "feature_names": train.feature_names,
            "label_names": train.label_names,
            "length": train.length,
            "normaliser": self.splits.normaliser,
            "data_fingerprint": self.splits.fingerprint,
            "settings": {},
            "scores": {},
        }
        facts = ClassifierFacts(**(fields | changes))
        save_classifier(self.folder / "best.ckpt", facts.build(), facts)
        return load_classifier(self.folder / "best.ckpt", splits or self.splits)

    def diffusion(self, **changes):
        train = self.splits.train
        right = {
            "feature_names": train.feature_names,
            "label_names": train.label_names,
            "length": train.length,
            "normaliser": self.splits.normaliser.fingerprint(),
            "data_fingerprint": self.splits.fingerprint,
        }
        rest = {"network": torch.nn.Identity(), "network_args": {}, "prediction": "v"}
        rest |= {"level_table": None, "val_loss": 1.0, "step": 1}
        model = DiffusionModel(**(rest | right | changes))
        require_match("diffusion model", model, trained_on(self.splits), "Train it again")

    def gradient(self, model, change=None):
        def rows(split):
            x = self.splits.normaliser.to_model(split.values)
            return EncodedSeries(x, torch.from_numpy(split.labels))

        return guide_vector(
            model,
            rows(self.splits.val_guide),
            rows(self.splits.train),
            SETTINGS,
            num_classes=2,
            seed=0,
            cache=self.folder / "influence",
        )

    def synthetic(self, extra=None, **changes):
        made = dataclasses.replace(self.splits.train, **changes)
        facts = {"data_fingerprint": self.splits.fingerprint} if extra is None else extra
        save_dataset(self.folder / "guided.npz", made, extra=facts)
        return load_set(self.folder / "guided.npz", self.splits, step_minutes=60.0)

    def resplit(self, **changes):
        dataclasses.replace(self.splits, **changes)


def _other_normaliser(world):
    return Normaliser.fit(world.splits.test)


def _gradient_of_another(world, change):
    """The file in the cache under the right name holds another vector."""
    model = world.classifier()
    world.gradient(model)
    path = next((world.folder / "influence").iterdir())
    with np.load(path) as arrays:
        content = dict(arrays)
    first = next(name for name in content if name != "content.json")
    content[first] = change(content[first])
    np.savez(path, **content)
    world.gradient(model)


WRONG = {
    "classifier of other channels": lambda w: w.classifier(
        feature_names=("a", "b"), normaliser=dataclasses.replace(w.splits.normaliser)
    ),
    "classifier of other classes": lambda w: w.classifier(label_names=("no", "yes")),
    "classifier of another length": lambda w: w.classifier(length=9),
    "classifier of another normaliser": lambda w: w.classifier(normaliser=_other_normaliser(w)),
    "classifier of other splits": lambda w: w.classifier(data_fingerprint="0" * 64),
    "diffusion model of other channels": lambda w: w.diffusion(feature_names=("a", "b")),
    "diffusion model of other classes": lambda w: w.diffusion(label_names=("no", "yes")),
    "diffusion model of another length": lambda w: w.diffusion(length=9),
    "diffusion model of another normaliser": lambda w: w.diffusion(normaliser="0" * 64),
    "diffusion model of other splits": lambda w: w.diffusion(data_fingerprint="0" * 64),
    "G of other shapes": lambda w: _gradient_of_another(w, lambda part: part[:1]),
    "G that is not finite": lambda w: _gradient_of_another(w, lambda part: part * np.nan),
    "synthetic set of another experiment's data": lambda w: w.synthetic(
        {"data_fingerprint": "0" * 64}
    ),
    "synthetic set of other channels": lambda w: w.synthetic(feature_names=("a", "b")),
    "synthetic set of other classes": lambda w: w.synthetic(label_names=("no", "yes")),
    "a patient of train in test": lambda w: w.resplit(
        test=dataclasses.replace(w.splits.test, subject_ids=w.splits.train.subject_ids)
    ),
    "a patient of val_guide in test": lambda w: w.resplit(
        test=dataclasses.replace(w.splits.test, subject_ids=w.splits.val_guide.subject_ids)
    ),
    "guidance rows in test under other ids": lambda w: w.resplit(
        test=dataclasses.replace(w.splits.test, values=w.splits.val_guide.values)
    ),
    "guidance rows in val_select under other ids": lambda w: w.resplit(
        val_select=dataclasses.replace(w.splits.val_select, values=w.splits.val_guide.values)
    ),
    "splits of different channels": lambda w: w.resplit(
        test=dataclasses.replace(w.splits.test, feature_names=("a", "b"))
    ),
    "a normaliser of other channels": lambda w: w.resplit(
        normaliser=dataclasses.replace(w.splits.normaliser, feature_names=("a", "b"))
    ),
}


@pytest.mark.parametrize("pairing", WRONG)
def test_wrong_pairings_are_refused(world, pairing):
    with pytest.raises((MismatchError, DataError)) as caught:
        WRONG[pairing](world)
    assert isinstance(caught.value, UserError) and len(str(caught.value)) > 30


def test_right_pairings_are_accepted(world, caplog):
    caplog.set_level(logging.INFO)
    model = world.classifier()
    first, _ = world.gradient(model)
    again, _ = world.gradient(model)
    assert "cached in" in caplog.text
    assert all(torch.equal(first[name], again[name]) for name in first)
    world.diffusion()
    np.testing.assert_array_equal(world.synthetic().labels, world.splits.train.labels)
    world.resplit()
