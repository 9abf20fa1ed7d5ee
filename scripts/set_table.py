"""set_score_tables: the fidelity and privacy numbers that decide, set beside set."""

from collections.abc import Mapping

from scripts.alarms import ALARMS, raised
from scripts.metric_report import MetricReport
from scripts.set_scores import FIDELITY, PRIVACY, SetScores
from scripts.table import Table

SHOWN = {
    FIDELITY: {
        "discriminative_auc": "told from real, AUC",
        "frechet": "Frechet distance",
        "marginal_sd_ratio_worst": "s.d. ratio, worst channel",
        "predictive_ratio": "forecast error ratio",
        "coverage": "coverage",
    },
    PRIVACY: {
        "membership_auc": "membership AUC",
        "membership_tpr": "at 1 % false positives",
        "exact_copy_share": "exact copies",
        "near_copy_share": "near copies",
        "closer_to_train_share": "closer to train",
    },
}
HEADINGS = {FIDELITY: "Fidelity", PRIVACY: "Privacy"}


def set_score_tables(scores: SetScores) -> list[Table]:
    """One table per kind that was computed: a row per set, and the alarms that fire on it."""
    return [_table(kind, reports) for kind, reports in scores.items() if reports]


def alarm_table(kind: str, reports: Mapping[str, MetricReport]) -> Table:
    """Every metric that an alarm watches: its value per set and that of real stays; * = fires."""
    fired = {name: raised(report.values) for name, report in reports.items()}
    rows = []
    for alarm in (alarm for alarm in ALARMS if alarm.kind == kind):
        values = [_marked(alarm.metric, reports[name], fired[name]) for name in reports]
        if any(values):
            rows.append([alarm.metric, *values, _reference(alarm.metric, reports), alarm.meaning])
    columns = ["metric", *reports, "real stays", "an alarm (*) would mean"]
    return Table(f"{HEADINGS[kind]}: all alarms", columns, rows)


def alarms_of(report: MetricReport) -> list[str]:
    """The metrics whose alarm fires."""
    return [metric for metric, fires in raised(report.values).items() if fires]


def with_interval(report: MetricReport, metric: str) -> str:
    """The value and, where there is one, its 95 % interval; "" where the metric is absent."""
    values = report.values
    if metric not in values:
        return ""
    text = f"{values[metric]:.3f}"
    if f"{metric}_low" in values and f"{metric}_high" in values:
        text += f" [{values[f'{metric}_low']:.3f}, {values[f'{metric}_high']:.3f}]"
    return text


def _table(kind: str, reports: Mapping[str, MetricReport]) -> Table:
    shown = SHOWN[kind]
    rows = [
        [name, *(with_interval(report, metric) or "-" for metric in shown), _count(report)]
        for name, report in reports.items()
    ]
    references = [_reference(metric, reports) or "-" for metric in shown]
    rows.append(["real stays", *references, "-"])
    return Table(HEADINGS[kind], ["set", *shown.values(), "alarms"], rows)


def _count(report: MetricReport) -> str:
    checked = raised(report.values)
    return f"{sum(checked.values())} of {len(checked)}"


def _marked(metric: str, report: MetricReport, fired: Mapping[str, bool]) -> str:
    text = with_interval(report, metric)
    return text + ("*" if fired.get(metric) else "")


def _reference(metric: str, reports: Mapping[str, MetricReport]) -> str:
    """The score of real stays; sets of different sizes have references that differ slightly."""
    found = [
        report.values[f"{metric}_reference"]
        for report in reports.values()
        if f"{metric}_reference" in report.values
    ]
    if not found:
        return ""
    low, high = min(found), max(found)
    return f"{low:.3f}" if f"{low:.3f}" == f"{high:.3f}" else f"{low:.3f} to {high:.3f}"
