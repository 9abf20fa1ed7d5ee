"""Is the error of the predicted strength right, and does the strength that it supports help?

    bash train.sh CONFIG experiment=NAME data.seed=1
    python -m benchmarks.strength_error CONFIG experiment=NAME data.seed=1 [--draws N] [--spare DIR]

Guidance and selection rows are drawn again and again from all rows of the guidance population.
Every draw has its own G, prediction and strength, and the rows that were not drawn tell what
guidance really changes: the guidance loss, on them, of the guide fitted to the guided set that
stage 3 would choose, minus that of the guide fitted to the unguided set. No downstream model takes
part.
"""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from configs import load_config
from data_preprocess.card import markdown_table
from data_preprocess.dataset import EHRDataset, concatenate
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.splits import Splits
from data_preprocess.storage.dataset_files import load_dataset
from tardiff.from_config import load, pool_guide, session_of
from tardiff.generation.session import GenerationSession
from tardiff.guidance.auto_strength import GRID, cross_validated_strength
from tardiff.guidance.pool_estimate import PoolGuide
from tardiff.influence.convex_guide import Head, LabelledDesign, fit_guide, influence_of
from tardiff.influence.guidance_losses import GuidanceLoss

MOST_UNSEEN = 6000  # rows that tell the true change: the rank loss compares all pairs


@dataclasses.dataclass(frozen=True)
class Chooser:
    """The sets that stage 3 would write, and the guide of each."""

    session: GenerationSession
    fitted: PoolGuide
    pool: LabelledDesign
    classes: int

    def scores(self, toward: Head) -> Tensor:
        """Influence of the whole pool."""
        return influence_of(self.pool.rows, self.pool.y, self.fitted.guide.theta, toward)

    def guided(self, scores: Tensor, w: float) -> Head:
        """Head of the guide fitted to the set with this strength."""
        return self._head(self.session.pool.choose(self.session.y, scores, w)[0])

    def unguided(self) -> Head:
        """Head of the guide fitted to the unguided set."""
        return self._head(self.session.pool.draw(self.session.y))

    def _head(self, by_class: list[Tensor]) -> Head:
        rows, penalty = torch.cat(by_class), self.fitted.guide.penalty
        design, y = self.pool.rows[rows], self.pool.y[rows]
        return fit_guide(design, y, num_classes=self.classes, penalty=penalty).theta


def draws(
    made: Chooser, rows: LabelledDesign, sizes: tuple[int, int], loss: GuidanceLoss, count: int
) -> dict[str, np.ndarray]:
    """(draw, w) of the predicted change, its error and the true change, and (draw,) of the chosen
    strength; with and without selection rows."""
    guide, unguided = made.fitted.guide, made.unguided()
    found: dict[str, list] = {"true": []}
    for number in range(count):
        order = torch.from_numpy(np.random.default_rng(number).permutation(len(rows.y)))
        parts = order.split([*sizes, len(order) - sum(sizes)])
        known, select, unseen = (
            LabelledDesign(rows.rows[part], rows.y[part])
            for part in (*parts[:2], parts[2][:MOST_UNSEEN])
        )
        scores = made.scores(guide.toward(guide.gradient(known, loss)))
        before = loss.value(unseen.rows @ unguided, unseen.y)
        heads = [made.guided(scores, w) for w in GRID]
        found["true"].append([loss.value(unseen.rows @ h, unseen.y) - before for h in heads])
        for name, given in {"with selection rows": select, "without": None}.items():
            auto = cross_validated_strength(guide, known, loss, select=given, seed=0)
            told = {"change": auto.changes, "error": auto.errors, "w": auto.w}
            for what, value in told.items():
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


def population(splits: Splits, spare: EHRDataset | None) -> EHRDataset:
    """All rows of the guidance population: guidance and selection rows, and test rows or, in their
    place, the spare ones that are in no split."""
    other = splits.test
    if spare is not None:
        used = np.concatenate([part.subject_ids for _, part in splits.items()])
        other = spare.take(np.flatnonzero(~np.isin(spare.subject_ids, used)))
    return concatenate(concatenate(splits.val_guide, splits.val_select), other)


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", nargs="+", help="config and key=value")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument(
        "--spare", type=Path, help="data folder of the same config with data.train_size=null"
    )
    given = parser.parse_intermixed_args()
    loaded = load(load_config(given.config))
    config, splits, session = loaded.config, loaded.splits, session_of(loaded)
    fitted = pool_guide(config, splits, loaded.device, session.guide_series())
    pool, classes = fitted.design(session.pool.released), splits.train.num_classes
    made = Chooser(session, fitted, pool, classes)
    spare = load_dataset(given.spare / "train.npz") if given.spare else None
    rows = fitted.design(EncodedSeries.of(population(splits, spare), splits.normaliser))
    loss = GuidanceLoss(config.influence.guidance_loss, classes)
    sizes = (len(splits.val_guide), len(splits.val_select))
    found = draws(made, rows, sizes, loss, given.draws)
    print(
        f"{given.draws} draws of {sizes[0]} guidance and {sizes[1]} selection rows of "
        f"{len(rows.y):,}; sets of {len(session.y):,}, drawn from {len(pool.y):,}"
    )
    for name in ("with selection rows", "without"):
        print(f"\n{name}\n\n{table(found, name)}\n\n{outcome(found, name)}")


if __name__ == "__main__":
    main()
