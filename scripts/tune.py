"""Tuning: chooses guidance.w and sampler.cfg_scale on val_select and records the whole curve.

    bash scripts/tune.sh [config.yaml] [key=value ...]

Every strength of the grid makes a set from the same noise; a model trained on it (TSTR, and TSRTR
with as many synthetic rows as real ones) is scored on val_select, never on test. The candidate of
the best mean is chosen among the non-negative strengths, 0 included; negative ones are controls.
The fits are kept with those of the evaluation, which need not be made again for the same sets.
"""

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs import to_plain
from configs.cli import run_stage
from configs.run_record import record_stage, write_mapping
from configs.runtime.errors import ConfigError
from configs.schema.experiment import ExperimentConfig
from data_preprocess.splits import Splits
from data_preprocess.storage.dataset_files import load_extra
from scripts.from_config import changed, evaluation_data, fitting
from scripts.pictures.strength_curve import scale_figure
from scripts.pictures.styles import save
from scripts.results.table import Table
from scripts.synthetic_sets import load_set
from scripts.utility.metrics import METRICS, RANKING, point_scores
from scripts.utility.protocols import plan_fits
from tardiff.from_config import Loaded, load, session_of
from tardiff.generate import is_current, write_generated
from tardiff.generation.session import GenerationSession
from tardiff.records_from_config import decided_by, model_digest, tuning_path

log = logging.getLogger(__name__)


Candidate = dict[str, Any]  # set (its name), w, cfg_scale, and realised: the shift per class


def main(config: ExperimentConfig) -> None:
    """Writes runs/<experiment>/tuning/scale.json and its figure; prints the choice."""
    candidates, splits = generate_grid(config)
    scores = score_candidates(config, candidates, splits)
    content = summarise_candidates(config, candidates, scores) | {
        "data_fingerprint": splits.fingerprint,
        "model": model_digest(config),
        "decided_by": decided_by(config, splits.fingerprint),
    }
    path = tuning_path(config)
    write_mapping(path, content)
    save(scale_figure(content), path.with_suffix(".png"))
    record_stage(config, "tuning", {"chosen": content["chosen"]})
    log.info("%s", as_text(content))
    log.info("curve    %s\nfigure   %s", path, path.with_suffix(".png"))


def generate_grid(config: ExperimentConfig) -> tuple[list[Candidate], Splits]:
    """The sets of every (cfg_scale, w), from the same noise; w = 0 is unguided.

    Raises:
        ConfigError: no guidance, Algorithm 1 as printed, or sets smaller than tuning.protocols
            needs.
    """
    if config.compat == "paper":
        raise ConfigError(
            "compat=paper: tuning compares strengths guidance.w, and Algorithm 1 as printed has "
            "its own, guidance.paper_w; leave compat out"
        )
    if config.guidance.kind == "none" and any(config.tuning.w):
        raise ConfigError(
            "guidance=none: tuning compares strengths of guidance, and there is none; leave it out "
            "(the grid holds the unguided set), or give tuning.w=[0]"
        )
    generation = config.generation
    if "TSRTR" in config.tuning.protocols and not generation.counts and generation.ratio < 1:
        raise ConfigError(
            f"generation.ratio={generation.ratio:g}: TSRTR of tuning adds as many synthetic series "
            "as there are real ones; give at least 1, or tuning.protocols=[TSTR]"
        )
    folder, candidates = sets_folder(config), []
    loaded = load(with_strength(config, 1.0, config.tuning.cfg_scale[0]))
    # Lazy: what the set of no strength needs is never computed if all sets are there.
    session = session_of(loaded)
    for cfg_scale in config.tuning.cfg_scale:
        session = dataclasses.replace(session, cfg_scale=cfg_scale)
        for w in sorted(config.tuning.w):
            asked = with_strength(loaded.config, w, cfg_scale)
            wanted = dataclasses.replace(loaded, config=asked)
            name = candidate_name(w, cfg_scale)
            path = folder / f"{name}.npz"
            if not is_current(path, wanted):
                _write_candidate(session, wanted, path)
            guidance = load_extra(path)["guidance"]
            shifts = guidance["realised"] if guidance else [0.0] * loaded.splits.train.num_classes
            candidates.append({"set": name, "w": w, "cfg_scale": cfg_scale, "realised": shifts})
    session.forget()
    return candidates, loaded.splits


def _write_candidate(session: GenerationSession, wanted: Loaded, path: Path) -> None:
    w = float(wanted.config.guidance.w)
    made, outcome = session.guided(w, path.stem) if w else (session.unguided, None)
    write_generated(wanted, path.stem, made, outcome, path.parent)


def sets_folder(config: ExperimentConfig) -> Path:
    """Where the sets of the grid are."""
    return tuning_path(config).parent / "sets"


def with_strength(config: ExperimentConfig, w: float, cfg_scale: float) -> ExperimentConfig:
    """`config` with this strength; 0 is no guidance at all."""
    kind = config.guidance.kind if w else "none"
    return changed(config, sampler={"cfg_scale": cfg_scale}, guidance={"kind": kind, "w": w})


def candidate_name(w: float, cfg_scale: float) -> str:
    """File and table name of a candidate, such as guided_w0.5_cfg2."""
    kind = f"guided_w{w:g}" if w else "unguided"
    return kind if cfg_scale == 1 else f"{kind}_cfg{cfg_scale:g}"


def score_candidates(
    config: ExperimentConfig, candidates: Sequence[Candidate], splits: Splits
) -> dict[tuple[str, str], np.ndarray]:
    """(set, protocol) -> (seeds, metrics) scores on val_select."""
    tuning, step = config.tuning, config.data.step_minutes
    names = [candidate["set"] for candidate in candidates]
    paths = {name: sets_folder(config) / f"{name}.npz" for name in names}
    sets = {k: load_set(path, splits, step_minutes=step) for k, path in paths.items()}
    data = evaluation_data(splits, sets)
    fits = plan_fits(
        protocols=tuning.protocols,
        generators=list(sets),
        ratios=[1.0],
        models=[tuning.model],
        seeds=tuning.seeds,
    )
    run = fitting(config, data.num_classes, splits.normaliser)
    grouped: dict[tuple[str, str], list[list[float]]] = {}
    for fit, predictions in run(fits, data, on_select=True).items():
        values = point_scores(predictions)
        key = fit.generator, fit.protocol
        grouped.setdefault(key, []).append([values[metric] for metric in RANKING])
    return {key: np.array(rows) for key, rows in grouped.items()}


def summarise_candidates(
    config: ExperimentConfig,
    candidates: Sequence[Candidate],
    scores: dict[tuple[str, str], np.ndarray],
) -> dict[str, Any]:
    """The curve and the choice, JSON-able."""
    protocols = config.tuning.protocols
    points = []
    for candidate in candidates:
        per_protocol = {name: scores[candidate["set"], name] for name in protocols}
        mean = _stats(np.mean(list(per_protocol.values()), axis=0))
        own = {"protocols": {name: _stats(rows) for name, rows in per_protocol.items()}}
        points.append(candidate | mean | own)
    best = choose(points)
    return {
        "selection": "val_select",
        "seeds": list(config.tuning.seeds),
        "points": points,
        "chosen": {key: best[key] for key in ("set", "w", "cfg_scale")},
        "settings": to_plain(config)["tuning"],
    }


def choose(points: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The point of the best mean AUROC among w >= 0; of equals the weaker guidance."""
    candidates = [point for point in points if point["w"] >= 0]
    return max(candidates, key=lambda p: (p["auroc"], -p["w"], -p["cfg_scale"]))


def _stats(rows: np.ndarray) -> dict[str, float | None]:
    values: dict[str, float | None] = {}
    for index, metric in enumerate(RANKING):
        values[metric] = float(rows[:, index].mean())
        values[f"{metric}_sd"] = float(rows[:, index].std(ddof=1)) if len(rows) > 1 else None
    return values


def as_text(content: dict[str, Any]) -> str:
    """The curve as a table and the choice as the arguments that use it."""
    title = (
        f"scores on val_select, mean over {', '.join(content['settings']['protocols'])} and "
        f"{len(content['seeds'])} seeds"
    )
    rows = [
        [f"{p['w']:g}", f"{p['cfg_scale']:g}", *(f"{p[metric]:.3f}" for metric in RANKING)]
        + [" ".join(f"{shift:+.2f}" for shift in p["realised"])]
        for p in content["points"]
    ]
    columns = ["w", "cfg", *(METRICS[metric] for metric in RANKING), "realised per class"]
    chosen = content["chosen"]
    return (
        f"{Table(title, columns, rows).as_text()}\n"
        f"chosen by AUROC: guidance.w={chosen['w']:g} "
        f"sampler.cfg_scale={chosen['cfg_scale']:g}   "
        "(or guidance.w=tuned sampler.cfg_scale=tuned)"
    )


if __name__ == "__main__":
    run_stage(main)
