"""The defaults against the published settings, by turns in one run: generation and training.

    python -m benchmarks.published
    python -m benchmarks.published --what generation --rounds 2
    python -m benchmarks.published --what training --batches 16 64 256
    python -m benchmarks.published --what generation sampler.num_steps=10   # of the default

Published: configs/base/physionet2012_published.yaml, in one batch, by this project's code, which
runs such a U-Net faster than the published code. Default: --config; series chosen from a pool as
in stage 3 (pool, boosted trees as guide or the convex one, influence and density ratio), and pushed
as the published ones are. CPU seconds, one thread.
"""

import argparse
from collections.abc import Callable

import torch

from benchmarks.speed.clock import clock_of
from benchmarks.speed.setting import CLASSES, DEFAULT, Setting, Shape
from benchmarks.speed.training import step_seconds
from classifier.fixed_features import summary_features
from data_preprocess.model_space.encoding import EncodedSeries
from scripts.influence_report.overhead import take_turns
from tardiff.generation.density_ratio import density_ratio
from tardiff.generation.session import rows_for_guide
from tardiff.guidance.diagnostics import score_all
from tardiff.guidance.directions import Score
from tardiff.influence.boosted_guide import BoostedInfluence, fit_boosted_guide
from tardiff.influence.convex_guide import LabelledDesign
from tardiff.influence.guidance_losses import GuidanceLoss

PUBLISHED = "configs/base/physionet2012_published.yaml"
REAL_SERIES = 2000  # toward which the pool is resampled
GUIDANCE_ROWS = 256


def generation(given: argparse.Namespace, default: Setting, published: Setting) -> None:
    """Guided series per second."""
    sides = {
        "default, chosen": (choosing(default, given.rows, boosted), given.rows),
        "default, chosen by convex": (choosing(default, given.rows, convex), given.rows),
        "default, pushed": (pushing(default, given.rows), given.rows),
        "published": (pushing(published, given.published_rows), given.published_rows),
    }
    runs = {name: run for name, (run, _) in sides.items()}
    seconds = take_turns(runs, given.rounds, clock_of(default.device))
    rates = {name: rows / seconds[name] for name, (_, rows) in sides.items()}
    for name, (_, rows) in sides.items():
        ratio = rates[name] / rates["published"]
        print(f"| guided, {name}, {rows} series | {rates[name]:.2f} series/s | {ratio:.1f} |")


def pushing(setting: Setting, rows: int) -> Callable[[], object]:
    """Samples `rows` guided series."""
    process, y = setting.process(rows), torch.arange(rows) % CLASSES
    plain, guidance = setting.plain(), setting.guidance()
    return lambda: process.run(plain, y, range(rows), guidance)


def choosing(
    setting: Setting, rows: int, guide: Callable[[Setting, EncodedSeries], Score]
) -> Callable[[], object]:
    """Samples the pool that `rows` series are chosen from, fits the guide to some of it, scores all
    of it and finds its density ratio; the draw itself takes no time."""
    pool = rows * setting.config.generation.pool
    plain = setting.plain()
    real = EncodedSeries(*setting.series(REAL_SERIES))
    process, (_, y) = setting.process(pool), setting.series(pool)  # in the shares of the real ones

    def run() -> None:
        made = EncodedSeries(process.run(plain, y, range(pool)).x, y)
        score_all(guide(setting, made), made.x, y, setting.device)
        density_ratio(real, made, seed=0)

    return run


def boosted(setting: Setting, made: EncodedSeries) -> Score:
    """The guide that chooses by default, of as many series as in stage 3."""
    loss, rows = GuidanceLoss("nll", CLASSES), rows_for_guide(made.y)
    guide = fit_boosted_guide(
        made.x[rows], made.y[rows], features=summary_features, num_classes=CLASSES, seed=0
    )
    x, y = setting.series(GUIDANCE_ROWS)
    gradients = guide.leaf_gradients(LabelledDesign(guide.design(x), y), loss)
    return BoostedInfluence(guide, gradients)


def convex(setting: Setting, made: EncodedSeries) -> Score:
    """Linear on fixed features, fitted to other random series than the pool."""
    return setting.direction()


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
    parser.add_argument("--rows", type=int, default=2000, help="series of the default")
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
