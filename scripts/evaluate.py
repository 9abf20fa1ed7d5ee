"""Stage 4 entry: utility, fidelity and privacy of synthetic sets as tables, files and a report.

    bash evaluate.sh [config.yaml] [key=value ...]

Everything is computed into one Results object, which is written and printed before the first figure
is drawn.
"""

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifier.train import checkpoint_path
from configs import to_plain
from configs.cli import run_stage
from configs.run_record import record_stage, run_dir
from configs.schema.evaluation import EvaluationConfig
from configs.schema.experiment import DataConfig, ExperimentConfig
from data_preprocess.build import load_splits, load_true_risk
from data_preprocess.dataset import EHRDataset
from data_preprocess.splits import Splits
from scripts.from_config import (
    documents,
    evaluation_data,
    evaluation_processes,
    fitting,
    generator_report,
    guided_as,
    influence,
    influence_weights,
    other_influence,
)
from scripts.pictures.guidance_change import guidance_change
from scripts.quality.common.registry import KINDS, MEMBERS, PRIVACY, PUBLISHED
from scripts.quality.held_out_copies import held_out_copies, sentence, sentence_of_nearness
from scripts.quality.suite import SetScores, require_scorable, score_sets
from scripts.report.build import build_page
from scripts.report.write import write_page
from scripts.results.cautions import cautions
from scripts.results.files import (
    LEGEND,
    heading,
    verdict_lines,
    wrapped,
    write_guidance_change,
    write_results,
    write_summary,
)
from scripts.results.quality_answers import not_attacked
from scripts.results.quality_tables import generator_table, quality_tables
from scripts.results.results import Results, how_made
from scripts.results.score_tables import difference_tables, score_tables, testing_table
from scripts.results.table import Table
from scripts.synthetic_sets import (
    copies_of_unguided,
    find_sets,
    load_set,
    origin_notes,
    without_counterpart,
)
from scripts.utility import beside_linear, loss_change
from scripts.utility.bootstrap import enough_resamples, fewest_patients
from scripts.utility.downstream import TASK_CLASSIFIER, bare_name
from scripts.utility.fits import upper_bound
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import EvaluationData, Fit, plan_fits
from scripts.utility.subgroups import subgroup_scores
from scripts.utility.summary import UNGUIDED, Summary, summarise
from scripts.utility.synthetic_testing import AurocError, auroc_errors
from scripts.utility.training_rows import REWEIGHTED
from tardiff.generation.artefacts import tuning_record
from tardiff.generation.counterpart import made_with
from tardiff.records_from_config import (
    model_digest,
    model_path,
    other_settings,
    retraining_score,
    tuning_path,
)

logger = logging.getLogger(__name__)


def main(config: ExperimentConfig) -> None:
    """Makes every fit that is not done yet and writes runs/<experiment>/<evaluation.dir>/.

    Raises:
        UserError: data or sets are missing or do not fit each other, or a set is too small.
    """
    chosen, folder = config.evaluation, run_dir(config)
    splits = load_splits(config.data)
    asked = _needs_sets(chosen, folder / "synthetic")
    files = find_sets(chosen.synthetic, folder / "synthetic") if asked else {}
    results = _results(config, splits, files)
    out = folder / chosen.dir
    if (out / "report.html").is_file():
        logger.info("\nreplacing the report in %s; evaluation.dir=NAME would keep it", out)
    derived = [out / name for name in ("guidance_change.csv", "report.html", "report.md")]
    for path in (*derived, *out.glob("*.png")):  # of the results before
        path.unlink(missing_ok=True)
    write_results(out / "results.csv", results)
    write_summary(out / "summary.json", results)
    if results.guidance_change is not None:
        write_guidance_change(out / "guidance_change.csv", results.guidance_change)
    notes = wrapped([*LEGEND, *results.provenance["notes"]])
    logger.info("\n%s\n\n%s", notes, verdict_lines(results))
    logger.info("\nnumbers  %s, %s", out / "results.csv", out / "summary.json")
    figures = write_page(out, build_page(results))
    logger.info("report   %s (the same as report.md)", out / "report.html")
    logger.info("figures  %d PNG files in %s", len(figures), out)
    record_stage(config, chosen.dir, dict(results.provenance))


@dataclass(frozen=True)
class _Given:
    """The sets to evaluate, read and checked.

    Attributes:
        sets: name -> series; those that hold the unguided series again are left out.
        made: name -> how it was made.
        coupled: guided set -> record of its guidance, where the unguided set is its counterpart.
        kinds: what is measured besides utility.
        members: the splits that attacks may look for.
        facts: of the provenance.
        notes: sentences that a reader must not miss.
    """

    sets: Mapping[str, EHRDataset]
    made: Mapping[str, Mapping[str, Any]]
    coupled: Mapping[str, Mapping[str, Any]]
    kinds: Sequence[str]
    members: Sequence[str]
    facts: Mapping[str, Any]
    notes: Sequence[str]


@dataclass(frozen=True)
class _Utility:
    """What the downstream models found.

    Attributes:
        predictions, summaries, testing: as of Results.
        facts, notes: as of `_Given`.
    """

    predictions: Mapping[Fit, Predictions]
    summaries: Sequence[Summary]
    testing: Sequence[AurocError]
    facts: Mapping[str, Any]
    notes: Sequence[str]


def _results(config: ExperimentConfig, splits: Splits, files: Mapping[str, Path]) -> Results:
    """Everything that is computed; prints the tables as they come."""
    chosen, hours = config.evaluation, config.data.step_minutes / 60
    given = _load(config, splits, files)
    data = evaluation_data(splits, given.sets)
    if REWEIGHTED in chosen.baselines:
        data = dataclasses.replace(data, train_weights=influence_weights(config, splits))
    utility = _utility(config, splits, given, data)
    quality, near = _quality(config, splits, given)
    generator = generator_report(config, splits) if "train" in given.members else None
    _print([] if generator is None else [generator_table(generator)])
    as_guided = guided_as(config, given.made)
    scored = influence(as_guided, splits, data.synthetic) if given.sets else "there is no set"
    notes = [*given.notes, *utility.notes, *near]
    return Results(
        provenance={**given.facts, **utility.facts, "notes": notes},
        predictions=utility.predictions,
        summaries=utility.summaries,
        subgroups=subgroup_scores(
            utility.predictions, splits.test, resamples=utility.facts["resamples"]
        ),
        testing=utility.testing,
        quality=quality,
        generator=generator,
        guided=[name for name, known in given.made.items() if known.get("guidance")],
        retraining=retraining_score(as_guided, splits.fingerprint),
        influence=scored,
        guidance_change=guidance_change(
            splits.train,
            given.sets.get(UNGUIDED),
            {name: given.sets[name] for name in given.coupled},
            scored,
            realised={name: record["realised"] for name, record in given.coupled.items()},
            hours_per_step=hours,
        ),
        tuning=tuning_record(tuning_path(config), splits.fingerprint, model_digest(config)),
        made_with=how_made(chosen.seeds, splits, given.sets),
        documents=documents(config, files),
        splits=splits,
        synthetic=given.sets,
        data=data,
        hours_per_step=hours,
    )


def _load(config: ExperimentConfig, splits: Splits, files: Mapping[str, Path]) -> _Given:
    """The sets; warns of what makes their numbers doubtful."""
    chosen, step = config.evaluation, config.data.step_minutes
    found = {name: load_set(path, splits, step_minutes=step) for name, path in files.items()}
    same = copies_of_unguided(found)
    sets = {name: dataset for name, dataset in found.items() if name not in same}
    members = _members(config.data) if chosen.privacy else []
    kinds = [k for k in (*KINDS, PUBLISHED) if getattr(chosen, k) and (k != PRIVACY or members)]
    require_scorable(splits, sets, kinds, members)
    copies = held_out_copies(splits, sets)
    made = {name: made_with(files[name]) for name in sets}
    apart = without_counterpart(made)
    guidance = {name: known["guidance"] for name, known in made.items() if known.get("guidance")}
    files_of = {"model": model_path(config), "classifier": checkpoint_path(config)}
    origins = origin_notes(made, apart, experiment=config.experiment, **files_of)
    warnings = [
        f"{name}: {sentence(found_in)} Nothing that is measured on this set holds."
        for name, found_in in copies.items()
    ]
    evaluated = TASK_CLASSIFIER in map(bare_name, chosen.models)
    warnings += other_settings(config, of_classifier=evaluated) + other_influence(config, made)
    _warn(warnings)
    facts = {"members": members, "same_as_unguided": same, "held_out_copies": copies}
    return _Given(
        sets,
        made,
        {name: record for name, record in guidance.items() if name not in apart},
        kinds,
        members,
        _provenance(config, splits, sets) | facts,
        [
            *cautions(
                list(sets),
                same,
                num_seeds=len(chosen.seeds),
                simulated=config.data.source == "simulated",
                unknown=not_attacked(members) if chosen.privacy else "",
            ),
            *origins,
            *warnings,
        ],
    )


def _utility(
    config: ExperimentConfig, splits: Splits, given: _Given, data: EvaluationData
) -> _Utility:
    """Makes every fit and prints the scores."""
    chosen = config.evaluation
    run = fitting(config, data.num_classes, splits.normaliser)
    fits = plan_fits(
        protocols=chosen.protocols,
        generators=list(data.synthetic),
        ratios=chosen.ratios,
        models=chosen.models,
        seeds=chosen.seeds,
        baselines=chosen.baselines,
    )
    predictions = run(fits, data)
    real = [fit for fit in fits if fit.protocol == "TRTR"]
    beside = beside_linear.compare_with_linear(
        run(real, data, on_select=True), data, splits.val_select.subject_ids
    )
    logger.info("%s", beside_linear.as_text(beside))
    predictions |= upper_bound(load_true_risk(config.data), data, chosen.models)
    resamples = enough_resamples(chosen.bootstrap, len(given.sets))
    summaries = summarise(predictions, splits.test.subject_ids, resamples=resamples)
    facts = {
        "beside_linear": {name: dataclasses.asdict(found) for name, found in beside.items()},
        "resamples": resamples,
        "guidance_loss": loss_change.changes(predictions, given.coupled, data.num_classes),
    }
    logger.info("\n%s", wrapped([heading({**given.facts, **facts})]))
    testing = auroc_errors(predictions, splits.test, given.sets, seed=chosen.seeds[0])
    tables = score_tables(summaries) + difference_tables(summaries)
    _print(tables + ([testing_table(testing)] if testing else []))
    if facts["guidance_loss"]:
        logger.info("\n%s", loss_change.as_text(facts["guidance_loss"]))
    return _Utility(predictions, summaries, testing, facts, beside_linear.warnings(beside))


def _quality(
    config: ExperimentConfig, splits: Splits, given: _Given
) -> tuple[SetScores, list[str]]:
    """Measures the sets beside the real series and prints it; and what it warned of."""
    quality = score_sets(
        splits,
        given.sets,
        given.kinds,
        seed=config.evaluation.seeds[0],
        cache=run_dir(config) / "evaluation" / "sets",
        members=given.members,
        processes=evaluation_processes(config),
    )
    _print(quality_tables(quality))
    near = [
        f"{name}: {found} What is measured on this set need not hold."
        for name, report in quality.get(PRIVACY, {}).items()
        if (found := sentence_of_nearness(report))
    ]
    _warn(near)
    return quality, near


def _members(data: DataConfig) -> list[str]:
    """The splits whose series a generator sees and that are of the population of the test stays:
    an attack tells members from others of their population."""
    rules = {"train": data.train_where, "val_guide": data.guide_where}
    return [split for split in MEMBERS if rules[split] == data.test_where]


def _needs_sets(evaluation: EvaluationConfig, folder: Path) -> bool:
    """False where only real-only training is asked for and there is no set to look at."""
    if set(evaluation.protocols) != {"TRTR"} or evaluation.synthetic:
        return True
    looked_at = evaluation.fidelity or evaluation.privacy or evaluation.published
    return looked_at and any(folder.glob("*.npz"))


def _provenance(
    config: ExperimentConfig, splits: Splits, sets: Mapping[str, EHRDataset]
) -> dict[str, Any]:
    """What the numbers rest on, JSON-able."""
    return {
        "experiment": config.experiment,
        "data_fingerprint": splits.fingerprint,
        "label_names": list(splits.train.label_names),
        "real_series_per_class": {k: v.class_counts.tolist() for k, v in splits.items()},
        "fewest_test_patients": fewest_patients(splits.test.subject_ids, splits.test.labels),
        "synthetic_series_per_class": {k: v.class_counts.tolist() for k, v in sets.items()},
        "settings": to_plain(config)["evaluation"],
    }


def _warn(notes: Sequence[str]) -> None:
    for note in notes:
        logger.warning("%s", note)


def _print(tables: Sequence[Table]) -> None:
    for table in tables:
        logger.info("\n%s", table.as_text())


if __name__ == "__main__":
    run_stage(main)
