"""How often two sets of one generator come out "significantly different": false_positive_rate.

`python -m benchmarks.same_generator [REPEATS]`. The generator knows the true distribution (two
Gaussian classes, 10 % positive); the downstream model is a linear discriminant whose direction
differs from seed to seed. Once both sides are scored on the *same* set (all that differs is how
fits turn out), once on two sets drawn independently. Intervals are the report's own
(scripts/utility/bootstrap.py): paired over test stays and seeds.
"""

import argparse
import logging
import sys

import numpy as np

from scripts.quality.common.metric_report import wilson
from scripts.utility.bootstrap import compare, resample_counts
from scripts.utility.metrics import ranking_scores

NUM_FEATURES = 10
PREVALENCE = 0.1
SHIFT = 0.4  # of every feature where positive: AUROC about 0.81
TEST_STAYS = 700
RESAMPLES = 200


def draw_set(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of one set, real or synthetic: the generator is perfect."""
    y = (rng.random(rows) < PREVALENCE).astype(np.int64)
    return rng.normal(size=(rows, NUM_FEATURES)) + SHIFT * y[:, None], y


def fit(rng: np.random.Generator, x: np.ndarray, y: np.ndarray, fit_noise: float) -> np.ndarray:
    """A discriminant direction; `fit_noise` is how far the seed turns it, relative to its size."""
    direction = x[y == 1].mean(axis=0) - x[y == 0].mean(axis=0)
    size = np.linalg.norm(direction) / NUM_FEATURES**0.5
    return direction + fit_noise * size * rng.normal(size=NUM_FEATURES)


def told_apart(repeat: int, *, set_rows: int, fit_noise: float, seeds: int, same_set: bool) -> bool:
    """Whether one comparison of two sets of one generator excludes 0."""
    rng = np.random.default_rng(repeat)
    test_x, test_y = draw_set(rng, TEST_STAYS)
    counts = resample_counts(np.arange(TEST_STAYS), test_y, resamples=RESAMPLES, seed=repeat)
    ones = np.ones((1, TEST_STAYS))
    first = draw_set(rng, set_rows)
    tables, points = [], []
    for rows in (first, first if same_set else draw_set(rng, set_rows)):
        scores = [test_x @ fit(rng, *rows, fit_noise) for _ in range(seeds)]
        tables.append(np.stack([ranking_scores(s, test_y == 1, counts)[0] for s in scores]))
        points.append(np.array([ranking_scores(s, test_y == 1, ones)[0][0] for s in scores]))
    return compare(*tables, *points, seed=repeat).excludes_zero


def false_positive_rate(
    repeats: int, *, set_rows: int, fit_noise: float, seeds: int, same_set: bool
) -> float:
    """Share of `repeats` comparisons that are called different; nominal is 0.05."""
    options = {"set_rows": set_rows, "fit_noise": fit_noise, "seeds": seeds, "same_set": same_set}
    return float(np.mean([told_apart(repeat, **options) for repeat in range(repeats)]))


def main() -> None:
    """Logs one line per situation, as the table of docs/metrics.md has it."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
    parser = argparse.ArgumentParser(prog="python -m benchmarks.same_generator")
    parser.add_argument("repeats", type=int, nargs="?", default=400, help="default 400")
    repeats = parser.parse_args().repeats
    for same_set in (True, False):
        for set_rows in (2000, 20_000):
            for fit_noise in (0.2, 0.5):
                rate = false_positive_rate(
                    repeats, set_rows=set_rows, fit_noise=fit_noise, seeds=5, same_set=same_set
                )
                low, high = wilson(rate, repeats)
                logging.info(
                    "| %s | %d | %g | %.3f [%.3f, %.3f] |",
                    "one set" if same_set else "two sets",
                    set_rows,
                    fit_noise,
                    rate,
                    low,
                    high,
                )


if __name__ == "__main__":
    main()
