"""Time and memory of the fidelity and privacy suites: `python -m benchmarks.metrics`.

The target on two cores: under three minutes and 4 GB together. Processor seconds are
shown beside the elapsed ones, since other work on the machine stretches the latter.
"""

import argparse
import logging
import resource
import time

import numpy as np

from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.common.registry import KINDS
from scripts.quality.suite import quality_report

CLASS_SHIFT = 0.3  # standard deviations between the two classes
PREVALENCE = 0.09


def random_walks(num_series: int, num_channels: int, num_steps: int, *, seed: int) -> EHRDataset:
    """Correlated mean-reverting walks around a level per series, with two classes."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(num_series) < PREVALENCE).astype(np.int64)
    mixing = np.random.default_rng(0).normal(size=(num_channels, num_channels))
    mixing = mixing / num_channels**0.5 + np.eye(num_channels)
    walk = np.zeros((num_series, num_channels, num_steps))
    level = rng.normal(size=(num_series, num_channels)) + CLASS_SHIFT * labels[:, None]
    state = rng.normal(size=(num_series, num_channels))
    for step in range(num_steps):
        state = 0.9 * state + 0.44 * rng.normal(size=state.shape)
        walk[:, :, step] = (level + state) @ mixing.T
    return EHRDataset(
        values=walk.astype(np.float32),
        observed=rng.random(walk.shape) < 0.7,
        labels=labels,
        subject_ids=np.arange(num_series),
        feature_names=tuple(f"channel_{index}" for index in range(num_channels)),
        label_names=("survived", "died"),
        static=np.zeros((num_series, 0), np.float32),
        static_names=(),
    )


def main() -> None:
    """Runs both suites on three random sets and logs seconds and peak memory."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(prog="python -m benchmarks.metrics", description=__doc__)
    for name, default in {"series": 20_000, "channels": 7, "steps": 24}.items():
        parser.add_argument(name, type=int, nargs="?", default=default, help=f"default {default}")
    shape = list(vars(parser.parse_args()).values())
    train, holdout, synthetic = (random_walks(*shape, seed=seed) for seed in (1, 2, 3))
    normaliser = Normaliser.fit(train)
    total = 0.0
    for kind in KINDS:
        start, processor = time.perf_counter(), time.process_time()
        quality_report(kind, train, holdout, synthetic, normaliser=normaliser, seed=0)
        seconds = time.perf_counter() - start
        total += seconds
        busy = time.process_time() - processor
        logging.info("%-9s %6.1f s elapsed, %6.1f processor seconds", kind, seconds, busy)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    size = " x ".join(str(number) for number in shape)
    logging.info("%s in each of three sets: %.1f s, peak memory %.2f GB", size, total, peak)


if __name__ == "__main__":
    main()
