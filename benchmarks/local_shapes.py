"""Does the classifier of a config see short shapes in long series? Its recipe on simulated sets.

    python -m benchmarks.local_shapes configs/base/demo.yaml [key=value ...]
        [--kinds wafer_152 ...] [--seeds 2] [--train 800] [--own]

Per kind of tests/support/local_shapes.py and seed: the classifier of the config is trained on 800
series, its epoch chosen on 400 and scored on 2,000 others, beside the linear reference
(classifier/linear_reference.py). `--own` takes the config's own data instead: train, val_select,
and val_guide as the rows that score it; the test split is not looked at. Prints Markdown rows.
"""

import argparse
import time
from collections.abc import Iterator

import numpy as np
import torch

from classifier.input_adapter import input_parts
from classifier.linear_reference import auroc_parts, linear_scores
from classifier.losses import class_probabilities, num_outputs
from classifier.models.registry import build_model
from classifier.training import FitRecipe, fit_classifier, predict_logits
from configs import from_sections, load_config
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.model_space.encoding import encode
from tests.support.local_shapes import KINDS, EncodedSeries, local_shapes

HEAD = """| set | seed | AUROC | linear reference | epochs, best | CPU seconds |
| --- | --- | --- | --- | --- | --- |"""
SELECT, SCORED = 400, 2000

Rows = tuple[EncodedSeries, EncodedSeries, EncodedSeries]  # train, select, scored


def main() -> None:
    """Prints one row per set and seed."""
    parser = argparse.ArgumentParser(description="short shapes in long series")
    parser.add_argument("config", nargs="+", help="a YAML file and key=value overrides")
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--train", type=int, default=800)
    parser.add_argument("--own", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(given.config)
    print(HEAD)
    for seed in range(given.seeds):
        rows = [_own(config)] if given.own else _simulated(given.kinds, given.train, seed)
        for name, parts in rows:
            print(f"| {name} | {seed} | {_scores(config, parts, seed)} |", flush=True)


def _simulated(kinds: list[str], train: int, seed: int) -> Iterator[tuple[str, Rows]]:
    for name in kinds:
        first, second, third = (
            local_shapes(KINDS[name], count, 100 * seed + place)
            for place, count in enumerate((train, SELECT, SCORED))
        )
        yield name, (first, second, third)


def _own(config: ExperimentConfig) -> tuple[str, Rows]:
    ensure_built(config.data)
    splits = load_splits(config.data)

    def rows(name: str) -> EncodedSeries:
        split = getattr(splits, name)
        x = input_parts(encode(splits.normaliser, split), splits.normaliser, ["values"])
        return x, torch.from_numpy(split.labels)

    return config.experiment, (rows("train"), rows("val_select"), rows("val_guide"))


def _scores(config: ExperimentConfig, rows: Rows, seed: int) -> str:
    train, select, (x, y) = rows
    _, channels, length = train[0].shape
    chosen, classes = config.classifier, len(y.unique())
    start = time.process_time()
    fitted = fit_classifier(
        train,
        select,
        build=lambda: build_model(
            chosen.model,
            chosen.model_args,
            in_channels=channels,
            length=length,
            num_outputs=num_outputs(classes),
        ),
        recipe=from_sections(FitRecipe, chosen),
        seed=seed,
    )
    seconds = time.process_time() - start
    probabilities = class_probabilities(predict_logits(fitted.model, x).double()).numpy()
    own, _ = auroc_parts(probabilities, y.numpy())
    linear, parts = auroc_parts(linear_scores(train, x), y.numpy())
    error = float(np.sqrt(np.square(parts).sum()))
    epochs = f"{len(fitted.history)}, {fitted.best_epoch + 1}"
    return f"{own:.4f} | {linear:.4f} +- {error:.4f} | {epochs} | {seconds:.0f}"


if __name__ == "__main__":
    main()
