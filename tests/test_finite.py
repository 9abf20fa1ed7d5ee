"""A guidance gradient that is not finite stops the run and names the parameter and the cause."""

import pytest
import torch

from classifier.models import RNNClassifier
from tardiff.guide import InfluenceSettings, LabelledSeries, guide_vector


def settings(preconditioner):
    return InfluenceSettings(
        guidance_loss="nll",
        classes=None,
        preconditioner=preconditioner,
        damping=0.1,
        cg_iterations=1,
        preconditioner_rows=10,
    )


@pytest.mark.parametrize("preconditioner", ["none", "ggn_cg"])
def test_an_infinite_weight_gives_an_error_and_no_gradient(tmp_path, preconditioner):
    torch.manual_seed(0)
    model = RNNClassifier(in_channels=2, num_outputs=1, length=4, hidden=3, layers=1).eval()
    rows = LabelledSeries(torch.randn(12, 2, 4), torch.arange(12) % 2)
    with torch.no_grad():
        next(model.parameters())[0] = float("nan")
    with pytest.raises(FloatingPointError, match="guidance gradient is not finite at .*; check"):
        guide_vector(
            model, rows, rows, settings(preconditioner), num_classes=2, seed=0, cache=tmp_path
        )
    assert list(tmp_path.iterdir()) == []
