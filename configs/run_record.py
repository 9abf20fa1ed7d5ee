"""What a run leaves about itself: resolved config, versions, seeds, code state, input hashes."""

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

from configs import FREE, KNOWN, to_plain, to_yaml
from configs.runtime.atomic_files import alone_in, write_text
from configs.runtime.errors import DataError, MismatchError
from configs.schema.experiment import ExperimentConfig

RECORDED_PACKAGES = (
    "torch",
    "pytorch-lightning",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "omegaconf",
    "duckdb",
)


def run_dir(config: ExperimentConfig) -> Path:
    """The folder of everything this experiment produces, but the classifier's weights."""
    return Path(config.runs_dir) / config.experiment


def record_stage(config: ExperimentConfig, stage: str, facts: dict[str, Any]) -> None:
    """Writes config.yaml and the stage's entry of record.json; other stages' entries stay.

    Args:
        facts: JSON-able results and input fingerprints worth keeping.
    """
    folder = run_dir(config)
    write_text(folder / "config.yaml", to_yaml(config))
    path = folder / "record.json"
    entry = {**provenance(), "config": to_plain(config), **facts}
    with alone_in(folder):  # else one of two stages that end together loses its entry
        record = read_mapping(path) if path.is_file() else {}
        write_mapping(path, record | {stage: entry})


def provenance() -> dict[str, Any]:
    """When and with which code this runs: time (UTC), versions, commit; JSON-able."""
    return {
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in RECORDED_PACKAGES},
        "git": _git_state(),
    }


def require_same_settings(path: Path, settings: dict[str, Any], remedy: str) -> None:
    """Writes `settings` to `path`, or checks that a file there holds exactly these.

    Raises:
        MismatchError: the file holds other settings; names every difference, then `remedy`.
    """
    if not path.is_file():
        write_mapping(path, settings)
    elif differences := describe_differences(read_mapping(path), settings):
        raise MismatchError(f"{path.parent}: made with other settings: {differences}. {remedy}")


def describe_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The keys of `new` whose values differ, as "key: old -> new", joined; "" if none.

    A key of the schema that `old`, of an earlier version, lacks had its default.
    """
    before = KNOWN | _flatten(old, "")
    return "; ".join(
        f"{key}: {before.get(key)} -> {value}"
        for key, value in sorted(_flatten(new, "").items())
        if before.get(key) != value
    )


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        for block in iter(lambda: handle.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def write_mapping(path: Path, content: Mapping[str, Any]) -> None:
    """Writes keys as JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def read_mapping(path: Path, remedy: str = "remove it") -> dict[str, Any]:
    """The keys of a JSON file.

    Raises:
        DataError: it is no JSON, or holds something else; ends with `remedy`.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON ({error}); {remedy}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds a {type(content).__name__}, expected keys; {remedy}")
    return content


def _flatten(node: Any, prefix: str) -> dict[str, Any]:
    if isinstance(node, dict) and prefix not in FREE:  # a user's mapping is one value
        flat: dict[str, Any] = {}
        for key, value in node.items():
            flat |= _flatten(value, f"{prefix}.{key}" if prefix else str(key))
        return flat
    return {prefix: node}


def _git_state() -> dict[str, Any]:
    """Commit and dirty flag of the code, or why they are unknown (e.g. an installed wheel)."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        commit, changes = (
            subprocess.run([*git, *what], check=True, capture_output=True, text=True).stdout.strip()
            for what in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
        return {"commit": commit, "dirty": bool(changes)}
    except (OSError, subprocess.CalledProcessError) as error:
        return {"unknown": str(error)}
