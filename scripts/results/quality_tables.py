"""Tables of fidelity and privacy, their quality flags, and the attack on the diffusion model."""

from collections.abc import Mapping

from scripts.quality.common.metric_report import MetricReport, number, with_interval
from scripts.quality.common.registry import (
    FIDELITY,
    PRIVACY,
    PUBLISHED,
    QualityFlag,
    quality_flags,
    raised,
    raised_flags,
)
from scripts.quality.suite import SetScores
from scripts.results.table import Table

SHOWN = {
    FIDELITY: {
        "discriminative_auc": "discriminator AUC",
        "frechet": "Frechet",
        "marginal_sd_ratio_worst": "worst s.d. ratio",
        "predictive_ratio": "forecast error ratio",
        "quality_score": "quality score",
    },
    PRIVACY: {
        "membership_auc": "membership AUC",
        "membership_tpr": "TPR at 1 %",
        "copy_share": "copy share",
        "near_copy_share": "near-copy share",
        "closer_to_train_share": "closer to train",
    },
    PUBLISHED: {
        "timegan_discriminative": "discriminative score",
        "timegan_predictive": "predictive score",
    },
}
HEADINGS = {
    FIDELITY: "Fidelity",
    PRIVACY: "Privacy",
    PUBLISHED: "Scores as TimeGAN defines them (no verdict reads them)",
}


def quality_tables(scores: SetScores) -> list[Table]:
    """One table per kind that was computed: a row per set, and how many quality flags it has."""
    return [_quality_table(kind, reports) for kind, reports in scores.items() if reports]


def generator_table(report: MetricReport) -> Table:
    """The white-box membership attack on the diffusion model itself."""
    names = ("white_box_auc", "white_box_tpr10", "white_box_tpr1")
    row = [with_interval(report, name) or "not measured" for name in names]
    chance = ["0.5", "0.1", "0.01"]
    columns = ["", "AUC", "true positives at 10 % false ones", "at 1 %"]
    title = "Privacy of the diffusion model: white-box membership attack"
    return Table(title, columns, [["model", *row], ["chance", *chance]])


def flag_table(kind: str, reports: Mapping[str, MetricReport]) -> Table:
    """Every metric with a quality flag: value per set (* = raised), with the p-value where the rule
    reads one, that of real series, rule."""
    rows = []
    for flag in quality_flags(kind):
        metric = flag.metric
        values = [
            with_interval(report, metric)
            + _p_text(flag, report)
            + ("*" if flag in raised_flags(report.values) else "")
            for report in reports.values()
        ]
        if any(values):
            real = _reference(metric, reports)
            rows.append([metric, *values, real, flag.threshold, flag.meaning])
    columns = ["metric", *reports, "real series", "quality flag (*) if", "it means"]
    return Table(f"{HEADINGS[kind]}: all quality flags", columns, rows)


def _p_text(flag: QualityFlag, report: MetricReport) -> str:
    if flag.p is None or flag.metric not in report.values:
        return ""
    p = flag.p(report.values)
    return f" p={p:.4f}" if p >= 1e-4 else " p<0.0001"


def _quality_table(kind: str, reports: Mapping[str, MetricReport]) -> Table:
    """An AUC with its interval; the intervals of the others are in the table of all flags."""
    shown = SHOWN[kind]
    rows = []
    for name, report in reports.items():
        values = report.values
        cells = [
            (with_interval(report, metric) if metric.endswith("_auc") else number(values[metric]))
            if metric in values
            else "-"
            for metric in shown
        ]
        rows.append([name, *cells, f"{len(raised_flags(values))} of {len(raised(values))}"])
    references = [_reference(metric, reports) or "-" for metric in shown]
    rows.append(["real series", *references, "-"])
    return Table(HEADINGS[kind], ["set", *shown.values(), "flags"], rows)


def _reference(metric: str, reports: Mapping[str, MetricReport]) -> str:
    """The score of real series; sets of different sizes have references that differ slightly."""
    name = f"{metric}_reference"
    found = [report.values[name] for report in reports.values() if name in report.values]
    if not found:
        return ""
    low, high = number(min(found)), number(max(found))
    return low if low == high else f"{low} to {high}"
