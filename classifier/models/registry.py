"""build_model: a classifier by its short name or import path, checked against the contract."""

import importlib
import inspect
from typing import Any

from torch import nn

from classifier.models.contract import require_classifier
from configs.runtime.errors import ConfigError

SHORT_NAMES = {
    "rnn": "classifier.models.networks:RNNClassifier",
    "conv": "classifier.models.networks:ConvClassifier",
    "timesnet": "classifier.models.timesnet:TimesNetClassifier",
}


def build_model(
    path: str, model_args: dict[str, Any], *, in_channels: int, length: int, num_outputs: int
) -> nn.Module:
    """A fresh classifier, checked to keep the contract of classifier/models/contract.py.

    Args:
        path: one of SHORT_NAMES or "package.module:Class"; the module is imported from Python's
            path, which holds the folder the program was started in.
        model_args: keyword arguments of the class beyond the three of every classifier.

    Raises:
        ConfigError: no such module or class, an argument the class does not take, logits of
            another shape, or rows that depend on the rest of their batch.
    """
    shape = {"in_channels": in_channels, "length": length, "num_outputs": num_outputs}
    model = make(path, shape, model_args)
    require_classifier(model, path, **shape)
    return model


def resolve(path: str) -> type[nn.Module]:
    """The class that `path` names; imports its module. Raises ConfigError if there is none."""
    module_name, _, class_name = SHORT_NAMES.get(path, path).partition(":")
    if not module_name or not class_name:
        raise ConfigError(
            f"classifier.model={path!r}: expected {', '.join(SHORT_NAMES)} or package.module:Class"
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"classifier.model={path!r}: cannot import {module_name} ({error}); it must be "
            "importable from the repository root, or from a folder that PYTHONPATH names in full"
        ) from error
    found = getattr(module, class_name, None)
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        known = [name for name, item in vars(module).items() if _is_own_module(item, module_name)]
        raise ConfigError(
            f"classifier.model={path!r}: {module_name} has no nn.Module class {class_name!r}; "
            f"it has {', '.join(known) or 'none'}"
        )
    return found


def _is_own_module(item: Any, module_name: str) -> bool:
    is_class = inspect.isclass(item) and issubclass(item, nn.Module)
    return is_class and item.__module__ == module_name and not item.__name__.startswith("_")


def make(path: str, shape: dict[str, int], model_args: dict[str, Any]) -> nn.Module:
    """The class that `path` names, made with these arguments. Raises ConfigError if it does not
    take them."""
    cls = resolve(path)
    signature = inspect.signature(cls)
    accepted = [name for name in signature.parameters if name not in shape]
    try:
        signature.bind(**shape, **model_args)
    except TypeError as error:
        raise ConfigError(
            f"classifier.model={path!r}, classifier.model_args={model_args}: {error}; besides "
            f"{', '.join(shape)} the class accepts {', '.join(accepted) or 'nothing'}"
        ) from error
    return cls(**shape, **model_args)
