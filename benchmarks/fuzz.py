"""Mutates valid files and reads them: the outcome is a data set or one of the user's errors.

    python -m benchmarks.fuzz [--seconds 60] [--seed 0] [--readers npz,pickle,...]

Every reader of files of foreign origin gets small valid files of its kind, of which bytes are
flipped, cut, repeated, moved and overwritten with extreme numbers. Anything but a valid result or
a UserError (another exception, or no answer within 10 s) is a finding; its bytes are kept in the
folder that the report names. Prints a Markdown table; exit code 1 on a finding.
"""

import argparse
import pickle
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs import load_config
from configs.run_record import require_same_settings
from configs.runtime.errors import UserError
from configs.runtime.torch_files import load_plain, save_plain
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.sources.arrays import read_arrays
from data_preprocess.sources.registry import Settings
from data_preprocess.sources.user_table.form import TableForm
from data_preprocess.sources.user_table.reader import read_table
from data_preprocess.storage.dataset_files import load_dataset, save_dataset
from data_preprocess.storage.safe_pickle import load_array_pickle

HANG_SECONDS = 10
EXTREMES = (b"\xff" * 8, b"\x00" * 8, b"\x7f" + b"\xff" * 3, b"9" * 20, b"\xff\xff\xff\x7f", b"nan")


@dataclass(frozen=True)
class Reader:
    """One reader: how a valid file is made, and how any file is read."""

    suffix: str
    write: Callable[[Path], None]
    read: Callable[[Path], Any]


@dataclass
class Tally:
    """Outcomes of one reader."""

    valid: int = 0
    refused: int = 0
    findings: list[str] = field(default_factory=list)


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


def mutate(raw: bytes, rng: np.random.Generator) -> bytes:
    """`raw` with one to four random changes."""
    data = bytearray(raw)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(0, len(data) + 1))
        size = int(rng.integers(1, 17))
        kind = int(rng.integers(0, 6))
        if kind == 0 and at < len(data):
            data[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and at < len(data):
            data[at] = int(rng.integers(0, 256))
        elif kind == 2:
            del data[at : at + size]
        elif kind == 3:
            data[at:at] = data[at : at + size]
        elif kind == 4:
            extreme = EXTREMES[int(rng.integers(0, len(EXTREMES)))]
            data[at : at + len(extreme)] = extreme
        else:
            del data[at:]
    return bytes(data)


class Hang(BaseException):
    """No answer within HANG_SECONDS."""


def _alarm(*_: Any) -> None:
    raise Hang


def try_one(reader: Reader, path: Path, tally: Tally) -> None:
    """Reads `path` and counts the outcome."""
    signal.alarm(HANG_SECONDS)
    try:
        reader.read(path)
        tally.valid += 1
    except UserError:
        tally.refused += 1
    except (Exception, Hang) as error:
        kept = path.with_name(f"finding-{len(tally.findings)}{path.suffix}")
        kept.write_bytes(path.read_bytes())
        tally.findings.append(f"{kept}: {type(error).__name__}: {str(error)[:200]}")
    finally:
        signal.alarm(0)


def fuzz(name: str, folder: Path, seconds: float, seed: int) -> Tally:
    """Mutates and reads for `seconds` of processor time, at least 20 times."""
    reader, tally = READERS[name], Tally()
    rng = np.random.default_rng([seed, *name.encode()])
    path = folder / f"{name}{reader.suffix}"
    reader.write(path)
    raw = path.read_bytes()
    reader.read(path) if name != "settings" else None  # what is mutated is valid
    end, count = time.process_time() + seconds, 0
    while count < 20 or time.process_time() < end:
        path.write_bytes(mutate(raw, rng))
        try_one(reader, path, tally)
        count += 1
    return tally


def main() -> int:
    """Fuzzes the readers; 0 if nothing was found."""
    parser = argparse.ArgumentParser(description="mutated files against every reader")
    parser.add_argument("--seconds", type=float, default=60.0, help="processor time per reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", default=",".join(READERS))
    arguments = parser.parse_args()
    signal.signal(signal.SIGALRM, _alarm)
    lines = ["| reader | inputs | read as valid | refused | findings |", "| --- " * 5 + "|"]
    folder = Path(tempfile.mkdtemp(prefix="tardiff-fuzz-"))
    findings = []
    for name in arguments.readers.split(","):
        tally = fuzz(name, folder, arguments.seconds, arguments.seed)
        total = tally.valid + tally.refused + len(tally.findings)
        counts = f"{total:,} | {tally.valid:,} | {tally.refused:,} | {len(tally.findings):,}"
        lines.append(f"| {name} | {counts} |")
        findings += tally.findings
    sys.stdout.write("\n".join([*lines, "", *findings[:40]]) + "\n")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
