"""The white-box membership attack on a model as configured, and on one that must be caught.

    python -m benchmarks.white_box configs/base/demo.yaml [--rows 300] [--times 20] [key=value ...]

Both are trained anew without early stopping: the configured number of steps on all training
series, and `--times` as many on the first `--rows` of them, which is far beyond the point where a
model memorises its series. Half of the test series calibrate the attack, the others are its
non-members. Prints a Markdown table; seconds are CPU seconds of the attack.
"""

import argparse
import dataclasses
import time

import numpy as np
import torch

from benchmarks.timed_training import Losses, train_for
from configs import load_config
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.model_space.encoding import encode, loss_weights
from data_preprocess.splits import Splits
from scripts.quality.privacy.white_box import attack_generator
from tardiff.diffusion.denoiser import Denoiser, NetworkDenoiser
from tardiff.training.module import SeriesBatch

COLUMNS = (
    "white_box_auc",
    "white_box_auc_low",
    "white_box_auc_high",
    "white_box_tpr10",
    "white_box_tpr1",
)


def train(config: ExperimentConfig, splits: Splits, steps: int) -> Denoiser:
    """The averaged weights after `steps` steps, as a denoiser."""
    rows = [
        SeriesBatch(
            encode(splits.normaliser, part),
            loss_weights(splits.normaliser, part),
            torch.from_numpy(part.labels),
        )
        for part in (splits.train, splits.val_select)
    ]
    trained = train_for(config, splits, Losses(config, *rows), steps=steps)
    network = trained.networks[config.diffusion.ema_decay]
    return NetworkDenoiser(network, prediction=config.diffusion.prediction)


def attack(denoiser: Denoiser, splits: Splits) -> tuple[dict[str, float], float]:
    """Values of the report, and the CPU seconds that they took."""
    started = time.process_time()
    report = attack_generator(denoiser, splits, seed=0, device=torch.device("cpu"))
    return report.values, time.process_time() - started


def main() -> None:
    """Trains, attacks and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config")
    parser.add_argument(
        "--rows", type=int, default=300, help="training series of the overfitted model"
    )
    parser.add_argument("--times", type=int, default=20, help="times the configured steps")
    given, keys = parser.parse_known_args()
    config = load_config([given.config, *keys])
    ensure_built(config.data)
    splits = load_splits(config.data)
    few = dataclasses.replace(splits, train=splits.train.take(np.arange(given.rows)))
    steps = config.diffusion.max_steps
    cases = {
        f"{len(splits.train):,} series, {steps:,} steps": (splits, steps),
        f"{given.rows:,} series, {given.times * steps:,} steps": (few, given.times * steps),
    }
    print("| model | AUC | TPR at 10 % | at 1 % | seconds |\n| --- | --- | --- | --- | --- |")
    for name, (rows, count) in cases.items():
        values, seconds = attack(train(config, rows, count), rows)
        auc, low, high, tpr10, tpr1 = (values[column] for column in COLUMNS)
        found = f"{auc:.3f} [{low:.3f}, {high:.3f}] | {tpr10:.3f} | {tpr1:.3f}"
        print(f"| {name} | {found} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
