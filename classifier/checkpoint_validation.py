"""What a file may ask for before anything is imported or allocated for it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from classifier.models.registry import SHORT_NAMES, make
from configs.runtime.errors import DataError, MismatchError
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits

# No architecture of this project needs more; a file must not make one of terabytes.
_LARGEST_NUMBER = 4096
_LONGEST_LIST = 64
LONGEST = 100_000  # grid points of a series


def trained_on(splits: Splits) -> dict[str, Any]:
    """What a trained model must say of itself to belong to `splits`."""
    return {
        "feature_names": splits.train.feature_names,
        "label_names": splits.train.label_names,
        "length": splits.train.length,
        "normaliser": splits.normaliser.fingerprint(),
        "data_fingerprint": splits.fingerprint,
    }


def require_match(name: str, artefact: Any, expected: Mapping[str, Any], remedy: str) -> None:
    """Raises MismatchError if an attribute of `artefact` is not the expected one.

    Args:
        name: opens the message.
        expected: by attribute; a fingerprint stands for a normaliser.
    """
    for key, value in expected.items():
        found = getattr(artefact, key)
        found = found.fingerprint() if isinstance(found, Normaliser) else found
        if found != value:
            raise MismatchError(f"{name}: {key} is {found}, but {value} is expected. {remedy}")


def is_built_in(path: str) -> bool:
    """True if `path` names a classifier of this project: one that may be imported unasked."""
    return path in SHORT_NAMES or path in SHORT_NAMES.values()


def expected_weights(
    path: str, model_args: dict[str, Any], *, in_channels: int, length: int, num_outputs: int
) -> dict[str, Tensor]:
    """Names and shapes of the weights of a built-in classifier, without memory for them.

    Raises:
        ConfigError: an argument that the class does not take.
    """
    shape = {"in_channels": in_channels, "length": length, "num_outputs": num_outputs}
    with shapes_alone():
        return make(path, shape, model_args).state_dict()


@contextmanager
def shapes_alone() -> Iterator[None]:
    """Networks made inside have weights of their shapes that hold nothing and take no memory."""
    with torch.device("meta"), _NoInitialValues():
        yield


class _NoInitialValues(TorchFunctionMode):
    """Leaves out the functions of `torch.nn.init`: on the meta device they do nothing, but the
    first normal distribution there loads more than a second of libraries."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


def require_length(path: Path, length: Any) -> None:
    """Raises DataError unless a file's number of grid points is one."""
    if not isinstance(length, int) or not 0 < length <= LONGEST:
        raise DataError(f"{path}: a length of {length} grid points; expected 1 to {LONGEST:,}")


def require_modest(path: Path, arguments: Any) -> None:
    """Raises DataError if a number or list among a network's arguments is absurdly large."""
    values = arguments.values() if isinstance(arguments, dict) else [arguments]
    for value in values:
        if isinstance(value, (list, tuple)) and len(value) <= _LONGEST_LIST:
            for item in value:
                require_modest(path, item)
        elif isinstance(value, (list, tuple, dict)) or (
            isinstance(value, (int, float)) and not -_LARGEST_NUMBER <= value <= _LARGEST_NUMBER
        ):
            raise DataError(f"{path}: refuses a network with arguments {str(arguments)[:200]}")


def require_weights(path: Path, weights: Any, expected: Mapping[str, Tensor]) -> None:
    """Raises DataError unless `weights` are finite tensors, named and shaped as `expected`.

    Args:
        expected: weights of the architecture, best on the meta device: nothing is then allocated
            before a file has proven to hold as many numbers as it claims.
    """
    if not isinstance(weights, dict) or not all(isinstance(w, Tensor) for w in weights.values()):
        raise DataError(f"{path}: its weights are no tensors by name")
    shapes = {name: tuple(w.shape) for name, w in weights.items()}
    wanted = {name: tuple(w.shape) for name, w in expected.items()}
    for name in sorted(shapes.keys() | wanted.keys()):
        if shapes.get(name) != wanted.get(name):
            raise DataError(
                f"{path}: its weights do not fit its architecture: {name} is "
                f"{shapes.get(name)}, expected {wanted.get(name)}; if another version of this "
                "project wrote it, run the stage that makes it again"
            )
    for name, weight in weights.items():
        # A view that repeats one stored number may have any shape.
        if not weight.is_contiguous() or not torch.isfinite(weight).all():
            raise DataError(f"{path}: {name} is not finite or not stored in full")
