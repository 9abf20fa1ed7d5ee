"""build_page: findings and sets -> the content of the report, in reading order."""

from collections.abc import Mapping
from pathlib import Path

from configs.run_record import read_mapping
from configs.schema.experiment import ExperimentConfig
from data_preprocess.dataset import EHRDataset
from data_preprocess.splits import Splits
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.suite import FIDELITY, PRIVACY
from scripts.report.distributions import distribution_picture
from scripts.report.distributions_panel import privacy_picture
from scripts.report.embedding import embedding_picture
from scripts.report.examples import example_pictures
from scripts.report.figures import Styles
from scripts.report.influence import influence_section
from scripts.report.page import Page, Picture, Section
from scripts.report.provenance import provenance_sections
from scripts.report.strength_curve import scale_figure, scale_points
from scripts.report.utility import utility_sections
from scripts.results.files import heading
from scripts.results.results import Findings
from scripts.results.tables import Table, alarm_table, set_score_tables
from scripts.results.verdicts import verdicts
from scripts.utility.protocols import EvaluationData
from tardiff.generate import tuning_path

NOT_JUDGED = "Not judged: evaluation.{kind} was false."


def build_page(
    config: ExperimentConfig,
    splits: Splits,
    sets: Mapping[str, EHRDataset],
    data: EvaluationData,
    findings: Findings,
) -> Page:
    """The whole report.

    Raises:
        DataError: tuning/scale.json is there but not what tune.sh writes.
    """
    styles, facts = Styles(findings.sets), findings.facts
    sections = utility_sections(findings, styles)
    if sets:
        sections.append(_fidelity(config, splits, sets, data, findings, styles))
        sections.append(_privacy(findings, styles))
        sections.append(influence_section(config, splits, data.synthetic, styles))
    sections.append(scale_section(tuning_path(config)))
    sections += provenance_sections(config, sets, facts)
    return Page(
        title=f"{config.experiment}: what the synthetic sets are worth",
        lead=heading(facts),
        notes=list(facts["notes"]),
        verdicts=verdicts(findings),
        sections=sections,
    )


def _fidelity(
    config: ExperimentConfig,
    splits: Splits,
    sets: Mapping[str, EHRDataset],
    data: EvaluationData,
    findings: Findings,
    styles: Styles,
) -> Section:
    seed = config.evaluation.seeds[0]
    pictures = [
        distribution_picture(splits.test, sets, styles, seed=seed),
        *example_pictures(
            splits.train,
            sets,
            styles,
            seed=seed,
            show_real_series=config.evaluation.show_real_series,
        ),
        embedding_picture(data.test, data.synthetic, styles, seed=seed),
    ]
    title = "Faithfulness: is it like real stays"
    return Section(title, _remarks(FIDELITY, findings), pictures, _tables(FIDELITY, findings))


def _privacy(findings: Findings, styles: Styles) -> Section:
    reports = findings.scores.get(PRIVACY)
    pictures = [privacy_picture(reports, styles)] if reports else []
    title = "Privacy: what it gives away about training stays"
    return Section(title, _remarks(PRIVACY, findings), pictures, _tables(PRIVACY, findings))


def _tables(kind: str, findings: Findings) -> list[Table]:
    reports = findings.scores.get(kind)
    if not reports:
        return []
    return [*set_score_tables({kind: reports}), alarm_table(kind, reports)]


def _remarks(kind: str, findings: Findings) -> list[str]:
    """What every metric is measured against, then the flags, each once with its sets."""
    reports: Mapping[str, MetricReport] = findings.scores.get(kind, {})
    if not reports:
        return [NOT_JUDGED.format(kind=kind)]
    against = {
        FIDELITY: "Measured against held-out stays; the row of real stays is what a perfect "
        "generator would score. docs/metrics.md explains every metric.",
        PRIVACY: "Measured as the difference between stays that the generator could learn from "
        "and held-out stays. No alarm is no guarantee.",
    }
    flagged: dict[str, list[str]] = {}
    for name, report in reports.items():
        for flag in report.flags:
            flagged.setdefault(flag, []).append(name)
    return [against[kind], *(f"{', '.join(names)}: {flag}." for flag, names in flagged.items())]


def scale_section(path: Path) -> Section:
    """The guidance-scale curve, or how to get it."""
    title = "Guidance strength"
    if not path.is_file():
        return Section(
            title, ["Not tuned here: bash scripts/tune.sh <config.yaml> makes the curve."]
        )
    content = read_mapping(path)
    points = scale_points(content)
    best = max(points, key=lambda point: point.means["auroc"])
    chosen = content.get("chosen") or {}
    off = [point for point in points if point.w == 0]
    caption = (
        f"Highest mean AUROC {best.means['auroc']:.3f} at w = {best.w:g}, classifier-free scale "
        f"{best.cfg_scale:g}"
    )
    if off:
        level = max(point.means["auroc"] for point in off)
        caption += f"; without guidance {level:.3f}"
    caption += f". Chosen: w = {chosen['w']:g}." if "w" in chosen else "."
    caption += " The highest of several noisy means is flattering: judge by the test rows above."
    alt = "Realised influence, AUROC and AUPRC against the guidance strength w"
    return Section(title, [], [Picture("scale", scale_figure(content), alt, caption)])
