"""Ensembles: the mean of their members, each with its own G, over kept checkpoints and seeds."""

import pytest
import torch
from torch import nn

from classifier.checkpoint import load_classifier, load_facts
from classifier.losses import per_sample_loss
from classifier.train import main as train_classifier
from configs import load_config
from configs.run_record import sha256_file
from configs.runtime.device import pick_device
from configs.runtime.errors import ConfigError, MissingInputError
from data_preprocess.build import load_splits
from tardiff.from_config import configured_settings, direction_loader, guidance_files
from tardiff.guidance.direction_loader import influence_checkpoints
from tardiff.guidance.directions import EnsembleDirection
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.input_gradient import InfluenceDirection
from tests.support.oracles import Recurrent
from tests.support.tiny_runs import tiny_arguments


def members(x, y):
    found = []
    for seed in (0, 1, 2):
        torch.manual_seed(seed)
        model = Recurrent(nn.GRU, 2, 4, 1).double().eval()
        g = guidance_gradient(model, x, y, GuidanceLoss("rank", 2))
        found.append(InfluenceDirection(model, per_sample_loss, g))
    return found


def test_scores_and_gradients_are_the_means_of_the_members():
    torch.manual_seed(5)
    x, y = torch.randn(12, 2, 6, dtype=torch.float64), torch.arange(12) % 2
    single = members(x, y)
    score, gradient = EnsembleDirection(single)(x, y)
    found = [member(x, y) for member in single]
    torch.testing.assert_close(score, sum(s for s, _ in found) / 3)
    torch.testing.assert_close(gradient, sum(g for _, g in found) / 3)
    step = 1e-5 * torch.randn_like(x)
    ensemble = EnsembleDirection(single)
    change = ensemble(x + step, y)[0] - ensemble(x - step, y)[0]
    torch.testing.assert_close(change, 2 * (gradient * step).sum((1, 2)), rtol=1e-2, atol=1e-9)
    with pytest.raises(ValueError, match="at least one"):
        EnsembleDirection([])


def test_kept_checkpoints_are_averaged_each_with_its_own_vector(tmp_path):
    arguments = tiny_arguments(
        tmp_path,
        "classifier.keep_checkpoints=2",
        "classifier.patience=3",
        "influence.preconditioner=none",
        "influence.checkpoints=[kept]",
    )
    config = load_config(arguments)
    train_classifier(load_config([*arguments, "classifier.keep_checkpoints=0"]))
    splits = load_splits(config.data)
    with pytest.raises(MissingInputError, match="keep_checkpoints"):
        direction_loader(config, splits, pick_device("cpu"))
    train_classifier(config)
    inputs, settings = (
        direction_loader(config, splits, pick_device("cpu")),
        configured_settings(config),
    )
    paths = inputs.checkpoints
    best = load_facts(tmp_path / "classifier" / "best.ckpt")
    last = load_classifier(paths[-1], inputs.splits)
    assert last.scores["auroc"] == pytest.approx(best.scores["auroc"], abs=1e-6)
    direction, _, facts, key = inputs.direction(settings)
    series = inputs.series(inputs.splits.val_select)
    scores = []
    for path in paths:
        model = load_classifier(path, inputs.splits).model
        scores.append(inputs.along(model, inputs.vector(model, settings)[0])(series.x, series.y)[0])
    torch.testing.assert_close(direction(series.x, series.y)[0], torch.stack(scores).mean(0))
    assert len(facts["members"]) == len(paths) == 2
    assert not torch.allclose(scores[0], scores[-1])
    assert guidance_files(config) == [sha256_file(path) for path in paths]
    assert [file for file, _ in key["influence"]] == guidance_files(config)
    assert len({vector for _, vector in key["influence"]}) == 2
    with pytest.raises(ConfigError, match="exactly one"):
        influence_checkpoints(["best", "best"], inputs.trained, exported=True)
