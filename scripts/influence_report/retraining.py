"""Does influence predict retraining here, and does a tilted set help the downstream model?

A downstream model is trained on random halves of a pool of unguided series, with the same class
counts in each. The linear data-modelling score (Ilyas et al. 2022) is the rank correlation, over
the halves, of the summed influence with minus the guidance loss of the retrained models, seeds
averaged: on the guidance rows, where G comes from, and on val_select, which took no part in G (but
stops the trainings).

Random halves differ far less than a guided set does from an unguided one, so the score can be lost
in the noise of retraining where guidance gains. The first halves are therefore tilted too, by the
strength that stage 3 would ask for, and the model is retrained on them: the change of its loss on
val_select is what stage 3 heeds.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.utils import resample

from classifier.metrics import Z95
from data_preprocess.dataset import patient_strata
from scripts.results.table import Table
from scripts.utility.bootstrap import interval
from scripts.utility.loss_change import at_best_scale, loss_of
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import EncodedArrays, EvaluationData, Fit, draw_per_class
from tardiff.guidance.pool_selection import choose
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.one_step_check import rank_correlation

RESAMPLES = 2000
LOSS_RESAMPLES = 200
TILTED = 12  # halves at most of which a tilted counterpart is trained on too

Outcomes = Float[np.ndarray, "subset seed"]
Halves = Int[np.ndarray, "subset half"]


def retraining_scores(
    pool: EncodedArrays,
    influence: Mapping[str, Float[np.ndarray, " n"]],
    data: EvaluationData,
    *,
    model: str,
    subsets: int,
    w: float,
    seeds: Sequence[int],
    loss: GuidanceLoss,
    run: Callable[..., dict[Fit, Predictions]],
    seed: int,
    patients: Mapping[str, Int[np.ndarray, " _"]],
) -> dict[str, Any]:
    """The linear data-modelling score of every estimator and the effect of its tilt, JSON-able.

    Args:
        pool: unguided series; influence: of each of them, by the name of the estimator.
        data: its guidance rows and val_select give the outcomes; the test rows are not read.
        model: the downstream model that is retrained, on each of `subsets` halves with each of
            `seeds`.
        w: the strength of the tilt; 0: nothing is tilted.
        run: `run_fits` with all that it needs besides fits and data.
        patients: of the guidance rows ("guide") and val_select ("held_out").
    """
    halves, tilted = stratified_halves(pool.y, subsets, seed=seed), min(TILTED, subsets)
    tilts = {
        name: tilted_halves(values, pool.y, halves[:tilted], w, seed=seed)
        for name, values in influence.items()
        if w != 0
    }
    found: dict[str, Any] = {
        "model": model,
        "subsets": subsets,
        "tilted": tilted,
        "w": w,
        "seeds": list(seeds),
        "pool_rows": len(pool),
        "band": Z95 / (subsets - 1) ** 0.5,
        "repeats": {},
        "estimators": {name: {"tilt": {}} for name in influence},
    }
    sets = {"half": halves, **tilts}
    synthetic = {
        f"{name}_{number}": EncodedArrays(x=pool.x[rows], y=pool.y[rows])
        for name, subsets in sets.items()
        for number, rows in enumerate(subsets)
    }
    # The guidance rows stand where an evaluation has its test rows.
    data = replace(data, test=data.guide, synthetic=synthetic)
    fits = {name: [Fit("TSTR", name, None, model, seed) for seed in seeds] for name in synthetic}
    for rows, select in (("guide", False), ("held_out", True)):
        results = run(list(itertools.chain(*fits.values())), data, on_select=select)
        # Every model at the scale that is best for it, half by half and seed by seed.
        predictions = {
            name: [
                [at_best_scale(results[fit], loss) for fit in fits[f"{name}_{number}"]]
                for number in range(len(subsets))
            ]
            for name, subsets in sets.items()
        }
        outcome = -_losses(predictions["half"], loss)
        found["repeats"][rows] = repeatability(outcome)
        for name, values in influence.items():
            found["estimators"][name][rows] = scored(values[halves].sum(1), outcome.mean(1))
            if name in tilts:
                found["estimators"][name]["tilt"][rows] = loss_change(
                    predictions["half"][:tilted], predictions[name], loss, patients[rows]
                )
    return found


def stratified_halves(y: Int[np.ndarray, " n"], count: int, *, seed: int) -> Halves:
    """Random halves of every class; equal class counts, or the class ratio would be the outcome."""
    rng, sizes = np.random.default_rng(seed), np.bincount(y) // 2
    return np.stack([draw_per_class(y, sizes, rng) for _ in range(count)])


def tilted_halves(
    influence: Float[np.ndarray, " n"],
    y: Int[np.ndarray, " n"],
    halves: Halves,
    w: float,
    *,
    seed: int,
) -> Halves:
    """A counterpart of each half whose mean influence in every class is higher by w unguided
    standard deviations, coupled to it as a guided set is to the unguided one."""
    scores, tilted = torch.from_numpy(influence), []
    for number, half in enumerate(halves):
        chosen = []
        for label in np.unique(y):
            first = half[y[half] == label]
            mine = np.concatenate([first, np.setdiff1d(np.flatnonzero(y == label), first)])
            rows, _ = choose(scores[mine], len(first), w, seed=seed + number)
            chosen.append(mine[rows.numpy()])
        tilted.append(np.concatenate(chosen))
    return np.stack(tilted)


def loss_change(
    before: Sequence[Sequence[Predictions]],
    after: Sequence[Sequence[Predictions]],
    loss: GuidanceLoss,
    subject_ids: Int[np.ndarray, " n"],
) -> dict[str, float]:
    """Mean change of the loss, pair by pair and seed by seed, with its standard error: that of a
    bootstrap over the pairs and, within classes, over the patients whose rows score them."""
    rng, labels = np.random.default_rng(0), before[0][0].labels
    member, strata = patient_strata(subject_ids, labels)
    rows_of = [np.flatnonzero(member == patient) for patient in range(len(strata))]

    def per_pair(rows: Int[np.ndarray, " n"]) -> Float[np.ndarray, " pair"]:
        return (_losses(after, loss, rows) - _losses(before, loss, rows)).mean(1)

    drawn = []
    for number in range(LOSS_RESAMPLES):
        every = np.arange(len(strata))
        patients = np.asarray(resample(every, stratify=strata, random_state=number))
        rows = np.concatenate([rows_of[patient] for patient in patients])
        if len(np.unique(labels[rows])) < len(np.unique(labels)):
            continue  # of patients with series of several classes none with this one was drawn
        pairs = rng.integers(len(before), size=len(before))
        drawn.append(per_pair(rows)[pairs].mean())
    change = per_pair(np.arange(len(member))).mean()
    return {"change": float(change), "error": float(np.std(drawn, ddof=1))}


def _losses(
    found: Sequence[Sequence[Predictions]],
    loss: GuidanceLoss,
    rows: Int[np.ndarray, " n"] | slice = slice(None),
) -> Outcomes:
    """Of every half and seed, over these rows."""
    return np.array([[loss_of(one.take(rows), loss) for one in same] for same in found])


def scored(sums: Float[np.ndarray, " subset"], outcome: Float[np.ndarray, " subset"]) -> Any:
    """The score with its 95 % bootstrap interval over the subsets."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(sums), size=(RESAMPLES, len(sums)))
    pair = torch.from_numpy(sums), torch.from_numpy(outcome)
    resampled = [rank_correlation(pair[0][draw], pair[1][draw]) for draw in draws]
    low, high = interval(np.array(resampled))
    return {"score": rank_correlation(*pair), "low": low, "high": high}


def repeatability(outcomes: Outcomes) -> float | None:
    """Cronbach's alpha of the seeds: the correlation that the mean outcome would have with that of
    as many other seeds. Its root is the largest score that any estimate could have. None with one
    seed."""
    seeds = outcomes.shape[1]
    if seeds < 2:
        return None
    total, single = outcomes.sum(1).var(ddof=1), outcomes.var(0, ddof=1).sum()
    return max(0.0, float((1 - single / total) * seeds / (seeds - 1))) if total else 0.0


def as_text(found: Mapping[str, Any]) -> str:
    """The scores as a table, and what the tilted halves changed."""
    sides = {"guide": "guidance rows", "held_out": "val_select"}
    columns, estimators = ["influence of", *sides.values()], found["estimators"]
    spread, change = "{score:+.2f} [{low:+.2f}, {high:+.2f}]", "{change:+.4f} +- {error:.4f}"
    rows = [[k, *(spread.format(**v[side]) for side in sides)] for k, v in estimators.items()]
    repeats = [found["repeats"][side] for side in sides]
    rows += [["largest possible, about", *("-" if r is None else f"{r**0.5:.2f}" for r in repeats)]]
    title = (
        f"linear data-modelling score: {found['model']} retrained on {found['subsets']} halves of "
        f"{found['pool_rows']} unguided series, {len(found['seeds'])} seeds; band of chance "
        f"+-{found['band']:.2f}"
    )
    scores = Table(title, columns, rows).as_text()
    if not found["w"]:
        return f"{scores}\n\nno strength is supported (w = 0), so no half was tilted"
    title = (
        f"change of the guidance loss by a tilt of w = {found['w']:g}, {found['tilted']} halves:"
    )
    rows = [
        [k, *(change.format(**v["tilt"][side]) for side in sides)] for k, v in estimators.items()
    ]
    return f"{scores}\n\n{Table(title, columns, rows).as_text()}"
