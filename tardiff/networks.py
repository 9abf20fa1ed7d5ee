"""build_network: the denoising network that a config or a checkpoint names."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from tardiff.gru_denoiser import GRUDenoiser
from tardiff.transformer1d import Transformer1D
from tardiff.unet1d import UNet1D

# All that a checkpoint may name: nothing else is imported or called for one.
NETWORKS: dict[str, type[nn.Module]] = {
    "unet": UNet1D,
    "transformer": Transformer1D,
    "gru": GRUDenoiser,
}


def build_network(arguments: Mapping[str, Any]) -> nn.Module:
    """An untrained network: `arguments` of the class that its `kind` names.

    Without `kind` it is the U-Net: checkpoints written before there was a choice have none.

    Raises:
        ValueError: an unknown kind, or arguments that do not fit together.
        TypeError: an argument that the class does not take.
    """
    rest = dict(arguments)
    kind = rest.pop("kind", "unet")
    if kind not in NETWORKS:
        raise ValueError(f"unknown network {kind!r}; known: {', '.join(NETWORKS)}")
    return NETWORKS[kind](**rest)
