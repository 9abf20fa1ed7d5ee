"""build_model: a classifier by its short name or import path, checked against the contract."""

import ast
import importlib
import inspect
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from torch import nn

from classifier.models.contract import require_classifier
from configs.runtime.errors import ConfigError
from data_preprocess.storage.content_cache import source_version

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
        path: "rnn", "conv" or "package.module:Class"; the module is imported from Python's path,
            which holds the folder the program was started in.
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


def own_source(path: str) -> str | None:
    """Hash of the package, or single module with what it imports from beside it, of a user's own
    class, and of the modules of its bases elsewhere: the import path alone does not say what the
    class does. None for the classes of this project."""
    cls = resolve(path)
    package = cls.__module__.split(".")[0]
    spec = find_spec(package)
    has_source = spec is not None and spec.origin is not None  # else parts of it lie anywhere
    modules = {base.__module__ for base in cls.__mro__}
    if has_source:
        modules = {package if m.split(".")[0] == package else m for m in modules}
    own = {m for m in modules if m.split(".")[0] not in ("builtins", "torch", "classifier")}
    own |= _imported_by({m for m in own if m.split(".")[0] == package})
    return source_version(tuple(sorted(own))) if own else None


def _imported_by(modules: set[str]) -> set[str]:
    """What they import, directly or not, from single files beside their own."""
    found: set[str] = set()
    while modules:
        found |= modules
        modules = {name for module in modules for name in _imported(module)} - found
    return found


def _imported(module: str) -> Iterator[str]:
    spec = find_spec(module)
    here = Path((spec and spec.origin) or "")
    if here.suffix != ".py" or here.name == "__init__.py":  # of a package all is known
        return
    for node in ast.walk(ast.parse(here.read_bytes())):
        if not isinstance(node, (ast.Import, ast.ImportFrom)):
            continue
        names = [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            parent = module.rsplit(".", node.level)[0] if node.level else ""
            start = ".".join(filter(None, (parent, node.module)))
            names = [start, *(f"{start}.{name}" for name in names)]
        for name in names:
            if (above := name.rpartition(".")[0]) and above not in sys.modules:
                continue  # to look for it would import what is above it
            with suppress(ImportError, ValueError):  # no module, but what one holds
                other = find_spec(name)
                if other and other.origin and Path(other.origin).parent == here.parent:
                    yield name


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
