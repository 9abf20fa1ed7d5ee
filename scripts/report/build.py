"""build_page: results -> the content of the report, in reading order."""

from collections.abc import Mapping, Sequence
from typing import Any

from scripts.pictures.distances import distance_picture
from scripts.pictures.distributions import distribution_picture
from scripts.pictures.embedding import embedding_picture
from scripts.pictures.examples import example_picture
from scripts.pictures.guidance_change import guidance_change_picture
from scripts.pictures.influence import influence_picture
from scripts.pictures.scores import score_pictures
from scripts.pictures.strength_curve import scale_figure, scale_points
from scripts.pictures.styles import Picture, Styles, time_axis
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import FIDELITY, MEMBERS, PRIVACY, PUBLISHED
from scripts.report.write import Page, Section
from scripts.results.answers import CANNOT_TELL, NO, NO_LEAK_FOUND
from scripts.results.files import LEGEND, any_of, heading
from scripts.results.quality_answers import not_attacked
from scripts.results.quality_tables import flag_table, generator_table, quality_tables
from scripts.results.results import SETTINGS, Results
from scripts.results.score_tables import (
    difference_tables,
    score_tables,
    subgroup_table,
    testing_table,
)
from scripts.results.table import Table
from scripts.results.verdicts import Verdict, verdicts
from scripts.utility.subgroups import MIN_PER_CLASS, SubgroupScore
from scripts.utility.summary import select

MEASURED_AGAINST = {
    FIDELITY: "Measured against held-out series. The row of real series is what a perfect "
    "generator would score. docs/metrics.md explains every metric.",
    PRIVACY: "Measured as the difference between series that the generator could learn from and "
    "held-out series. No quality flag is no guarantee.",
}
ABOUT_GENERATOR = (
    "The white-box attack reads the diffusion model, not a set: it says what publishing the model "
    "would give away to this attack; others may find more. Resampling reads the training series "
    "once more, and guidance reads the guidance series, which this attack does not look at."
)
ABOUT_PUBLISHED = (
    "The scores of TimeGAN stand here for comparison with other papers. The discriminator AUC and "
    "the forecast error ratio decide in their place: |0.5 - accuracy| is 0, its best value, for a "
    "discriminator that learnt nothing, and the predictive score sees one channel."
)
ABOUT_TESTING = (
    "May a model be tested on synthetic series? Mean absolute error of the AUROC of models trained "
    "on real series: on the whole set, and on so many real test series drawn at random. Groups are "
    f"those of age, sex or another code with {MIN_PER_CLASS} patients of every class in test and "
    "set; a set knows them if it has static covariates (data.space.static)."
)
GLOSSARY = [
    "guided, unguided: two sets of the same generator. Series of the guided set are chosen (with "
    "guidance.by=push: sampled) for their influence: how much training on them is estimated to "
    "lower the loss on the guidance set (val_guide).",
    "no generator (TRTR+): real series alone, for comparison. guide_rows: training and guidance "
    "series; guide_only: guidance series; reweighted: training series drawn by their influence; "
    "others: training series weighted, repeated or altered.",
    "seed: the random start of a downstream model. Several seeds show how much a score depends on "
    "it.",
    "val_select: the real series on which every downstream model chooses its best epoch and its "
    "F1 threshold. They take no part in training, guidance or testing.",
    "Holm: a correction of p-values for the number of sets compared. It keeps the chance of any "
    "false claim about the sets of one block of a table below 5 %.",
    "tested on set (TRTS): models trained on real series, scored on the set. Its difference is to "
    "their score on the real test series; these are other series, so nothing is paired.",
    "quality flag: a fixed rule on one metric, with its threshold in the table of quality flags.",
]


def build_page(results: Results) -> Page:
    """The whole report."""
    assert results.splits is not None
    styles, train = Styles(results.sets), results.splits.train
    grid = train.num_channels, train.length, results.hours_per_step
    sections = _utility(results, styles)
    if results.sets:
        sections.append(_fidelity(results, styles))
        sections.append(_privacy(results, styles))
        sections.append(_influence(results, styles))
    sections.append(scale_section(results.tuning))
    found = verdicts(results)
    sections.insert(0, Section("What next", next_steps(found, results.retraining is not None)))
    rules = dict.fromkeys(f"{v.question}: {v.decided_by}." for v in found)
    guide = [scored_class(train.label_names), *GLOSSARY, *LEGEND, *rules]
    sections.append(Section("How to read this", guide))
    sections += _provenance(results)
    return Page(
        title=f"{results.provenance['experiment']}: utility, fidelity and privacy",
        lead=f"{task(train.label_names, *grid)} {heading(results.provenance)}",
        notes=results.provenance["notes"],
        verdicts=found,
        sections=sections,
    )


def task(labels: Sequence[str], channels: int, length: int, hours_per_step: float) -> str:
    """What is predicted, and from what."""
    unit = time_axis(length, hours_per_step)[1]
    total = length * hours_per_step * (3600.0 if unit == "seconds" else 1.0)
    return (
        f"Task: {any_of(labels)}, from {total:g} {unit} of {channels} channels, {length} steps "
        "(see Data below)."
    )


def scored_class(labels: Sequence[str]) -> str:
    """Which class the scores and curves are about."""
    if len(labels) == 2:
        return f"AUROC, AUPRC, their curves and calibration are about the class {labels[1]}."
    return (
        "AUROC, AUPRC and their curves: mean over the classes, each against all others. "
        "Calibration: of the most probable class."
    )


def next_steps(found: Sequence[Verdict], tested: bool) -> list[str]:
    """What to do about the verdicts, with the command.

    Args:
        tested: whether it is known if influence predicts retraining.
    """
    outcomes = {(v.question, v.outcome) for v in found}
    steps = []
    if outcomes & {("useful", NO), ("useful", CANNOT_TELL)}:
        steps.append(
            "For a set that is not useful, or not surely: do what its verdict asks for. If that "
            "does not help, make more synthetic series (generation.ratio); more test series and "
            "evaluation.seeds narrow the intervals."
        )
    if outcomes & {("faithful", NO), ("faithful", CANNOT_TELL)}:
        steps.append(
            "For a set that is not faithful, or not surely: do what its verdict asks for. If that "
            "does not help, raise diffusion.max_steps and run the stages again; bash train.sh goes "
            "on from where it ended. The table of quality flags says what is off."
        )
    if ("private", NO) in outcomes:
        steps.append(
            "A leak: release nothing. Train on more series or for fewer steps, or with "
            "diffusion.private.epsilon (docs/reliability.md), and evaluate again."
        )
    if ("private", CANNOT_TELL) in outcomes:
        steps.append(
            "For a set that is not surely private: do what its verdict asks for, and hand no such "
            "set on before."
        )
    test = (
        "Does influence predict retraining on these data? bash scripts/influence.sh <config.yaml> "
        "lds=true tests it. "
    )
    tune = "bash scripts/tune.sh <config.yaml> shows utility against the strength of guidance."
    steps.append(tune if tested else test + tune)
    if ("private", NO) not in outcomes and ("private", NO_LEAK_FOUND) in outcomes:
        steps.append(
            "To hand a set on in which no leak was found, if the licence of the source data (see "
            "Data below) allows it: give its .npz and its card, or a table made by python -m "
            "data_preprocess.export set.npz csv folder. The diffusion model gives away more than a "
            "set."
        )
    return steps


def _utility(results: Results, styles: Styles) -> list[Section]:
    """Pictures and tables of every downstream model; groups of patients where they are known."""
    summaries = results.summaries
    pictures = [
        picture
        for model in results.models
        for picture in score_pictures(select(summaries, model=model), results.predictions, styles)
    ]
    tables = score_tables(summaries) + difference_tables(summaries)
    sections = [Section("Utility: models trained with it", [], pictures, tables)]
    if results.testing:
        table = testing_table(results.testing)
        sections.append(Section(table.heading, [ABOUT_TESTING], tables=[table]))
    if results.subgroups:
        table = subgroup_table(results.subgroups)
        text = f"Many groups are looked at and some are small. {_groups(results.subgroups)}"
        sections.append(Section(table.heading, [text], tables=[table]))
    return sections


def _groups(groups: Sequence[SubgroupScore]) -> str:
    found = [(g, g.summary.vs_real) for g in groups if g.summary.vs_real is not None]
    if not found:
        return "No synthetic set was compared within them."
    worse = [f"{g.subgroup} ({g.summary.generator})" for g, d in found if d.high < 0]
    if not worse:
        return (
            f"In none of {len(found)} comparisons is AUROC surely below that of real-only training."
        )
    names = ", ".join(dict.fromkeys(worse))
    return (
        f"In {len(worse)} of {len(found)} comparisons AUROC is below that of real-only training "
        f"with an interval that excludes 0: {names}."
    )


def _fidelity(results: Results, styles: Styles) -> Section:
    assert results.splits is not None and results.data is not None
    train, test, sets = results.splits.train, results.splits.test, results.synthetic
    settings = results.provenance["settings"]
    seed, fidelity = settings["seeds"][0], results.quality.get(FIDELITY, {})
    chosen = {"seed": seed, "show_real_series": settings["show_real_series"]}
    chosen["hours_per_step"] = results.hours_per_step
    pictures = [
        distribution_picture(test, sets, styles, seed=seed, reports=fidelity),
        *(example_picture(train, sets, k, styles, **chosen) for k in range(train.num_classes)),
        embedding_picture(results.data.test, results.data.synthetic, styles, seed=seed),
    ]
    section = _quality_section("Fidelity: is it like real series", FIDELITY, results, pictures)
    if printed := results.quality.get(PUBLISHED):
        section.paragraphs.append(ABOUT_PUBLISHED)
        section.tables.extend(quality_tables({PUBLISHED: printed}))
    return section


def _privacy(results: Results, styles: Styles) -> Section:
    reports = results.quality.get(PRIVACY)
    pictures = [distance_picture(reports, styles)] if reports else []
    title = "Privacy: what it gives away about training series"
    section = _quality_section(title, PRIVACY, results, pictures)
    if results.generator is not None:
        section.paragraphs.extend([ABOUT_GENERATOR, *results.generator.remarks])
        section.tables.append(generator_table(results.generator))
    return section


def _quality_section(title: str, kind: str, results: Results, pictures: list[Picture]) -> Section:
    """What every metric is measured against, then the remarks, each once with its sets."""
    reports: Mapping[str, MetricReport] = results.quality.get(kind, {})
    if not reports:
        asked = results.provenance["settings"][kind]
        why = "the notes at the top say why" if asked else f"evaluation.{kind} was false"
        return Section(title, [f"Not measured: {why}."], pictures)
    remarks: dict[str, list[str]] = {}
    for name, report in reports.items():
        for remark in report.remarks:
            remarks.setdefault(remark, []).append(name)
    texts = [f"{', '.join(names)}: {remark}." for remark, names in remarks.items()]
    tables: list[Table] = [*quality_tables({kind: reports}), flag_table(kind, reports)]
    how = [MEASURED_AGAINST[kind]]
    if kind == PRIVACY and (unknown := not_attacked(results.provenance["members"])):
        known = MEMBERS[results.provenance["members"][0]]
        how.append(f"The {unknown} were not attacked: here, train stands for the {known} alone.")
    return Section(title, [*how, *texts], pictures, tables)


def _influence(results: Results, styles: Styles) -> Section:
    """The influence of every set, or what is needed to show it, and what guidance changed."""
    found, change = results.influence, results.guidance_change
    pictures = [] if change is None else [guidance_change_picture(change)]
    if isinstance(found, str):
        return Section("Influence", [f"Not shown: {found}"], pictures)
    text = (
        "The score that guidance raises: how much training on a series would lower the "
        "loss of the guide on the guidance rows, by its own estimate. The unit is the standard "
        f"deviation of {found.base}, per class."
    )
    return Section("Influence", [text], [influence_picture(found, styles), *pictures])


def scale_section(content: Mapping[str, Any] | None) -> Section:
    """The guidance-scale curve, or how to get it."""
    title = "Guidance strength"
    if content is None:
        text = "Not tuned here: bash scripts/tune.sh <config.yaml> makes the curve."
        return Section(title, [text])
    points = scale_points(content)
    best = points.loc[points["auroc"].idxmax()]
    off = points["auroc"][points["w"] == 0]
    caption = (
        f"Highest mean AUROC {best['auroc']:.3f} at w = {best['w']:g}, classifier-free scale "
        f"{best['cfg_scale']:g}"
    )
    if len(off):
        caption += f"; without guidance {off.max():.3f}"
    caption += (
        f". Chosen: w = {content['chosen']['w']:g}. The highest of several noisy means is biased "
        "upwards: use the test rows above."
    )
    alt = "Realised influence, AUROC and AUPRC against the guidance strength w"
    return Section(title, [], [Picture("scale", scale_figure(content), alt, caption)])


def _provenance(results: Results) -> list[Section]:
    """The data card and those of the sets, and the record of how this page came about."""
    cards = {title: text for title, text in results.documents.items() if title != SETTINGS}
    absent = [title for title, text in cards.items() if not text]
    text = "Who is in the data, how it was split, and how each set was made."
    if absent:
        text += f" Without a card: {', '.join(absent)}."
    facts = results.provenance
    counts = [
        [name, f"{sum(per_class):,}", *(f"{count:,}" for count in per_class)]
        for kind in ("real_series_per_class", "synthetic_series_per_class")
        for name, per_class in facts[kind].items()
    ]
    record = [["experiment", facts["experiment"]]]
    record += [[what, value] for what, value in results.made_with.items()]
    return [
        Section(
            "Data",
            [text],
            tables=[Table("Series", ["set", "series", *facts["label_names"]], counts)],
            details={title: text for title, text in cards.items() if text},
        ),
        Section(
            "Provenance",
            ["Equal fingerprints mean equal content. These and the settings make the page again."],
            tables=[Table("How this page was made", ["what", "value"], record)],
            details={SETTINGS: results.documents[SETTINGS]},
        ),
    ]
