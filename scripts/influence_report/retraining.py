"""Does influence predict retraining here? The linear data-modelling score (Ilyas et al. 2022).

A downstream model is trained on random halves of a pool of unguided series, with the same class
counts in each. The score is the rank correlation, over the halves, of the summed influence with
minus the guidance loss of the retrained models, seeds averaged: on the guidance rows, where G comes
from, and on val_select, which took no part in G (but stops the trainings). Within the band of
chance, guidance follows noise: stage 3 then guides nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from scripts.utility.loss_change import loss_of
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import EvaluationData, Fit, Series, draw_per_class
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.one_step_check import rank_correlation

RESAMPLES = 2000
ESTIMATORS = ("convex", "classifier")

Outcomes = Float[np.ndarray, "subset seed"]


def retraining_scores(
    pool: Series,
    influence: Mapping[str, Float[np.ndarray, " n"]],
    data: EvaluationData,
    *,
    model: str,
    subsets: int,
    seeds: Sequence[int],
    loss: GuidanceLoss,
    run: Callable[..., dict[Fit, Predictions]],
    seed: int,
) -> dict[str, Any]:
    """The linear data-modelling score of every estimator, JSON-able.

    Args:
        pool: unguided series; influence: of each of them, by the name of the estimator.
        data: its guidance rows and val_select give the outcomes; the test rows are not read.
        model: the downstream model that is retrained, on each of `subsets` halves with each of
            `seeds`.
        loss: the guidance loss.
        run: `run_fits` with all that it needs besides fits and data.
        seed: of the halves.
    """
    halves = stratified_halves(pool.y, subsets, seed=seed)
    names = [f"half_{number}" for number in range(subsets)]
    pieces = zip(names, halves, strict=True)
    synthetic = {name: Series(x=pool.x[half], y=pool.y[half]) for name, half in pieces}
    # The guidance rows stand where an evaluation has its test rows.
    data = replace(data, test=data.guide, synthetic=synthetic)
    fits = [Fit("TSTR", name, None, model, fit_seed) for name in names for fit_seed in seeds]

    def outcomes(*, on_select: bool) -> Outcomes:
        """Minus the guidance loss of every retrained model."""
        found = run(fits, data, on_select=on_select)
        values = [-loss_of(found[fit], loss) for fit in fits]
        return np.array(values).reshape(subsets, len(seeds))

    guide, held_out = outcomes(on_select=False), outcomes(on_select=True)
    found: dict[str, Any] = {
        "model": model,
        "subsets": subsets,
        "seeds": list(seeds),
        "pool_rows": len(pool),
        "band": 1.96 / (subsets - 1) ** 0.5,
        "repeats": {"guide": repeatability(guide), "held_out": repeatability(held_out)},
        "estimators": {},
    }
    for name, values in influence.items():
        sums = np.array([values[half].sum() for half in halves])
        found["estimators"][name] = {
            "guide": scored(sums, guide.mean(1)),
            "held_out": scored(sums, held_out.mean(1)),
        }
    return found


def stratified_halves(
    y: Int[np.ndarray, " n"], count: int, *, seed: int
) -> Int[np.ndarray, "subset half"]:
    """Random halves of every class; equal class counts, or the class ratio would be the outcome."""
    rng, sizes = np.random.default_rng(seed), np.bincount(y) // 2
    return np.stack([draw_per_class(y, sizes, rng) for _ in range(count)])


def scored(sums: Float[np.ndarray, " subset"], outcome: Float[np.ndarray, " subset"]) -> Any:
    """The score with its 95 % bootstrap interval over the subsets."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(sums), size=(RESAMPLES, len(sums)))
    pair = torch.from_numpy(sums), torch.from_numpy(outcome)
    resampled = [rank_correlation(pair[0][draw], pair[1][draw]) for draw in draws]
    low, high = np.quantile(resampled, [0.025, 0.975])
    return {"score": rank_correlation(*pair), "low": float(low), "high": float(high)}


def repeatability(outcomes: Outcomes) -> float | None:
    """Correlation that the mean outcome would have with that of as many other seeds (Spearman and
    Brown); its root bounds any score. None with one seed."""
    if outcomes.shape[1] < 2:
        return None
    half = outcomes.shape[1] // 2
    first, second = outcomes[:, :half].mean(1), outcomes[:, half : 2 * half].mean(1)
    r = float(np.corrcoef(first, second)[0, 1])
    return 2 * r / (1 + r)


def as_text(found: Mapping[str, Any]) -> str:
    """The scores as a table."""
    lines = [
        f"linear data-modelling score: {found['model']} retrained on {found['subsets']} halves of "
        f"{found['pool_rows']} unguided series, {len(found['seeds'])} seeds; band of chance "
        f"+-{found['band']:.2f}",
        f"{'influence of':<14}{'guidance rows':>24}{'val_select':>24}",
    ]
    for name, scores in found["estimators"].items():
        cells = [
            "{score:+.2f} [{low:+.2f}, {high:+.2f}]".format(**scores[rows])
            for rows in ("guide", "held_out")
        ]
        lines.append(f"{name:<14}{cells[0]:>24}{cells[1]:>24}")
    repeats = [found["repeats"][rows] for rows in ("guide", "held_out")]
    cells = ["-" if value is None else f"{value:.2f}" for value in repeats]
    lines.append(f"{'repeatability':<14}{cells[0]:>24}{cells[1]:>24}")
    return "\n".join(lines)
