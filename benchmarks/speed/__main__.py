"""Speed of every part and the machine's own ceilings, as JSON lines and a Markdown table.

    python -m benchmarks.speed                                # the defaults and the published size
    python -m benchmarks.speed --device cuda --batch 1024 --rows 20000
    python -m benchmarks.speed --config configs/base/wide_256x16.yaml --channels 16 --length 256

Settings of the config may follow (key=value). Weights are untrained and series random, which
changes no time. On a CPU seconds are CPU seconds of this process, with one thread unless told
otherwise.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.speed.clock import Ceilings, ceilings
from benchmarks.speed.measures import Row, Sizes, measure
from benchmarks.speed.setting import DEFAULT, Setting, Shape

DEFAULTS = {
    "default": DEFAULT,
    "published size": ("configs/base/physionet2012_published.yaml",),
}


def as_table(rows: list[Row], limits: Ceilings) -> str:
    """A Markdown table; the first lines are the ceilings."""
    lines = ["| setting | what | value | of the ceiling |", "| --- | --- | --- | --- |"]
    lines += [
        f"| machine | matrix product, {name} | {value / 1e9:.0f} GFLOP/s | 1 |"
        for name, value in limits.flops.items()
    ]
    lines.append(f"| machine | copy, read + write | {limits.bytes / 1e9:.1f} GB/s | 1 |")
    for row in rows:
        share = "" if row.share is None else f"{row.share:.2f}"
        lines.append(f"| {row.setting} | {row.what} | {row.value:.4g} {row.unit} | {share} |")
    return "\n".join(lines)


def main() -> None:
    """Measures and prints; `--out` keeps the JSON lines."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.speed",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--config", help="one config instead of the two of the default")
    parser.add_argument("--channels", type=int, default=7)
    parser.add_argument("--length", type=int, default=24)
    parser.add_argument("--rows", type=int, default=256, help="series that are sampled")
    parser.add_argument("--batch", type=int, help="series a training step; default: the config's")
    parser.add_argument("--rounds", type=int, default=3, help="runs of which the fastest counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="file for the JSON lines")
    given, keys = parser.parse_known_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: no GPU is available to this process")
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    limits = ceilings(device, given.rounds)
    rows = []
    configs = {given.config: (given.config,)} if given.config else DEFAULTS
    for name, arguments in configs.items():
        argv = [*arguments, f"accelerator={given.device}", *keys]
        setting = Setting(argv, Shape(given.channels, given.length), device)
        batch = given.batch or setting.config.diffusion.batch_size
        rows += measure(name, setting, Sizes(given.rows, batch, given.rounds), limits)
    lines = [json.dumps(asdict(limits)), *(json.dumps(asdict(row)) for row in rows)]
    print("\n".join(lines))
    print(as_table(rows, limits))
    if given.out:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
