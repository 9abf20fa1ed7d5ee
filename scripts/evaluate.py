"""Stage 4 entry: judges synthetic sets by the models they train, writes tables and figures."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from classifier.train import recipe_of
from configs import to_plain
from configs.cli import run_stage
from configs.run_record import record_stage, run_dir
from configs.runtime.shards import share
from configs.schema.evaluation import EvaluationConfig
from configs.schema.experiment import ExperimentConfig
from data_preprocess.build import load_splits
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.encoding import encode
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits
from scripts.quality.suite import KINDS, score_sets
from scripts.report.build import build_page
from scripts.report.page import Page
from scripts.report.write import write_page
from scripts.results.files import as_text, write_results, write_summary
from scripts.results.results import Findings
from scripts.synthetic_sets import find_sets
from scripts.utility.downstream import Downstream
from scripts.utility.feature_models import FITS
from scripts.utility.fits import run_cells
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import Cell, EvaluationData, Series, plan_cells, require_enough
from scripts.utility.subgroups import subgroup_scores
from scripts.utility.summary import UNGUIDED, summarise

ENOUGH_SEEDS = 5

logger = logging.getLogger(__name__)


def main(config: ExperimentConfig) -> None:
    """Fits every cell that is not done yet and writes runs/<experiment>/<evaluation.dir>/.

    Raises:
        UserError: data or sets are missing or do not fit each other, or a set is too small.
    """
    splits = load_splits(config.data)
    folder = run_dir(config)
    sets = {}
    if _needs_sets(config.evaluation, folder / "synthetic"):
        sets = find_sets(
            config.evaluation.synthetic,
            folder / "synthetic",
            splits,
            step_minutes=config.data.step_minutes,
        )
    data = evaluation_data(splits, sets)
    results = _fit_all(config, data, splits.normaliser)
    if config.evaluation.shard is not None:
        i, n = share("evaluation.shard", config.evaluation.shard)
        if n > 1:
            logger.info(
                "share %d/%d is fitted; when all are, run the same command without "
                "evaluation.shard",
                i,
                n,
            )
            return
    summaries = summarise(
        results,
        splits.test.subject_ids,
        resamples=config.evaluation.bootstrap,
        confidence=config.evaluation.confidence,
    )
    subgroups = subgroup_scores(
        results,
        splits.test,
        resamples=config.evaluation.bootstrap,
        confidence=config.evaluation.confidence,
    )
    kinds = [kind for kind in KINDS if getattr(config.evaluation, kind)]
    seed = config.evaluation.seeds[0]
    scores = score_sets(splits, sets, kinds, seed=seed, cache=folder / "evaluation" / "sets")
    facts = _facts(config, splits, sets)
    findings = Findings(
        results=results, summaries=summaries, subgroups=subgroups, scores=scores, facts=facts
    )
    page = build_page(config, splits, sets, data, findings)
    _show(folder / config.evaluation.dir, findings, page)
    record_stage(config, config.evaluation.dir, facts)


def _needs_sets(evaluation: EvaluationConfig, folder: Path) -> bool:
    """False where only real-only training is asked for and there is no set to look at."""
    if set(evaluation.protocols) != {"TRTR"}:
        return True
    looked_at = evaluation.fidelity or evaluation.privacy
    return looked_at and bool(evaluation.synthetic or list(folder.glob("*.npz")))


def evaluation_data(splits: Splits, sets: Mapping[str, EHRDataset]) -> EvaluationData:
    """The rows of all cells in model space."""

    def series(dataset: EHRDataset) -> Series:
        return Series(x=encode(splits.normaliser, dataset).numpy(), y=dataset.labels)

    return EvaluationData(
        train=series(splits.train),
        guide=series(splits.val_guide),
        select=series(splits.val_select),
        test=series(splits.test),
        synthetic={name: series(dataset) for name, dataset in sets.items()},
        num_classes=splits.train.num_classes,
        num_values=splits.train.num_channels,
    )


def notes_on(config: ExperimentConfig, sets: Mapping[str, EHRDataset]) -> list[str]:
    """Sentences a reader must not miss."""
    notes = []
    if sets and UNGUIDED not in sets:
        notes.append(
            f"No set is called {UNGUIDED!r}, so no difference to unguided generation can be shown. "
            "Make one with `bash generation.sh <config.yaml> guidance=none`."
        )
    seeds = len(config.evaluation.seeds)
    if seeds == 1:
        notes.append(
            "One seed: intervals and p-values cover the test stays only, not how much a model "
            "depends on its initial weights. Give several evaluation.seeds before claiming more."
        )
    elif seeds < ENOUGH_SEEDS:
        notes.append(
            f"{seeds} seeds: how much fits vary is hardly known, so intervals of differences are "
            f"wide. Give at least {ENOUGH_SEEDS} evaluation.seeds before claiming a gain or none."
        )
    return notes


def _fit_all(
    config: ExperimentConfig, data: EvaluationData, normaliser: Normaliser
) -> dict[Cell, Predictions]:
    chosen = config.evaluation
    cells = plan_cells(
        protocols=chosen.protocols,
        generators=list(data.synthetic),
        ratios=chosen.ratios,
        models=chosen.models,
        seeds=chosen.seeds,
        without_steps=FITS,
        baselines=chosen.baselines,
    )
    require_enough(cells, data)
    fitter = downstream(config, data.num_classes, normaliser)
    _, in_channels, length = data.train.x.shape
    fitter.check(chosen.models, in_channels=in_channels, length=length)
    cache = cell_cache(config)
    mine = share("evaluation.shard", chosen.shard)
    return run_cells(cells, data, fitter=fitter, cache=cache, workers=chosen.workers, share=mine)


def cell_cache(config: ExperimentConfig) -> Path:
    """Where an experiment keeps its fits, whatever table they are for."""
    return run_dir(config) / "evaluation" / "cells"


def downstream(config: ExperimentConfig, num_classes: int, normaliser: Normaliser) -> Downstream:
    """The downstream models, trained as the experiment's task classifier is."""
    chosen = config.classifier
    return Downstream(
        model=chosen.model,
        model_args=chosen.model_args,
        recipe=recipe_of(chosen),
        num_classes=num_classes,
        normaliser=normaliser,
        inputs=tuple(chosen.inputs),
        clinical=chosen.input_space == "clinical",
    )


def _facts(
    config: ExperimentConfig,
    splits: Splits,
    sets: Mapping[str, EHRDataset],
) -> dict[str, Any]:
    counted = {"train": splits.train, "val_select": splits.val_select, "test": splits.test}
    return {
        "experiment": config.experiment,
        "data_fingerprint": splits.fingerprint,
        "label_names": list(splits.train.label_names),
        "real_stays_per_class": {k: v.class_counts.tolist() for k, v in counted.items()},
        "synthetic_stays_per_class": {k: v.class_counts.tolist() for k, v in sets.items()},
        "settings": to_plain(config)["evaluation"],
        "notes": notes_on(config, sets),
    }


def _show(folder: Path, findings: Findings, page: Page) -> None:
    """Writes every file of `folder`, then prints the tables and where the files are."""
    write_results(folder / "results.csv", findings)
    write_summary(folder / "summary.json", findings, page.verdicts)
    confidence = findings.facts["settings"]["confidence"]
    figures = write_page(folder, page, confidence=confidence)
    logger.info("\n%s", as_text(findings, page.verdicts))
    logger.info("\nreport   %s (the same as report.md)", folder / "report.html")
    logger.info("numbers  %s, %s", folder / "results.csv", folder / "summary.json")
    logger.info("figures  %d PNG files in %s", len(figures), folder)


if __name__ == "__main__":
    run_stage(main)
