"""What of a model-space series a classifier sees.

Every classifier is called with the whole of model space (values, masks, covariates), so that one
tensor serves diffusion, classifier and guidance. `SeriesInput` hands the wrapped network the parts
it asks for. All of it is differentiable: gradients, and with them guidance and its strength, stay
in model space (chain rule).
"""

import math
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from classifier.models.registry import build_model
from configs.runtime.errors import ConfigError
from data_preprocess.model_space.normaliser import Normaliser

VALUES_ONLY = ("values",)


class SeriesInput(nn.Module):
    """Picks the parts of a model-space series for `model`.

    Args:
        model: (batch, num_input_channels(...), time) -> logits.
        normaliser: knows the layout of model space.
        parts: which parts, in their order; as `input_parts` takes them.
    """

    def __init__(self, model: nn.Module, normaliser: Normaliser, parts: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.normaliser = normaliser
        self.parts = tuple(parts)

    def forward(self, x: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch out"]:
        """Logits of model-space series."""
        return self.model(input_parts(x, self.normaliser, self.parts))


def input_parts(
    x: Float[Tensor, "batch channel time"], normaliser: Normaliser, parts: Sequence[str]
) -> Float[Tensor, "batch part time"]:
    """The named parts of model-space series, side by side.

    Args:
        parts: of "values" (the channels), "mask" (+1 where measured), "time" (steps since the last
            measurement, from the mask) and "static" (the static covariates).
    """
    num_values = len(normaliser.feature_names)
    values, masks = x[:, :num_values], x[:, num_values : 2 * num_values]
    found = []
    for part in parts:
        if part == "values":
            found.append(values)
        elif part == "mask":
            found.append(masks)
        elif part == "time":
            found.append(since_measured(masks))
        else:
            found.append(x[:, normaliser.layout.static_start(num_values) :])
    return torch.cat(found, dim=1)


def since_measured(
    masks: Float[Tensor, "batch channel time"],
) -> Float[Tensor, "batch channel time"]:
    """log(1 + steps since the last measurement) / log(1 + T), within [0, 1].

    d_t = (1 - m_t) (d_{t-1} + 1) with m the mask between 0 and 1 (GRU-D, Che et al. 2018), counted
    from the start where nothing was measured yet; a mask that is still noise gives a soft count.
    """
    measured = ((masks + 1) / 2).clamp(0, 1)
    since = torch.zeros_like(measured[..., 0])
    steps = []
    for step in range(masks.shape[-1]):
        since = (1 - measured[..., step]) * (since + 1)
        steps.append(since)
    return torch.log1p(torch.stack(steps, dim=-1)) / math.log1p(masks.shape[-1])


def num_input_channels(normaliser: Normaliser, parts: Sequence[str]) -> int:
    """Channels of `input_parts`."""
    num_values = len(normaliser.feature_names)
    static = normaliser.num_model_channels - normaliser.layout.static_start(num_values)
    return sum(static if part == "static" else num_values for part in parts)


def require_parts(normaliser: Normaliser, parts: Sequence[str], key: str) -> None:
    """Raises ConfigError unless model space has these parts; `key` opens the message."""
    layout = normaliser.layout
    there = ["values"] + ["mask", "time"] * layout.masks + ["static"] * bool(layout.static)
    if not parts or len(set(parts)) < len(parts) or set(parts) - set(there):
        raise ConfigError(
            f"{key}={list(parts)}: expected each at most once of {', '.join(there)}; mask and time "
            "need data.space.masks=true, static needs data.space.static"
        )


def build_classifier(
    path: str,
    model_args: dict[str, Any],
    *,
    normaliser: Normaliser,
    length: int,
    num_outputs: int,
    inputs: Sequence[str] = VALUES_ONLY,
) -> SeriesInput:
    """`build_model` for the chosen parts, wrapped to take model-space series.

    Args:
        inputs: the parts it sees, as `input_parts` takes them.

    Raises:
        ConfigError: as `build_model`, or a part that model space does not have.
    """
    require_parts(normaliser, inputs, "classifier.inputs")
    model = build_model(
        path,
        model_args,
        in_channels=num_input_channels(normaliser, inputs),
        length=length,
        num_outputs=num_outputs,
    )
    return SeriesInput(model, normaliser, inputs)
