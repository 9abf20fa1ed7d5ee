"""What keeping freed memory (configs/freed_memory.py) brings: training and denoiser calls with and
without it, by turns, in processes of their own, CPU seconds of one thread.

    python -m benchmarks.freed_memory
    python -m benchmarks.freed_memory --config configs/base/demo.yaml --rounds 5

Series are random and weights untrained.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys

import torch

from benchmarks.speed.clock import fastest, peak_memory
from benchmarks.speed.setting import Setting, Shape
from benchmarks.speed.training import step_seconds
from configs.freed_memory import MAPPED, TRIMMED, keep_freed_memory

# (model channels, grid points) of the data that each config is for.
SHAPES = {
    "configs/base/demo.yaml": Shape(14, 24),
    "configs/base/mimic_mortality.yaml": Shape(7, 24),
    "configs/base/physionet2012_masks.yaml": Shape(21, 24),
    "configs/base/physionet2012_fast.yaml": Shape(7, 24),
    "configs/base/long_288x3.yaml": Shape(3, 288),
}
SAMPLED = 256


def main() -> None:
    """Prints one Markdown row per config and kind of work."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.freed_memory",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", choices=SHAPES, help="one config instead of all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", choices=("kept", "given back"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measured(given.config, kept=given.measure == "kept")))
        return
    print("| config | what | given back | kept | ratio, median of rounds | each round |")
    print("| --- | --- | --- | --- | --- | --- |")
    for config in [given.config] if given.config else SHAPES:
        print("\n".join(compared(config, given.rounds)), flush=True)


def compared(config: str, rounds: int) -> list[str]:
    """The rows of one config."""
    found: dict[str, list[dict[str, float]]] = {"given back": [], "kept": []}
    own = {name: value for name, value in os.environ.items() if name not in (MAPPED[1], TRIMMED[1])}
    for _ in range(rounds):
        for how, results in found.items():
            command = ["-m", "benchmarks.freed_memory", "--config", config, "--measure", how]
            done = subprocess.run(
                [sys.executable, *command], env=own, check=True, stdout=subprocess.PIPE, text=True
            )
            results.append(json.loads(done.stdout.splitlines()[-1]))
    rows = []
    for what in found["kept"][0]:
        before, after = ([result[what] for result in results] for results in found.values())
        ratios = [new / old for old, new in zip(before, after, strict=True)]
        each = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        middle = [statistics.median(values) for values in (before, after, ratios)]
        rows.append(
            f"| {config} | {what} | {middle[0]:.0f} | {middle[1]:.0f} | {middle[2]:.2f} | {each} |"
        )
    return rows


def measured(config: str, *, kept: bool) -> dict[str, float]:
    """Series per second of training and of denoiser calls, and peak memory, in this process."""
    if kept and not keep_freed_memory():
        raise SystemExit("the allocator of this machine is not glibc's: nothing to compare")
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    setting = Setting([config, "accelerator=cpu"], SHAPES[config], cpu)
    batch = setting.config.diffusion.batch_size
    plain = setting.plain()
    x, y = setting.series(SAMPLED)
    level = torch.zeros(SAMPLED)
    return {
        f"training, batches of {batch}, series/s": batch / step_seconds(setting, batch, 30),
        f"denoiser calls, {SAMPLED} at a time, series/s": SAMPLED
        / fastest(lambda: plain(x, level, y), 10, cpu),
        "peak memory, MiB": peak_memory(cpu),
    }


if __name__ == "__main__":
    main()
