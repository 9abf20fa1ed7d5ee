"""build_network: the denoising network that a config or a checkpoint describes."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from tardiff.networks.published_unet import PublishedUNet
from tardiff.networks.unet1d import UNet1D

# All that a checkpoint may name: nothing else is imported or called for one.
NETWORKS: dict[str, type[nn.Module]] = {
    "unet": UNet1D,
    "published_unet": PublishedUNet,
}


def build_network(arguments: Mapping[str, Any]) -> nn.Module:
    """An untrained network.

    Args:
        arguments: `kind`, and those of the class that it names.

    Raises:
        ValueError: an unknown kind, or arguments that do not fit together.
        TypeError: an argument that the class does not take.
    """
    rest = dict(arguments)
    kind = rest.pop("kind", None)
    if kind not in NETWORKS:
        raise ValueError(f"unknown network {kind!r}; known: {', '.join(NETWORKS)}")
    return NETWORKS[kind](**rest)
