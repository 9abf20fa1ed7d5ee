"""Classifiers that expect clinical units, behind the model-space interface of all others."""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from classifier.models import build_model
from data_preprocess.normaliser import Normaliser


class ClinicalInput(nn.Module):
    """Maps model-space series to clinical units before `model` sees them.

    The map is differentiable, so gradients with respect to the input, and with them guidance and
    its strength, stay in model space (chain rule).

    Args:
        model: clinical series (batch, channel, time) -> logits.
        normaliser: the map between the two spaces.
    """

    def __init__(self, model: nn.Module, normaliser: Normaliser) -> None:
        super().__init__()
        self.model = model
        self.normaliser = normaliser

    def forward(self, x: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch out"]:
        """Logits of model-space series."""
        return self.model(self.normaliser.inverse_map(x))


def build_classifier(
    path: str,
    model_args: dict[str, Any],
    *,
    input_space: str,
    normaliser: Normaliser,
    length: int,
    num_outputs: int,
) -> nn.Module:
    """`build_model` for the normaliser's channels, wrapped to take model-space series.

    Args:
        input_space: what the class expects, "model" or "clinical".

    Raises:
        ConfigError: as `build_model`.
    """
    model = build_model(
        path,
        model_args,
        in_channels=len(normaliser.feature_names),
        length=length,
        num_outputs=num_outputs,
    )
    return ClinicalInput(model, normaliser) if input_space == "clinical" else model
