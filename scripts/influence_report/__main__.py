"""Influence as a tool: which series of any labelled set help the classifier, and can it be trusted?

`python -m scripts.influence_report [config.yaml] [set=path|split] [key=value ...]` writes tables,
figures and one ranking per set to runs/<experiment>/influence_report/. It needs the classifier of
stage 2; the cost of guided sampling is measured where a diffusion model is there too. With
`lds=true` it asks instead whether influence predicts retraining (retraining.py).
"""

import logging
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import torch

from classifier.losses import per_sample_loss
from classifier.training import predict_logits
from configs.cli import run_stage
from configs.run_record import record_stage, run_dir, write_mapping
from configs.runtime.atomic_files import write_text
from configs.runtime.device import pick_device
from configs.runtime.errors import ConfigError
from configs.schema.evaluation import InfluenceReportConfig
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import load_splits
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import EncodedSeries
from scripts.from_config import asked_strength, changed, evaluation_data, fitting
from scripts.influence_report.figures import (
    curve_figure,
    distribution_figure,
    ends_figure,
    step_figure,
)
from scripts.influence_report.measures import (
    Row,
    class_guidance,
    distribution_rows,
    measured_steps,
    norm_rows,
    size_curve,
)
from scripts.influence_report.named_sets import RankedSet, named_sets
from scripts.influence_report.overhead import overhead, vector_seconds
from scripts.influence_report.retraining import as_text, retraining_scores
from scripts.influence_report.summary import markdown
from scripts.pictures.styles import save
from scripts.utility.protocols import EncodedArrays
from tardiff.from_config import direction_loader, load, pool_estimate, session_of
from tardiff.generation.pool import as_released
from tardiff.guidance.diagnostics import score_all
from tardiff.guidance.direction_loader import DirectionLoader
from tardiff.guidance.directions import Direction, Score
from tardiff.guidance.pool_estimate import PoolEstimate
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.one_step_check import StepTest
from tardiff.records_from_config import (
    decided_by,
    estimator_of,
    model_path,
    retraining_path,
    with_tuned_strength,
)

log = logging.getLogger(__name__)
FOLDER = "influence_report"
CLASSIFIER = "classifier"  # among the estimators: the model of stage 2
POOL_RATIO = 4.0  # unguided series per training series that the retraining test draws on


def main(config: ExperimentConfig) -> None:
    """Writes runs/<experiment>/influence_report/, or tests the estimators against retraining."""
    if config.influence_report.lds:
        retraining_test(config)
        return
    given, folder = config.influence_report, run_dir(config) / FOLDER
    if config.influence.vector is not None:
        raise ConfigError(
            "influence.vector: the report measures G on the guidance rows, which an exported G "
            "leaves behind; run it where they are"
        )
    inputs = direction_loader(config, load_splits(config.data), pick_device(config.accelerator))
    named = named_sets(given.sets, inputs.splits, step_minutes=config.data.step_minutes)
    loaded = inputs.direction()
    direction, facts = loaded.direction, loaded.facts
    assert isinstance(direction, Direction)  # of a network
    sets = [_ranked(inputs, direction, name, *pair) for name, pair in named.items()]
    # Of the report before, which may have been of other sets, or have shown patients.
    for path in (*folder.glob("influence_*.csv"), *folder.glob("*.png")):
        path.unlink()
    for ranked in sets:
        text = ranked.table.to_csv(index=False, float_format="%.6g")
        write_text(folder / f"influence_{ranked.name}.csv", text)
    step, tables = _measure(given, inputs, sets)
    cost = _overhead(config, inputs, direction, sets[0])
    page = markdown(config.experiment, facts, tables, step, cost, sets)
    write_text(folder / "report.md", page)
    proof = {"spearman": step.spearman, "slope": step.slope, "sign_agreement": step.sign_agreement}
    numbers = {"guidance": facts, "one_step": proof, "overhead": cost, **tables}
    write_mapping(folder / "report.json", numbers)
    _draw(config, folder, sets, step, tables["guidance_size"])
    record_stage(config, FOLDER, {"sets": list(named), "one_step": proof})
    log.info("%s", page)
    log.info("written to %s", folder)


def retraining_test(config: ExperimentConfig) -> None:
    """Writes runs/<experiment>/influence/retraining.json, which stage 3 heeds."""
    given = config.influence_report
    pool_of = {"ratio": POOL_RATIO, "counts": None}
    loaded = load(changed(config, guidance={"kind": "none"}, generation=pool_of))
    config = with_tuned_strength(config, loaded.splits.fingerprint)
    influence, place = config.influence, (loaded.splits, loaded.device)
    known: dict[str, Score] = {}
    if CLASSIFIER in given.lds_estimators:  # a missing one is told before a pool is sampled
        known[CLASSIFIER] = direction_loader(config, *place).direction().direction
    session = session_of(loaded)
    pool = as_released(session.unguided, loaded.splits)
    data = evaluation_data(loaded.splits, {})

    @cache
    def estimate(name: str) -> PoolEstimate:
        return pool_estimate(changed(config, influence={"estimator": name}), *place, lambda: pool)

    def direction(name: str) -> Score:
        return known[name] if name in known else estimate(name).direction

    found = retraining_scores(
        EncodedArrays(x=pool.x.numpy(), y=pool.y.numpy()),
        {
            name: _influence(
                direction(name), pool, loaded.device, f"influence of the pool ({name})"
            )
            for name in given.lds_estimators
        },
        data,
        model=given.lds_model or config.evaluation.models[0],
        subsets=given.lds_subsets,
        w=asked_strength(config, lambda: estimate(estimator_of(config))),
        seeds=given.lds_seeds,
        loss=GuidanceLoss(influence.guidance_loss, data.num_classes, influence.classes),
        run=fitting(config, data.num_classes, loaded.splits.normaliser),
        seed=config.seed,
        patients={
            "guide": loaded.splits.val_guide.subject_ids,
            "held_out": loaded.splits.val_select.subject_ids,
        },
    )
    fingerprint, asked = loaded.splits.fingerprint, config.guidance.w
    found = {"data_fingerprint": fingerprint, "asked": asked, **found}
    for name, scores in found["estimators"].items():
        tested = changed(config, influence={"estimator": name})
        scores["decided_by"] = decided_by(tested, fingerprint)
    path = retraining_path(config)
    write_mapping(path, found)
    record_stage(config, "influence/retraining", found)
    session.forget()
    log.info("%s\nwritten to %s", as_text(found), path)


def _influence(
    direction: Score, rows: EncodedSeries, device: torch.device, title: str
) -> np.ndarray:
    """Of each series."""
    return score_all(direction, rows.x, rows.y, device, title=title).double().numpy()


def _ranked(
    inputs: DirectionLoader, direction: Score, name: str, real: bool, data: EHRDataset
) -> RankedSet:
    rows = inputs.series(data)
    scores = _influence(direction, rows, inputs.device, f"influence of {name}")
    losses = per_sample_loss(predict_logits(inputs.classifier(), rows.x), rows.y)
    return RankedSet(name, real, data, scores, losses.numpy())


def _measure(
    given: InfluenceReportConfig, inputs: DirectionLoader, sets: Sequence[RankedSet]
) -> tuple[StepTest, dict[str, list[Row]]]:
    """The one-step test on the first set, and every table."""
    series = {ranked.name: inputs.series(ranked.data) for ranked in sets}
    first, names = series[sets[0].name], inputs.splits.train.label_names
    step = measured_steps(inputs, first, rows=given.step_rows)
    cosines, influences = class_guidance(inputs, series)
    guide = {"val_guide": inputs.series(inputs.splits.val_guide)}
    norms = [
        row
        for name, rows in (guide | series).items()
        for row in norm_rows(inputs.classifier(), name, rows, names)
    ]
    return step, {
        "gradient_norms": norms,
        "distribution": [row for ranked in sets for row in distribution_rows(ranked)],
        "class_cosines": cosines,
        "class_influence": influences,
        "guidance_size": size_curve(inputs, first, sizes=given.guide_sizes),
    }


def _overhead(
    config: ExperimentConfig, inputs: DirectionLoader, direction: Direction, ranked: RankedSet
) -> Row | str:
    """The costs, or why sampling could not be timed."""
    model = model_path(config)
    if not model.is_file():
        return f"Not measured: no diffusion model at {model} (bash train.sh makes it)."
    return {
        "vector_seconds": vector_seconds(inputs),
        **overhead(session_of(load(config)), direction, ranked),
    }


def _draw(
    config: ExperimentConfig,
    folder: Path,
    sets: Sequence[RankedSet],
    step: StepTest,
    curve: list[Row],
) -> None:
    hours = config.data.step_minutes / 60
    save(distribution_figure(sets), folder / "distribution.png")
    save(step_figure(step), folder / "one_step.png")
    if curve:
        save(curve_figure(curve), folder / "guidance_size.png")
    for ranked in sets:
        if config.evaluation.show_real_series or not ranked.real:
            save(ends_figure(ranked, hours), folder / f"series_{ranked.name}.png")
        else:
            log.info("%s holds patients: not drawn (evaluation.show_real_series=true)", ranked.name)


if __name__ == "__main__":
    run_stage(main)
