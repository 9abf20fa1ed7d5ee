"""Training losses and guidance gradients that are not finite stop the run with place and cause."""

import pytest
import torch

from classifier.models.networks import RNNClassifier
from data_preprocess.model_space.encoding import EncodedSeries
from tardiff.influence import gradient_cache
from tardiff.influence.gradient_cache import InfluenceSettings, guide_vector
from tardiff.training.module import DiffusionModule, SeriesBatch
from tests.support.small_objective import objective


def settings(preconditioner):
    return InfluenceSettings(
        guidance_loss="nll",
        classes=None,
        preconditioner=preconditioner,
        damping=0.1,
        cg_iterations=1,
    )


@pytest.mark.parametrize("preconditioner", ["none", "ggn_cg"])
def test_what_is_not_finite_gives_an_error_and_no_gradient(tmp_path, preconditioner, monkeypatch):
    """A weight of the classifier, or what the preconditioner makes of a gradient that is finite."""
    torch.manual_seed(0)
    model = RNNClassifier(in_channels=2, num_outputs=1, length=4, hidden=3, layers=1).eval()
    rows = EncodedSeries(torch.randn(12, 2, 4), torch.arange(12) % 2)
    if preconditioner == "none":
        what = "guidance gradient"
        with torch.no_grad():
            next(model.parameters())[0] = float("nan")
    else:
        what = "preconditioned guidance gradient"
        monkeypatch.setattr(
            gradient_cache,
            "precondition",
            lambda model, vector, x, **_: ({k: v / 0 for k, v in vector.items()}, {}),
        )
    with pytest.raises(FloatingPointError, match=f"^the {what} is not finite at .*; check"):
        guide_vector(
            model, rows, rows, settings(preconditioner), num_classes=2, seed=0, cache=tmp_path
        )
    assert list(tmp_path.iterdir()) == []


def test_a_loss_that_is_not_finite_names_the_step_and_the_way_out():
    class Nothing(torch.nn.Module):
        null_label = 2

        def forward(self, x_t, log_snr, y):
            return x_t * float("nan")

    rows = SeriesBatch(torch.randn(8, 2, 4), torch.ones(8, 2, 4).bool(), torch.arange(8) % 2)
    module = DiffusionModule(Nothing(), rows, rows, objective(batch_size=4), seed=0)
    with pytest.raises(FloatingPointError, match=r"training step 0: .*diffusion\.learning_rate"):
        module.training_step(None, 0)
