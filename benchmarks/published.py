"""The defaults against the published settings, by turns in one run: generation and training.

    python -m benchmarks.published
    python -m benchmarks.published --what generation --rounds 2
    python -m benchmarks.published --what training --batches 16 64 256
    python -m benchmarks.published --what generation sampler.num_steps=15   # of the default

Published: configs/base/physionet2012_published.yaml, in one batch, by this project's code, which
runs such a U-Net faster than the published code. Default: --config. CPU seconds, one thread.
"""

import argparse

import torch
from torch import Tensor

from benchmarks.speed.clock import clock_of
from benchmarks.speed.setting import DEFAULT, Setting, Shape
from benchmarks.speed.training import step_seconds
from scripts.influence_report.overhead import take_turns

PUBLISHED = "configs/base/physionet2012_published.yaml"


def generation(given: argparse.Namespace, default: Setting, published: Setting) -> None:
    """Guided series per second."""
    sizes = {"default": given.rows, "published": given.published_rows}
    settings = {"default": default, "published": published}

    def sampling(name: str):
        setting, rows = settings[name], sizes[name]
        process, y = setting.process(rows), torch.arange(rows) % 2
        plain, guidance = setting.plain(), setting.guidance()

        def run() -> Tensor:
            return process.run(plain, y, range(rows), guidance).x

        return run

    sides = {name: sampling(name) for name in settings}
    seconds = take_turns(sides, given.rounds, clock_of(default.device))
    rates = {name: sizes[name] / seconds[name] for name in settings}
    for name, rate in rates.items():
        print(f"| guided generation, {name}, {sizes[name]} series | {rate:.2f} series/s |")
    print(f"| ratio | {rates['default'] / rates['published']:.1f} |")


def training(given: argparse.Namespace, default: Setting, published: Setting) -> None:
    """Series per second of training, each at its best batch."""
    rates: dict[tuple[str, int], float] = {}
    own = default.config.diffusion.batch_size
    for _ in range(given.rounds):
        for name, setting, batches in (
            ("default", default, (own, 4 * own)),
            ("published", published, given.batches),
        ):
            for batch in batches:
                rate = batch / step_seconds(setting, batch, given.steps)
                rates[name, batch] = max(rate, rates.get((name, batch), 0.0))
    for (name, batch), rate in rates.items():
        print(f"| training, {name}, batch {batch} | {rate:.1f} series/s |")
    best = max(rate for (name, _), rate in rates.items() if name == "published")
    for batch in (own, 4 * own):
        print(f"| ratio, default at batch {batch} | {rates['default', batch] / best:.1f} |")


def main() -> None:
    """Prints Markdown rows."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.published",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    modes = {"generation": generation, "training": training}
    parser.add_argument("--what", choices=modes, help="both if not given")
    parser.add_argument("--config", help="default: as of benchmarks.speed")
    parser.add_argument("--rows", type=int, default=512, help="series of the default")
    parser.add_argument("--published-rows", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    given, keys = parser.parse_known_args()
    torch.set_num_threads(1)
    shape, device = Shape(7, 24), torch.device("cpu")
    argv = [given.config] if given.config else DEFAULT
    default = Setting([*argv, "accelerator=cpu", *keys], shape, device)
    published = Setting([PUBLISHED, "accelerator=cpu"], shape, device)
    for what in [given.what] if given.what else modes:
        modes[what](given, default, published)


if __name__ == "__main__":
    main()
