"""ContentCache: results on disk, each under a hash of everything that decides it.

The one cache of the project: batches of a synthetic set, guidance gradients, calibrations, fits of
downstream models, reports of fidelity and privacy. The key holds every deciding setting and the
fingerprints of the arrays; the source of the code that computes the result and the versions of the
libraries that it calls are hashed with it, so a changed setting, array, program or library computes
anew and nobody has to raise a version number.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from configs.runtime.atomic_files import atomic_path
from configs.runtime.errors import UNREADABLE
from data_preprocess.storage.safe_npy import read_npz

log = logging.getLogger(__name__)

LIBRARIES = ("numpy", "scikit-learn", "scipy", "torch")
_CONTENT = "content.json"  # the entry of an archive that holds the key and the facts


@dataclass(frozen=True)
class Entry:
    """A result: arrays by name, and JSON-able facts beside them."""

    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ContentCache:
    """A folder of results.

    Args:
        folder: made when the first result is written; files are named <hash>.npz.
        code: packages or modules, dotted, whose source decides the results, such as
            "tardiff.influence".
    """

    folder: Path
    code: Sequence[str]

    def __post_init__(self) -> None:
        # Worker processes may stand in another folder than the one that a relative path means.
        object.__setattr__(self, "folder", self.folder.absolute())

    def path(self, key: Mapping[str, Any]) -> Path:
        """The file of the result that `key` decides; `key` is JSON-able."""
        return self.folder / f"{self._digest(key)[:32]}.npz"

    def read(self, key: Mapping[str, Any]) -> Entry | None:
        """The result, or None: there is none, or its file is damaged, which is said."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            arrays = read_npz(path)
            content = json.loads(str(arrays.pop(_CONTENT)))
            if content["key"] != self._digest(key):
                raise ValueError("it holds the result of other settings")
            return Entry(arrays, content["facts"])
        except UNREADABLE as error:
            log.warning("%s is damaged (%s); it is computed again", path, error)
            return None

    def write(self, key: Mapping[str, Any], entry: Entry) -> None:
        """Keeps `entry`, whole or not at all."""
        content = json.dumps({"key": self._digest(key), "facts": entry.facts})
        with atomic_path(self.path(key)) as temporary:
            np.savez(temporary, **{_CONTENT: np.array(content)}, **entry.arrays)  # pyright: ignore[reportArgumentType]

    def fetch(self, key: Mapping[str, Any], compute: Callable[[], Entry]) -> Entry:
        """The kept result of `key`; computed and kept if there is none."""
        entry = self.read(key)
        if entry is None:
            entry = compute()
            self.write(key, entry)
        return entry

    def _digest(self, key: Mapping[str, Any]) -> str:
        code = source_version(tuple(self.code))
        text = json.dumps([key, code, library_versions()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=1)
def library_versions() -> list[str]:
    """Of the libraries that compute."""
    return [version(name) for name in LIBRARIES]


@lru_cache(maxsize=64)
def source_version(code: tuple[str, ...]) -> str:
    """SHA-256 of the source files of these packages and modules.

    Raises:
        ModuleNotFoundError: there is no such package.
    """
    digest = hashlib.sha256()
    for name in code:
        spec = find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"no source of {name}")
        origin = Path(spec.origin)
        files = sorted(origin.parent.rglob("*.py")) if origin.name == "__init__.py" else [origin]
        for path in files:
            digest.update(path.relative_to(origin.parent).as_posix().encode() + b"\0")
            digest.update(path.read_bytes())
    return digest.hexdigest()


def array_fingerprint(*arrays: np.ndarray) -> str:
    """SHA-256 of the arrays with their shapes and types."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
