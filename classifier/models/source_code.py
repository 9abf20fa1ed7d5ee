"""Has the code of a network changed since it was trained? Its import path alone does not say."""

import ast
import logging
import sys
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from classifier.models.registry import resolve
from data_preprocess.storage.content_cache import source_version

log = logging.getLogger(__name__)


def own_source(path: str) -> str | None:
    """Hash of the package, or single module with what it imports from beside it, of a user's own
    class, and of the modules of its bases elsewhere. None for the classes of this project."""
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


def network_source(built: nn.Module) -> str:
    """SHA-256 of the files that its class and those of its parts stand in, but torch's own."""
    modules = {type(part).__module__ for part in built.modules()}
    return source_version(tuple(sorted(filter(_has_source, modules))))


def _has_source(module: str) -> bool:
    spec = getattr(sys.modules.get(module), "__spec__", None)  # None of a notebook
    return module.split(".")[0] != "torch" and spec is not None and spec.origin is not None


def warn_of_new_code(
    path: Path, trained_as: str | None, built: nn.Module, name: str, again: str
) -> None:
    """Warns where the code of a network is another than when its weights were trained.

    Args:
        trained_as: its `network_source` then; None: not known.
        name: of the network; again: how to train it anew.
    """
    if trained_as not in (None, network_source(built)):
        log.warning(
            "%s: the code of network %s has changed since it was trained, and its weights may mean "
            "something else; to train anew, remove %s again",
            path,
            name,
            again,
        )
