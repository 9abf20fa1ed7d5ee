"""sample_parts: samples a set batch by batch and keeps every finished batch on disk until the end.

A batch is a range of series numbers, and series depend on their numbers alone, so batches can be
made in any order, by any number of processes that share the folder, and again after a crash: the
set put together from them is, byte for byte, the one that a single uninterrupted run makes. The
folder's name is a hash of all that decides the batches, so none is ever put into another set.
"""

import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from configs.runtime.atomic_files import atomic_path
from configs.runtime.errors import UserError, is_out_of_memory
from data_preprocess.storage.safe_npy import UNREADABLE, read_npz
from tardiff.diffusion.denoiser import Denoiser
from tardiff.diffusion.noise_schedule import Series
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.generation.worker_pool import spread
from tardiff.guidance.algorithm1 import PaperShift
from tardiff.guidance.guided_denoiser import GuidanceStats, GuidedDenoiser

log = logging.getLogger(__name__)

# Raise it when a change of the code changes what a batch holds: older files are then not read.
PARTS_VERSION = 2
SUMS = ("shift_square", "step_square", "calls", "step_calls", "clipped")


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be sampled; equal jobs give equal bytes on one machine.

    Attributes:
        y: label of every series; series i has number i.
        mean_shift: compat=paper only.
        workers: processes, this one among them; where there are several, each has one thread.
        share: (i, n): only every n-th batch from i on is made here, others elsewhere.
    """

    process: ReverseProcess
    denoiser: Denoiser
    y: Tensor
    mean_shift: PaperShift | None = None
    workers: int = 1
    share: tuple[int, int] = (0, 1)

    @property
    def batches(self) -> list[range]:
        """Series numbers per batch."""
        starts = range(0, len(self.y), self.process.batch_size)
        return [range(s, min(s + self.process.batch_size, len(self.y))) for s in starts]


def sample_parts(job: Job, folder: Path, *, title: str) -> Series | None:
    """The whole set, model space, on the CPU; None where other processes have batches to make.

    The statistics of guidance are the sums over the batches.

    Args:
        folder: of this job's batches, see `parts_folder`.
        title: of the progress bar.

    Raises:
        FloatingPointError: a value is not finite; names step and series.
        UserError: not even one series at a time fits into memory.
    """
    missing = {
        number: rows
        for number, rows in enumerate(job.batches)
        if _read(_path(folder, rows), job, rows) is None
    }
    mine = [rows for number, rows in missing.items() if number % job.share[1] == job.share[0]]
    done = len(job.y) - sum(map(len, missing.values()))
    if done:
        log.info("%s: %d of %d series were sampled before", title, done, len(job.y))
    with tqdm(total=len(job.y), initial=done, desc=title, unit="series") as bar:
        make = partial(_make, job, folder)
        for rows in spread(make, mine, workers=job.workers, folder=folder):
            bar.update(len(rows))
    if job.share[1] > 1:
        return None
    whole = [part for rows in job.batches if (part := _read(_path(folder, rows), job, rows))]
    assert len(whole) == len(job.batches), f"batches vanished from {folder}"
    _set_stats(job, [part[1] for part in whole])
    return torch.cat([part[0] for part in whole])


def parts_folder(root: Path, deciding: dict[str, Any]) -> Path:
    """The folder below `root` for batches decided by `deciding`: any nesting of built-in types,
    tensors, arrays and modules. Versions and the number of threads, which change roundings, are
    added."""
    digest = hashlib.sha256(f"{PARTS_VERSION} {torch.__version__} {np.__version__}".encode())
    _absorb(digest.update, deciding)
    return root / digest.hexdigest()[:24]


def _absorb(update: Callable[[bytes], None], thing: Any) -> None:
    if isinstance(thing, nn.Module):
        thing = dict(thing.state_dict())
    if isinstance(thing, dict):
        for key, value in thing.items():
            update(f"{key}:".encode())
            _absorb(update, value)
    elif isinstance(thing, (list, tuple)):
        update(f"{len(thing)} ".encode())
        for value in thing:
            _absorb(update, value)
    elif isinstance(thing, Tensor):
        update(f"{thing.dtype}{tuple(thing.shape)}".encode())
        update(thing.detach().cpu().contiguous().numpy().tobytes())
    else:
        update(f"{json.dumps(thing)};".encode())


def _make(job: Job, folder: Path, rows: range) -> None:
    x = _sample(job, rows)
    sums = {name: getattr(_stats(job), name) for name in SUMS}
    with atomic_path(_path(folder, rows)) as temporary:
        np.savez(temporary, x=x.numpy(), sums=np.array([float(sums[name]) for name in SUMS]))


def _sample(job: Job, rows: range) -> Series:
    """One batch, in halves, quarters, ... where it does not fit into memory."""
    size = len(rows)
    while True:
        process = dataclasses.replace(job.process, batch_size=size)
        _set_stats(job, [])
        try:
            return process.run(job.denoiser, job.y[rows], rows, mean_shift=job.mean_shift)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if size == 1:
                raise UserError(
                    "out of memory with one series at a time; free memory, use a smaller "
                    "diffusion model, or another device (accelerator=cpu)"
                ) from error
            size = (size + 1) // 2
            log.warning(
                "out of memory: going on with %d series at a time (sampler.batch_size is %d); the "
                "series stay the same up to the rounding of batched products",
                size,
                job.process.batch_size,
            )


def _path(folder: Path, rows: range) -> Path:
    return folder / f"{rows.start:09d}-{rows.stop:09d}.npz"


def _read(path: Path, job: Job, rows: range) -> tuple[Tensor, GuidanceStats] | None:
    """A finished batch; None if there is none, or none that can be trusted (which is said)."""
    if not path.is_file():
        return None
    try:
        arrays = read_npz(path)
        x, sums = arrays["x"], arrays["sums"]
        right = x.shape == (len(rows), *job.process.shape) and sums.shape == (len(SUMS),)
        right = right and np.isfinite(x).all() and np.isfinite(sums).all()
    except UNREADABLE as error:
        log.warning("%s is damaged (%s); it is made again", path, error)
        return None
    if not right:
        log.warning("%s does not hold series %d..%d; made again", path, rows[0], rows[-1])
        return None
    square, step_square, calls, step_calls, clipped = sums.tolist()
    stats = GuidanceStats(square, step_square, int(calls), int(step_calls), int(clipped))
    return torch.from_numpy(x), stats


def _stats(job: Job) -> GuidanceStats:
    if job.mean_shift is not None:
        return job.mean_shift.stats
    return job.denoiser.stats if isinstance(job.denoiser, GuidedDenoiser) else GuidanceStats()


def _set_stats(job: Job, parts: Sequence[GuidanceStats]) -> None:
    """The guidance of `job` has the sum of `parts` as its statistics, summed in order."""
    total = GuidanceStats()
    for part in parts:
        for name in SUMS:
            setattr(total, name, getattr(total, name) + getattr(part, name))
    if job.mean_shift is not None:
        job.mean_shift.stats = total
    elif isinstance(job.denoiser, GuidedDenoiser):
        job.denoiser.stats = total


@contextmanager
def kept_stats(job: Job) -> Iterator[None]:
    """What is sampled inside does not count in the statistics of guidance."""
    before = _stats(job)
    _set_stats(job, [])
    try:
        yield
    finally:
        _set_stats(job, [before])


def remembered(path: Path, kind: type, compute: Callable[[], list[Any]]) -> list[Any]:
    """The outcome of `compute`, a list of dataclasses `kind` of plain fields, kept in `path`."""
    if path.is_file():
        try:
            return [kind(**fields) for fields in json.loads(path.read_text(encoding="utf-8"))]
        except (ValueError, TypeError, RecursionError) as error:
            log.warning("%s is damaged (%s); it is made again", path, error)
    outcome = compute()
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps([asdict(item) for item in outcome]), encoding="utf-8")
    return outcome
