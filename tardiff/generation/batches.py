"""sample_batches: samples a set batch by batch and keeps every finished batch on disk.

A batch is a range of series numbers, and series depend on their numbers alone, so batches can be
made in any order, by any number of processes, and again after an interruption: the set put together
from them is, byte for byte, the one that a single uninterrupted run makes.
"""

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from configs.runtime.errors import UserError, is_out_of_memory
from configs.runtime.processes import Processes
from configs.runtime.progress import Progress
from data_preprocess.storage.content_cache import ContentCache, Entry
from tardiff.diffusion.denoiser import Denoiser
from tardiff.generation.reverse_process import Drawn, ReverseProcess
from tardiff.guidance.guided_denoiser import Guidance, GuidanceStats

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be sampled.

    Attributes:
        denoiser: the unguided one.
        y: label of every series; series i has number i.
        key: all that decides the series; JSON-able.
    """

    process: ReverseProcess
    denoiser: Denoiser
    guidance: Guidance | None
    y: Tensor
    key: Mapping[str, Any]

    @property
    def batches(self) -> list[range]:
        """Series numbers per batch."""
        starts = range(0, len(self.y), self.process.batch_size)
        return [range(s, min(s + self.process.batch_size, len(self.y))) for s in starts]

    def batch_key(self, rows: range) -> dict[str, Any]:
        """All that decides one batch."""
        return {"set": self.key, "series": [rows.start, rows.stop]}


def sample_batches(job: Job, cache: ContentCache, processes: Processes, *, title: str) -> Drawn:
    """The whole set; what guidance did is the sum over the batches.

    Args:
        cache: of finished batches; processes on other machines must see its folder.
        title: of the progress bar.

    Raises:
        FloatingPointError: a value is not finite; names step and series.
        UserError: not even one series at a time fits into memory.
    """
    missing = [rows for rows in job.batches if cache.read(job.batch_key(rows)) is None]
    done = len(job.y) - sum(map(len, missing))
    before = f", {done} were sampled before" if done else ""
    log.info("%s: sampling %d series%s", title, len(job.y) - done, before)
    with Progress(title, len(job.y), "series", done) as progress:
        for rows, _ in processes.run(partial(_make, job, cache), missing):
            progress.update(len(rows))
    # Made here if it is gone: a run beside this one may have ended and removed its batches.
    parts = [_drawn(cache.fetch(job.batch_key(r), partial(_entry, job, r))) for r in job.batches]
    return Drawn(torch.cat([x for x, _ in parts]), sum((s for _, s in parts), GuidanceStats()))


def _drawn(entry: Entry) -> Drawn:
    return Drawn(torch.from_numpy(entry.arrays["x"]), GuidanceStats(**entry.facts))


def _make(job: Job, cache: ContentCache, rows: range) -> None:
    cache.write(job.batch_key(rows), _entry(job, rows))


def _entry(job: Job, rows: range) -> Entry:
    x, stats = _sample(job, rows)
    return Entry({"x": x.numpy()}, asdict(stats))


def _sample(job: Job, rows: range) -> Drawn:
    """One batch, in halves, quarters, ... where it does not fit into memory."""
    size = len(rows)
    while True:
        process = dataclasses.replace(job.process, batch_size=size)
        try:
            return process.run(job.denoiser, job.y[rows], rows, job.guidance)
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
