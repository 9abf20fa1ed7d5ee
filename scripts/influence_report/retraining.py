"""Does influence predict retraining here? The linear data-modelling score (Ilyas et al. 2022).

A downstream model is trained on random halves of a pool of unguided series, with the same class
counts in each. The score is the rank correlation, over the halves, of the summed influence with
minus the guidance loss of the retrained models, seeds averaged: on the guidance rows, where G comes
from, and on val_select, which took no part in G (but stops the trainings). Within the band of
chance, guidance climbs noise: stage 3 then guides nothing.
"""

import dataclasses
import json
import logging
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from configs.run_record import record_stage
from configs.runtime.atomic_files import write_text
from configs.runtime.errors import ConfigError
from configs.schema.experiment import ExperimentConfig
from scripts.evaluate import downstream, evaluation_data, fit_cache, fit_processes
from scripts.utility.fits import run_fits
from scripts.utility.guidance_loss import loss_of
from scripts.utility.protocols import Fit, Series
from tardiff.generate import (
    Loaded,
    configured_settings,
    convex_guide,
    influence_inputs,
    load,
    retraining_path,
    session_of,
)
from tardiff.guidance.diagnostics import score_all
from tardiff.influence.convex_guide import GuidanceLoss
from tardiff.influence.gradient_cache import LabelledSeries
from tardiff.influence.guidance_losses import resolve_kind
from tardiff.influence.one_step_check import rank_correlation

RESAMPLES = 2000
ESTIMATORS = ("convex", "classifier")

Outcomes = Float[np.ndarray, "subset seed"]

log = logging.getLogger(__name__)


def retraining_test(config: ExperimentConfig) -> None:
    """Writes runs/<experiment>/influence/retraining.json, which stage 3 heeds.

    Raises:
        ConfigError: no estimator or an unknown one is asked for.
    """
    given = config.influence_report
    if not given.lds_estimators or set(given.lds_estimators) - set(ESTIMATORS):
        raise ConfigError(
            f"influence_report.lds_estimators={given.lds_estimators}: expected some of "
            f"{', '.join(ESTIMATORS)}"
        )
    loaded = load(_unguided(config))
    session = session_of(loaded)
    pool = session.released(session.unguided)
    halves = stratified_halves(pool.y.numpy(), given.lds_subsets, seed=config.seed)
    guide, held_out = _outcomes(config, loaded, pool, halves)
    found: dict[str, Any] = {
        "data_fingerprint": loaded.splits.fingerprint,
        "model": given.lds_model,
        "subsets": given.lds_subsets,
        "seeds": list(given.lds_seeds),
        "pool_rows": len(pool.y),
        "band": 1.96 / (given.lds_subsets - 1) ** 0.5,
        "repeats": {"guide": repeatability(guide), "held_out": repeatability(held_out)},
        "estimators": {},
    }
    for name in given.lds_estimators:
        influence = _influence(loaded, pool, name)
        sums = np.array([influence[half].sum() for half in halves])
        found["estimators"][name] = {
            "guide": scored(sums, guide.mean(1)),
            "held_out": scored(sums, held_out.mean(1)),
        }
    path = retraining_path(config)
    session.forget()
    write_text(path, json.dumps(found, indent=1) + "\n")
    record_stage(config, "influence/retraining", found)
    log.info("%s\nwritten to %s", as_text(found), path)


def stratified_halves(
    y: Int[np.ndarray, " n"], count: int, *, seed: int
) -> Int[np.ndarray, "subset half"]:
    """Random halves of every class; equal class counts, or the class ratio would be the outcome."""
    rng = np.random.default_rng(seed)
    rows = [np.flatnonzero(y == label) for label in np.unique(y)]

    def half() -> np.ndarray:
        return np.sort(np.concatenate([rng.permutation(r)[: len(r) // 2] for r in rows]))

    return np.stack([half() for _ in range(count)])


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
        fits = [
            "{score:+.2f} [{low:+.2f}, {high:+.2f}]".format(**scores[rows])
            for rows in ("guide", "held_out")
        ]
        lines.append(f"{name:<14}{fits[0]:>24}{fits[1]:>24}")
    repeats = [found["repeats"][rows] for rows in ("guide", "held_out")]
    fits = ["-" if value is None else f"{value:.2f}" for value in repeats]
    lines.append(f"{'repeatability':<14}{fits[0]:>24}{fits[1]:>24}")
    return "\n".join(lines)


def _unguided(config: ExperimentConfig) -> ExperimentConfig:
    ratio = config.influence_report.lds_ratio
    return dataclasses.replace(
        config,
        guidance=dataclasses.replace(config.guidance, kind="none"),
        generation=dataclasses.replace(config.generation, ratio=ratio, counts=None),
    )


def _influence(loaded: Loaded, pool: LabelledSeries, name: str) -> np.ndarray:
    inputs = influence_inputs(loaded.config, loaded.splits, loaded.device)
    direction = (
        convex_guide(loaded.config, loaded.splits, loaded.device, pool).direction
        if name == "convex"
        else inputs.direction(configured_settings(loaded.config)).direction
    )
    title = f"influence of the pool ({name})"
    return score_all(direction, pool.x, pool.y, loaded.device, title=title).double().numpy()


def _outcomes(
    config: ExperimentConfig, loaded: Loaded, pool: LabelledSeries, halves: np.ndarray
) -> tuple[Outcomes, Outcomes]:
    """Minus the guidance loss of every retrained model, on the guidance rows and on val_select."""
    given, x, y = config.influence_report, pool.x.numpy(), pool.y.numpy()
    data = evaluation_data(loaded.splits, {})
    names = [f"half_{number}" for number in range(len(halves))]
    synthetic = {n: Series(x=x[half], y=y[half]) for n, half in zip(names, halves, strict=True)}
    # The guidance rows stand where an evaluation has its test rows.
    data = dataclasses.replace(data, test=data.guide, synthetic=synthetic)
    fits = [Fit("TSTR", n, None, given.lds_model, seed) for n in names for seed in given.lds_seeds]
    kind = resolve_kind(config.influence.guidance_loss, data.num_classes)
    loss = GuidanceLoss(kind, data.num_classes, config.influence.classes)

    def outcomes(*, on_select: bool) -> Outcomes:
        found = run_fits(
            fits,
            data,
            fitter=downstream(config, data.num_classes, loaded.splits.normaliser),
            cache=fit_cache(config),
            processes=fit_processes(config),
            on_select=on_select,
        )
        values = [-loss_of(found[fit], loss) for fit in fits]
        return np.array(values).reshape(len(names), len(given.lds_seeds))

    return outcomes(on_select=False), outcomes(on_select=True)
