"""Writes the table "known defect x metric" into docs/metrics.md.

    python -m scripts.quality.defect_table

tests/unit/scripts/test_known_defects.py judges the same sets by the same rules, so the page cannot
promise a catch that the code does not make.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.runtime.atomic_files import write_text
from configs.runtime.errors import DataError
from data_preprocess.dataset import EHRDataset
from data_preprocess.impute import impute, train_medians
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.sources.simulated.cohort import simulate_cohort
from scripts.quality.common.metric_report import MetricReport, merge
from scripts.quality.fidelity.suite import fidelity_scores
from scripts.quality.known_defects import SABOTAGES
from scripts.quality.privacy.suite import privacy_scores
from scripts.quality.thresholds import ALARMS, raised

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- sabotage table: begin -->", "<!-- sabotage table: end -->"
NUM_STAYS = 500
PREVALENCE = 0.3  # enough stays of each class to judge labels by
SEED = 0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Judged:
    """One sabotaged set: its metrics and the rules that fired."""

    report: MetricReport
    alarms: dict[str, bool]


def three_sets(num_stays: int, seed: int) -> tuple[EHRDataset, EHRDataset, EHRDataset]:
    """Train, held-out and fresh stays of the embedded cohort; one stay per patient."""
    cohort = simulate_cohort(num_subjects=3 * num_stays, prevalence=PREVALENCE, seed=seed)
    values, observed = impute(cohort.values, train_medians(cohort.values, cohort.feature_names))
    stays = EHRDataset(
        values=values,
        observed=observed,
        labels=cohort.labels,
        subject_ids=cohort.subject_ids,
        feature_names=cohort.feature_names,
        label_names=cohort.label_names,
        static=cohort.static,
        static_names=cohort.static_names,
    )
    _, first_stay = np.unique(stays.subject_ids, return_index=True)
    parts = np.split(np.random.default_rng(seed).permutation(first_stay), 3)
    train, holdout, fresh = (stays.take(rows) for rows in parts)
    return train, holdout, fresh


def judge_all(*, num_stays: int = NUM_STAYS, seed: int = SEED) -> dict[str, Judged]:
    """Every sabotage of one cohort, judged by both suites and all alarms."""
    train, holdout, fresh = three_sets(num_stays, seed)
    normaliser = Normaliser.fit(train)
    judged = {}
    for name, sabotage in SABOTAGES.items():
        synthetic = sabotage(train, fresh, seed)
        suites = (fidelity_scores, privacy_scores)
        report = merge(
            [suite(train, holdout, synthetic, normaliser=normaliser, seed=seed) for suite in suites]
        )
        judged[name] = Judged(report, raised(report.values))
    return judged


def markdown(judged: dict[str, Judged]) -> str:
    """The table: a row per alarm, a column per sabotage, bold where the alarm fires."""
    lines = [
        "| metric | real | " + " | ".join(judged) + " |",
        "|---" * (len(judged) + 2) + "|",
    ]
    control = judged["honest"].report.values
    for alarm in ALARMS:
        reference = control.get(f"{alarm.metric}_reference")
        cells = [alarm.metric, "" if reference is None else f"{reference:.3f}"]
        for result in judged.values():
            text = f"{result.report.values[alarm.metric]:.3f}"
            cells.append(f"**{text}**" if result.alarms[alarm.metric] else text)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def insert(page: str, table: str) -> str:
    """`page` with `table` between its two markers.

    Raises:
        DataError: the markers are not there.
    """
    if BEGIN not in page or END not in page:
        raise DataError(f"{PAGE} lacks the markers {BEGIN} and {END}")
    head, rest = page.split(BEGIN, 1)
    return f"{head}{BEGIN}\n{table}\n{END}{rest.split(END, 1)[1]}"


def main() -> None:
    """Regenerates the table in docs/metrics.md."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    table = markdown(judge_all())
    write_text(PAGE, insert(PAGE.read_text(encoding="utf-8"), table))
    logger.info("wrote the table into %s", PAGE)


if __name__ == "__main__":
    main()
