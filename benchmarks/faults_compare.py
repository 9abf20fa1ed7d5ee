"""How benchmarks/faults.py reads what a run left and compares it with what a clean run left.

Equal means equal bytes of every array and text. Exceptions, which tell time and not results: the
fields and columns `seconds` and `finished`, and in Lightning's checkpoints all but the weights and
the states of optimiser, schedule and callbacks (its loop counters tell on which try a step ran).
"""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf

from configs.runtime.torch_files import load_plain
from data_preprocess.storage.safe_npy import read_npz

TIMES = ("seconds", "finished")
TOLD_TIMES = re.compile(r"seconds [0-9.]+|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?")
LIGHTNING = ("state_dict", "optimizer_states", "lr_schedulers", "callbacks", "global_step")


def half_written(folder: Path) -> list[str]:
    """Files under a final name that are not whole."""
    torn = []
    for path in _visible(folder):
        try:
            _content(path)
        except Exception as error:
            torn.append(f"{path.relative_to(folder)}: {error}")
    return torn


def differences(folder: Path, expected: Path) -> list[str]:
    """Artefacts that are not there, too many, or not the same."""
    found = {path.relative_to(folder) for path in _visible(folder)}
    wanted = {path.relative_to(expected) for path in _visible(expected)}
    odd = [f"{path} is there once" for path in sorted(found ^ wanted)]
    for path in sorted(found & wanted):
        if not _equal(_content(folder / path), _content(expected / path)):
            odd.append(f"{path} differs")
    return odd


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders after a run that ended well."""
    return [str(path) for path in folder.rglob(".*")]


def _visible(folder: Path) -> list[Path]:
    """Files under final names; a batch in .parts/ is one too."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if ".partial" not in str(path.relative_to(folder))]


def _content(path: Path) -> Any:
    """What the file holds, without what tells time; raises if the file is not whole."""
    suffix = path.suffix
    if suffix == ".npz":
        return {k: json.loads(str(v)) if k == "meta" else v for k, v in read_npz(path).items()}
    if suffix in (".pt", ".ckpt"):
        content = load_plain(path, "file")
        is_lightning = "pytorch-lightning_version" in content
        return {key: content[key] for key in LIGHTNING} if is_lightning else content
    text = path.read_bytes()
    if suffix == ".png":
        if not text.endswith(b"IEND\xaeB`\x82"):
            raise ValueError("cut off")
        return text
    if suffix == ".json":
        return json.loads(text)
    if not text.endswith(b"\n"):
        raise ValueError("cut off")
    if suffix == ".yaml":
        return OmegaConf.to_container(OmegaConf.load(path))
    if suffix == ".csv":
        return list(csv.DictReader(text.decode().splitlines(), strict=True))
    return TOLD_TIMES.sub("", text.decode())


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(
            _equal(left[key], right[key]) for key in left if key not in TIMES
        )
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return _equal(left.numpy(), right.numpy())
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        same = (left.dtype, left.shape) == (right.dtype, right.shape)
        return same and left.tobytes() == right.tobytes()
    return type(left) is type(right) and left == right
