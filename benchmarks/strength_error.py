"""Is the error of the predicted strength right, and does the strength that it supports help?

    bash train.sh CONFIG experiment=NAME data.seed=1
    bash generation.sh CONFIG experiment=NAME data.seed=1 guidance=none generation.resample=never
    python -m benchmarks.strength_error CONFIG experiment=NAME data.seed=1 [--sets 40]

Guidance and selection rows are drawn again and again from all rows of the guidance population
(val_guide, val_select and test; for simulated cohorts, whose test split is large). Every draw has
its own G, prediction and strength, and the rows that were not drawn tell what the tilt really
changes: the guidance loss of the refitted guide on them. No downstream model takes part.
"""

import argparse
import dataclasses

import numpy as np
import torch

from configs import load_config
from configs.run_record import run_dir
from data_preprocess.build import load_splits
from data_preprocess.card import markdown_table
from data_preprocess.dataset import concatenate
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.storage.dataset_files import load_dataset
from tardiff.from_config import pool_guide
from tardiff.generation.session import MOST_GUIDE_ROWS
from tardiff.guidance.auto_strength import GRID, cross_validated_strength
from tardiff.guidance.pool_selection import tilted_weights
from tardiff.influence.convex_guide import ConvexGuide, LabelledDesign
from tardiff.influence.guidance_losses import GuidanceLoss

MOST_UNSEEN = 6000  # rows that tell the true change: the rank loss compares all pairs


def draws(
    guide: ConvexGuide, rows: LabelledDesign, sizes: tuple[int, int], loss: GuidanceLoss, sets: int
) -> dict[str, np.ndarray]:
    """(draw, w) of the predicted change, its error and the true change, and (draw,) of the chosen
    strength; with and without selection rows."""
    found: dict[str, list] = {"true": []}
    for number in range(sets):
        order = torch.from_numpy(np.random.default_rng(number).permutation(len(rows.y)))
        parts = order.split([*sizes, len(order) - sum(sizes)])
        known, select, unseen = (
            dataclasses.replace(rows, rows=rows.rows[part], y=rows.y[part], subject_ids=None)
            for part in (*parts[:2], parts[2][:MOST_UNSEEN])
        )
        scores = guide.influence(guide.toward(guide.gradient(known, loss)))
        heads = [guide.refitted(tilted_weights(scores, guide.y, w)) for w in GRID]
        before = loss.value(unseen.rows @ guide.theta, unseen.y)
        found["true"].append([loss.value(unseen.rows @ h, unseen.y) - before for h in heads])
        for name, given in {"with selection rows": select, "without": None}.items():
            auto = cross_validated_strength(guide, known, loss, select=given, seed=0)
            for what, value in zip(
                ("change", "error", "w"), (auto.changes, auto.errors, auto.w), strict=True
            ):
                found.setdefault(f"{what} {name}", []).append(value)
    return {name: np.array(values) for name, values in found.items()}


def table(found: dict[str, np.ndarray], name: str) -> str:
    """Prediction against truth for every strength."""
    change, error, true = (found[key] for key in (f"change {name}", f"error {name}", "true"))
    rows = [
        [
            f"{w:g}",
            f"{true[:, k].mean():+.4f}",
            f"{change[:, k].mean():+.4f}",
            f"{(off := np.sqrt(np.square(change - true)[:, k].mean())):.4f}",
            f"{(said := np.sqrt(np.square(error)[:, k].mean())):.4f}",
            f"{off / said:.2f}",
        ]
        for k, w in enumerate(GRID)
    ]
    head = ["w", "true change", "predicted", "rms of their difference", "error", "ratio"]
    return markdown_table(head, rows)


def outcome(found: dict[str, np.ndarray], name: str) -> str:
    """What the chosen strengths really change."""
    chosen, curve = found[f"w {name}"], np.c_[np.zeros(len(found["true"])), found["true"]]
    true = curve[np.arange(len(chosen)), np.searchsorted([0.0, *GRID], chosen)]
    return (
        f"chosen: w = {chosen.mean():.3f} on average, 0 in {np.mean(chosen == 0):.0%}; true change "
        f"{true.mean():+.4f}, worse in {np.mean(true > 0):.0%}, at most {true.max():+.4f}; "
        f"the best w of every draw would give {curve.min(1).mean():+.4f}"
    )


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", nargs="+", help="config and key=value")
    parser.add_argument("--sets", type=int, default=40)
    given = parser.parse_args()
    config = load_config(given.config)
    splits = load_splits(config.data)
    made = load_dataset(run_dir(config) / "synthetic" / "unguided.npz")
    some = np.random.default_rng(0).permutation(len(made))[:MOST_GUIDE_ROWS]
    pool = EncodedSeries.of(made.take(np.sort(some)), splits.normaliser)
    fitted = pool_guide(config, splits, torch.device("cpu"), pool)
    every = concatenate(concatenate(splits.val_guide, splits.val_select), splits.test)
    rows = fitted.design(EncodedSeries.of(every, splits.normaliser))
    loss = GuidanceLoss(config.influence.guidance_loss, splits.train.num_classes)
    sizes = (len(splits.val_guide), len(splits.val_select))
    found = draws(fitted.guide, rows, sizes, loss, given.sets)
    print(f"{given.sets} draws of {sizes[0]} guidance and {sizes[1]} selection rows")
    for name in ("with selection rows", "without"):
        print(f"\n{name}\n\n{table(found, name)}\n\n{outcome(found, name)}")


if __name__ == "__main__":
    main()
