"""describe_files, changed_files, moved_files: the content of a build's source files, whether it has
changed, and whether it only lies elsewhere by now.

A table that was replaced under its name must not be taken for the one that was built from.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from configs.run_record import sha256_file
from data_preprocess.storage.array_files import labels_of

# Larger files whose size and time are the same are not read again.
MAX_READ_BYTES = 64 << 20


def describe_files(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Size, time of the last change and SHA-256 of files and folders, JSON-able, by path."""
    return {str(path): {**_outline(path), "sha256": _content(path)} for path in paths}


def changed_files(recorded: dict[str, dict[str, Any]]) -> list[str]:
    """What is said about each file that is there and no longer holds what was recorded.

    A file that is not there is no change: later stages need no raw data.
    """
    changed = []
    for name, known in recorded.items():
        path = Path(name)
        if not path.exists():
            continue
        outline = _outline(path)
        if outline["bytes"] != known["bytes"]:
            changed.append(f"{name} has {outline['bytes']:,} bytes, had {known['bytes']:,}")
        elif outline["bytes"] <= MAX_READ_BYTES or outline["modified"] != known["modified"]:
            if _content(path) != known["sha256"]:
                changed.append(f"{name} has another SHA-256")
    return changed


def moved_files(recorded: dict[str, dict[str, Any]], old: Path, new: Path) -> dict[str, str]:
    """The present names, by the recorded ones, where what was at `old` (a file with the labels
    beside it, or the files of a folder) is at `new`, unchanged; empty where it is not."""
    inside = [name for name in recorded if Path(name).is_relative_to(old)]
    names = {name: str(new / Path(name).relative_to(old)) for name in inside}
    if (labels := str(labels_of(old))) in recorded:
        names[labels] = str(labels_of(new))
    same = all(map(os.path.exists, names.values()))
    return names if same and not changed_files({names[k]: recorded[k] for k in names}) else {}


def _outline(path: Path) -> dict[str, int]:
    stats = [file.stat() for file in _files(path)]
    modified = max((stat.st_mtime_ns for stat in stats), default=0)
    return {"bytes": sum(stat.st_size for stat in stats), "modified": modified}


def _content(path: Path) -> str:
    if path.is_file():
        return sha256_file(path)
    digest = hashlib.sha256()
    for file in _files(path):
        digest.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
