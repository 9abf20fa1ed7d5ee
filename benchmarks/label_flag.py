"""How often the flag of wrong labels is raised where labels are right, and where they are wrong.

    python -m benchmarks.label_flag configs/base/demo.yaml [--seeds 30 31 32 33 34 35 36 37]

Builds a simulated cohort per `data.seed`. Its set is drawn with replacement from the training
series, so every label is right and nobody could know the classes better; then a share of the last
class exchanges its labels with series of the first. Prints Markdown rows: within-class Frechet
distance over its reference, p, and whether the flag is raised.
"""

import argparse
import dataclasses
import tempfile

import numpy as np
import torch

from configs import load_config
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.dataset import EHRDataset
from scripts.quality.common.comparison import make_comparison
from scripts.quality.common.registry import raised_flags
from scripts.quality.fidelity.frechet import frechet_report

NAME = "frechet_within_class"
SERIES_PER_REAL = 4


def drawn_again(train: EHRDataset, rng: np.random.Generator) -> EHRDataset:
    """Training series with replacement, class by class."""
    rows = [
        rng.choice(np.flatnonzero(train.labels == label), SERIES_PER_REAL * count)
        for label, count in enumerate(train.class_counts)
    ]
    return train.take(np.concatenate(rows))


def exchanged(dataset: EHRDataset, share: float, rng: np.random.Generator) -> EHRDataset:
    """`share` of the last class labelled as the first, and as many the other way round."""
    labels = dataset.labels.copy()
    first, last = (np.flatnonzero(labels == k) for k in (0, dataset.num_classes - 1))
    count = round(share * len(last))
    swapped = rng.choice(first, count, replace=False), rng.choice(last, count, replace=False)
    labels[swapped[0]], labels[swapped[1]] = dataset.num_classes - 1, 0
    return dataclasses.replace(dataset, labels=labels)


def main() -> None:
    """Prints a row per cohort and share of exchanged labels."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.label_flag",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", nargs="+", help="config.yaml key=value ...")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(30, 38)))
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.4, 0.6, 1.0])
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| cohort | labels exchanged | distance / reference | p | flag |\n|---|---|---|---|---|")
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            config = load_config([*given.config, f"data.seed={seed}", f"data.dir={folder}/data"])
            ensure_built(config.data)
            splits = load_splits(config.data)
        rng = np.random.default_rng(seed)
        right = drawn_again(splits.train, rng)
        for share in given.shares:
            made = exchanged(right, share, rng) if share else right
            sets = make_comparison(splits.train, splits.test, made, splits.normaliser)
            values = frechet_report(sets, seed=0).values
            ratio = values[NAME] / values[f"{NAME}_reference"]
            flag = NAME in [found.metric for found in raised_flags(values)]
            cells = [str(seed), f"{share:.0%}", f"{ratio:.2f}", f"{values[f'{NAME}_p']:.3f}"]
            print(f"| {' | '.join([*cells, 'raised' if flag else ''])} |", flush=True)


if __name__ == "__main__":
    main()
