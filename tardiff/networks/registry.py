"""The denoising networks: `diffusion.network` -> its class. A network registers itself in its file.

    @network("mine")
    class Mine(nn.Module):
        def __init__(self, in_channels: int, num_classes: int, *, width: int, ...) -> None:
            self.null_label = num_classes  # of classifier-free guidance: labels are 0..num_classes
        def forward(self, x_t: Series, log_snr: Levels, y: Labels) -> Tensor: ...  # as x_t

stands in any file of this folder. Its keyword arguments are keys of the section `diffusion`. It
takes series of any length, rows are independent, every step sees all others, and the untrained
network predicts zero (tests/unit/tardiff/test_networks.py).
"""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import nn

import tardiff.networks
from configs.runtime.errors import ConfigError

_Class = TypeVar("_Class", bound=type[nn.Module])
# All that a checkpoint may name: nothing else is imported or called for one.
_NETWORKS: dict[str, type[nn.Module]] = {}


def network(kind: str) -> Callable[[_Class], _Class]:
    """Registers the decorated class as `diffusion.network=<kind>`."""

    def register(found: _Class) -> _Class:
        _NETWORKS[kind] = found
        return found

    return register


def network_class(kind: Any) -> type[nn.Module]:
    """The class of that name.

    Raises:
        ValueError: an unknown name.
    """
    for module in pkgutil.iter_modules(tardiff.networks.__path__, "tardiff.networks."):
        importlib.import_module(module.name)
    if kind not in _NETWORKS:
        raise ValueError(f"unknown network {kind!r}; known: {', '.join(_NETWORKS)}")
    return _NETWORKS[kind]


def network_arguments(diffusion: Any, *, in_channels: int, num_classes: int) -> dict[str, Any]:
    """What `build_network` takes.

    Args:
        diffusion: the values of the section `diffusion`, of which the network reads its own.

    Raises:
        ConfigError: the section has no key for an argument of the network.
    """
    wanted = inspect.signature(network_class(diffusion.network)).parameters
    shape = {"in_channels": in_channels, "num_classes": num_classes}
    if undeclared := [n for n in wanted if n not in shape and not hasattr(diffusion, n)]:
        keys = ", ".join(f"diffusion.{name}" for name in undeclared)
        raise ConfigError(
            f"diffusion.network={diffusion.network} takes {keys}: declare it with its default in "
            "configs/schema/experiment.py (DiffusionConfig)"
        )
    own = {name: getattr(diffusion, name) for name in wanted if name not in shape}
    return {"kind": diffusion.network, **shape, **own}


def build_network(arguments: Mapping[str, Any]) -> nn.Module:
    """An untrained network.

    Args:
        arguments: `kind`, and those of the class that it names.

    Raises:
        ValueError: an unknown kind, or arguments that do not fit together.
        TypeError: an argument that the class does not take.
    """
    rest = dict(arguments)
    return network_class(rest.pop("kind", None))(**rest)
