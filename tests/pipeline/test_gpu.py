"""The stages on a GPU; skipped where there is none."""

import copy
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from classifier.losses import per_sample_loss
from classifier.models.registry import build_model
from classifier.train import main as train_classifier
from configs import load_config
from data_preprocess.storage.dataset_files import load_dataset, load_extra
from scripts.evaluate import main as evaluate
from scripts.influence_report.__main__ import main as report_influence
from tardiff.generate import main as generate
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.input_gradient import InfluenceDirection
from tardiff.train import main as train_diffusion
from tardiff.training.module import DiffusionModule
from tests.support.oracles import double_backward
from tests.support.tiny_runs import tiny_arguments

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
FEW = "generation.counts=[24,12]"
CLASSIFIERS = {
    "lstm": ("rnn", {"cell": "lstm", "layers": 1}),
    "gru": ("rnn", {"cell": "gru", "layers": 2}),
    "conv": ("conv", {}),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    root = tmp_path_factory.mktemp("gpu")
    arguments = [*tiny_arguments(root, "diffusion.num_steps=20"), "accelerator=gpu"]
    config = load_config(arguments)
    train_diffusion(config)
    train_classifier(config)
    return root, arguments


def generated(trained, *overrides: str) -> Path:
    root, arguments = trained
    generate(load_config([*arguments, *overrides]))
    return root / "runs/tiny/synthetic"


@pytest.mark.parametrize(
    "asked", ["guidance.kind=influence", "guidance.kind=classifier", "compat=paper"]
)
def test_a_guided_set_is_generated_again_the_same(trained, asked):
    for name in ("one", "two"):
        folder = generated(trained, FEW, asked, "guidance.paper_w=1", f"generation.name={name}")
    assert max(load_extra(folder / "one.npz")["guidance"]["realised"]) > 0.1
    one, two = (load_dataset(folder / f"{name}.npz").values for name in ("one", "two"))
    np.testing.assert_array_equal(one, two)


def test_the_set_is_evaluated_and_its_influence_reported(trained):
    root, arguments = trained
    generated(trained)
    config = load_config([*arguments, "evaluation.workers=2", "evaluation.synthetic=[guided]"])
    evaluate(config)
    report_influence(config)
    for name in ("evaluation/report.html", "influence_report/report.md"):
        assert (root / "runs/tiny" / name).is_file()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_killed_training_goes_on(trained, monkeypatch, precision):
    root, arguments = trained
    original, losses = DiffusionModule.training_step, []

    def killed(self, batch, batch_idx):
        if self.global_step == 27:
            raise RuntimeError("killed")
        return original(self, batch, batch_idx)

    for name in ("whole", "parts"):
        asked = (f"experiment={name}_{precision}", f"diffusion.precision={precision}")
        config = load_config([*arguments, *asked])
        if name == "parts":
            monkeypatch.setattr(DiffusionModule, "training_step", killed)
            with pytest.raises(RuntimeError, match="killed"):
                train_diffusion(config)
            monkeypatch.setattr(DiffusionModule, "training_step", original)
        train_diffusion(config)
        path = root / f"runs/{name}_{precision}/diffusion/model.pt"
        losses.append(torch.load(path, map_location="cpu", weights_only=True)["val_loss"])
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_recorded_passes_train_to_the_same_weights(trained, monkeypatch, precision):
    root, arguments = trained
    recorded, weights = [], []
    record = torch.cuda.make_graphed_callables

    def counted(network, inputs):
        recorded.append(len(inputs[0]))
        return record(network, inputs)

    for name, used in (("replayed", counted), ("queued", lambda network, _: network)):
        monkeypatch.setattr(torch.cuda, "make_graphed_callables", used)
        asked = (f"experiment={name}_{precision}", f"diffusion.precision={precision}")
        config = load_config([*arguments, *asked])
        train_diffusion(config)
        path = root / f"runs/{config.experiment}/diffusion/model.pt"
        network = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        weights.append(torch.cat([part.flatten() for part in network.values()]))
    assert recorded == [config.diffusion.batch_size]
    difference = (weights[0] - weights[1]).norm() / weights[1].norm()
    assert difference < (1e-4 if precision == "32-true" else 1e-2)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_influence_and_its_gradient_have_their_digits(name):
    """Products in TF32 would leave the recurrent ones an error of 3 to 8 %."""
    torch.manual_seed(0)
    model = build_model(*CLASSIFIERS[name], in_channels=7, length=24, num_outputs=1).eval()
    x, y = torch.randn(64, 7, 24), torch.arange(64) % 2
    g = guidance_gradient(model, x, y, GuidanceLoss("nll", 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # cuDNN warns of weights that lie apart
        direction = InfluenceDirection(copy.deepcopy(model).cuda(), per_sample_loss, g)
        score, gradient = (part.cpu().double() for part in direction(x.cuda(), y.cuda()))
    exact_g = {key: part.double() for key, part in g.items()}
    true_score, true_gradient = double_backward(model.double(), per_sample_loss, exact_g)(
        x.double(), y
    )
    assert (score - true_score).norm() < 1e-3 * true_score.norm()
    gaps, sizes = (
        part.flatten(1).norm(dim=1) for part in (gradient - true_gradient, true_gradient)
    )
    assert (gaps / sizes).median() < 1e-3
