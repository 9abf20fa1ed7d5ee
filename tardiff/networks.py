"""build_network: the denoising network that a config or a checkpoint describes."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from tardiff.linear_denoiser import LinearSkip
from tardiff.unet1d import UNet1D


def build_network(arguments: Mapping[str, Any]) -> nn.Module:
    """An untrained network.

    Args:
        arguments: of `UNet1D`; and, where a LinearSkip stands around it, `linear_rank`,
            `length` and `prediction`.

    Raises:
        TypeError: an argument that the classes do not take.
        KeyError: a linear_rank without length or prediction.
    """
    rest = dict(arguments)
    rank = rest.pop("linear_rank", 0)
    if not rank:
        return UNet1D(**rest)
    length, prediction = rest.pop("length"), rest.pop("prediction")
    channels = rest["in_channels"]
    return LinearSkip(
        UNet1D(**(rest | {"in_channels": 2 * channels, "out_channels": channels})),
        channels=channels,
        length=length,
        num_classes=rest["num_classes"],
        rank=rank,
        prediction=prediction,
    )
