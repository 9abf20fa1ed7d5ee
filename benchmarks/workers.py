"""Two worker processes against one: wall seconds of one set, and whether the bytes are the same.

    python -m benchmarks.workers --rows 4096

Wall time, since that is what workers buy: only a machine with two idle cores gives the ratio.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch
from joblib.externals.loky import get_reusable_executor
from torch import Tensor

from benchmarks.speed.setting import DEFAULT, Setting, Shape
from configs.runtime.processes import Processes
from data_preprocess.storage.content_cache import ContentCache
from tardiff.generation.batches import Job, sample_batches


def main() -> None:
    """Prints one Markdown row."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.workers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", help="default: as of benchmarks.speed")
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=4)
    given, keys = parser.parse_known_args()
    torch.set_num_threads(1)
    argv = [given.config] if given.config else DEFAULT
    setting = Setting([*argv, *keys], Shape(7, 24), torch.device("cpu"))
    process, y = setting.process(given.rows), torch.arange(given.rows) % 2
    plain, guidance = setting.plain(), setting.guidance()
    seconds: dict[int, list[float]] = {1: [], 2: []}
    made: dict[int, Tensor] = {}
    for _ in range(given.rounds):
        for workers in seconds:
            get_reusable_executor().shutdown()  # every round pays for the start
            job = Job(process=process, denoiser=plain, guidance=guidance, y=y, key={})
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                cache, processes = ContentCache(Path(folder), ("tardiff",)), Processes(workers)
                x = sample_batches(job, cache, processes, title=f"{workers} workers").x
                seconds[workers].append(time.perf_counter() - start)
            made[workers] = x
    ratios = [one / two for one, two in zip(seconds[1], seconds[2], strict=True)]
    one, two = (statistics.median(found) for found in seconds.values())
    same = made[1].numpy().tobytes() == made[2].numpy().tobytes()
    print(
        "| series | one process, s | two, s | ratio, median of rounds | each round | same bytes |"
    )
    each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
    print(
        f"| {given.rows} | {one:.1f} | {two:.1f} | {statistics.median(ratios):.2f} | {each} "
        f"| {same} |"
    )


if __name__ == "__main__":
    main()
