"""build_network: the denoising network that a config or a checkpoint describes."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from tardiff.gru_denoiser import GRUDenoiser
from tardiff.linear_denoiser import LinearSkip
from tardiff.transformer1d import Transformer1D
from tardiff.unet1d import UNet1D

# All that a checkpoint may name: nothing else is imported or called for one.
NETWORKS: dict[str, type[nn.Module]] = {
    "unet": UNet1D,
    "transformer": Transformer1D,
    "gru": GRUDenoiser,
}


def build_network(arguments: Mapping[str, Any]) -> nn.Module:
    """An untrained network.

    Args:
        arguments: of the class that `kind` names (without it the U-Net: checkpoints written before
            there was a choice have none); and, where a LinearSkip stands around it,
            `linear_rank`, `length` and `prediction`.

    Raises:
        ValueError: an unknown kind, or arguments that do not fit together.
        TypeError: an argument that the class does not take.
        KeyError: a linear_rank without length or prediction.
    """
    rest = dict(arguments)
    kind, rank = rest.pop("kind", "unet"), rest.pop("linear_rank", 0)
    if kind not in NETWORKS:
        raise ValueError(f"unknown network {kind!r}; known: {', '.join(NETWORKS)}")
    if not rank:
        return NETWORKS[kind](**rest)
    length, prediction = rest.pop("length"), rest.pop("prediction")
    channels = rest["in_channels"]
    return LinearSkip(
        NETWORKS[kind](**(rest | {"in_channels": 2 * channels, "out_channels": channels})),
        channels=channels,
        length=length,
        num_classes=rest["num_classes"],
        rank=rank,
        prediction=prediction,
    )
