"""The readers of files of foreign origin, each with a small valid file; for benchmarks/fuzz.py."""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs import load_config
from configs.run_record import require_same_settings
from configs.runtime.errors import UserError
from configs.runtime.torch_files import load_plain, save_plain
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.sources.registry import Settings
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.reader import read_table
from data_preprocess.storage.array_files import read_arrays
from data_preprocess.storage.dataset_files import load_dataset, save_dataset
from data_preprocess.storage.safe_pickle import load_array_pickle
from tardiff.guidance.guide_file import GuideFile, load_guide, save_guide
from tardiff.guidance.pool_estimate import fit_pool_guide


@dataclass(frozen=True)
class Reader:
    """One reader: how a valid file is made, and how any file is read."""

    suffix: str
    write: Callable[[Path], None]
    read: Callable[[Path], Any]


def answer(reader: Reader, path: Path, raw: bytes) -> bool:
    """Whether `raw` is read as valid; False: refused by a UserError. Anything else is raised."""
    path.write_bytes(raw)
    try:
        reader.read(path)
    except UserError:
        return False
    return True


def dataset(n: int = 6) -> EHRDataset:
    """A small valid data set."""
    rng = np.random.default_rng(0)
    return EHRDataset(
        values=rng.normal(size=(n, 2, 4)).astype(np.float32),
        observed=rng.random((n, 2, 4)) < 0.8,
        labels=np.arange(n) % 2,
        subject_ids=np.arange(n),
        feature_names=("a[x]", "b[y]"),
        label_names=("no", "yes"),
        static=np.zeros((n, 0), np.float32),
        static_names=(),
    )


def _write_npy(path: Path) -> None:
    np.save(path, dataset().values)
    np.save(path.with_name(f"{path.stem}_labels.npy"), dataset().labels)


def _write_table(path: Path) -> None:
    rows = [
        f"{i},{60 * t},{v},{i + t / 7},{i % 2}" for i in range(4) for t in range(3) for v in "ab"
    ]
    path.write_text("id,time,variable,value,label\n" + "\n".join(rows) + "\n")


def _read_table(path: Path) -> Any:
    settings = Settings(memory_limit="500MB", threads=1, window_hours=3.0, step_minutes=60.0)
    return read_table(TableForm(series=str(path), channels=["a", "b"]), settings)


def _write_yaml(path: Path) -> None:
    path.write_text(Path("configs/base/tiny.yaml").read_text())


def _write_guide(path: Path) -> None:
    made = dataset(12)
    normaliser = Normaliser.fit(made)
    pool = EncodedSeries.of(made, normaliser)
    told = {"inputs": ("values",), "penalty": 0.1, "kernels": 2}
    told |= {"num_classes": 2, "seed": 0, "device": torch.device("cpu")}
    content = GuideFile(
        fitted=fit_pool_guide(pool, normaliser, **told),
        inputs=("values",),
        feature_names=made.feature_names,
        label_names=made.label_names,
        length=made.length,
        normaliser=normaliser,
        with_guide=False,
    )
    save_guide(path, content)


READERS = {
    "npz": Reader(".npz", lambda path: save_dataset(path, dataset()), load_dataset),
    "npy": Reader(".npy", _write_npy, lambda path: read_arrays(path, key="data.files.train")),
    "pickle": Reader(
        ".pkl",
        lambda path: path.write_bytes(pickle.dumps((dataset().values, dataset().labels))) and None,
        load_array_pickle,
    ),
    "checkpoint": Reader(
        ".pt",
        lambda path: save_plain(path, {"kind": "x", "weights": {"w": torch.ones(3, 2)}}),
        lambda path: load_plain(path, "checkpoint"),
    ),
    "guide": Reader(".pt", _write_guide, load_guide),
    "yaml": Reader(".yaml", _write_yaml, lambda path: load_config([str(path)])),
    "normaliser": Reader(
        ".json", lambda path: Normaliser.fit(dataset()).save(path), Normaliser.load
    ),
    "settings": Reader(
        ".json",
        lambda path: path.write_text('{"a": {"b": [1, 2.5, "c"]}, "d": null}') and None,
        lambda path: require_same_settings(path, {}, "remedy"),
    ),
    "table": Reader(".csv", _write_table, _read_table),
}
