"""Writes the table "known defect x metric" into docs/metrics.md.

    python -m tests.support.defect_table

tests/unit/scripts/test_known_defects.py tests the same sets by the same rules, so the page cannot
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
from data_preprocess.sources.simulated.cohort import simulate
from scripts.quality.common.metric_report import MetricReport, merge, number
from scripts.quality.common.registry import KINDS, quality_flags, raised
from scripts.quality.suite import quality_report
from tests.support.known_defects import NEGATIVE_CONTROLS

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
BEGIN, END = "<!-- negative controls: begin -->", "<!-- negative controls: end -->"
NUM_SERIES = 500
PREVALENCE = 0.3  # enough series of each class to measure labels by
SEED = 0

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluated:
    """One negative control: its metrics, and whether each quality flag is raised."""

    report: MetricReport
    raised: dict[str, bool]


def three_sets(num_series: int, seed: int) -> tuple[EHRDataset, EHRDataset, EHRDataset]:
    """Train, held-out and fresh series of the embedded cohort; one series per patient."""
    cohort, _ = simulate(num_subjects=3 * num_series, prevalence=PREVALENCE, seed=seed)
    values, observed = impute(cohort.values, train_medians(cohort.values, cohort.feature_names))
    series = EHRDataset(
        values=values,
        observed=observed,
        labels=cohort.labels,
        subject_ids=cohort.subject_ids,
        feature_names=cohort.feature_names,
        label_names=cohort.label_names,
        static=cohort.static,
        static_names=cohort.static_names,
    )
    _, first_series = np.unique(series.subject_ids, return_index=True)
    parts = np.split(np.random.default_rng(seed).permutation(first_series), 3)
    train, holdout, fresh = (series.take(rows) for rows in parts)
    return train, holdout, fresh


def evaluate_all(*, num_series: int = NUM_SERIES, seed: int = SEED) -> dict[str, Evaluated]:
    """Every negative control of one cohort with all metrics and quality flags."""
    train, holdout, fresh = three_sets(num_series, seed)
    normaliser = Normaliser.fit(train)
    found = {}
    for name, defect in NEGATIVE_CONTROLS.items():
        sets = (train, holdout, defect(train, fresh, seed))
        report = merge(
            [quality_report(kind, *sets, normaliser=normaliser, seed=seed) for kind in KINDS]
        )
        is_up = {flag.metric: is_up for flag, is_up in raised(report.values).items()}
        found[name] = Evaluated(report, is_up)
    return found


def markdown(controls: dict[str, Evaluated]) -> str:
    """The table: a row per quality flag, a column per control, bold where the flag is raised."""
    lines = [
        "| metric | flag | real | " + " | ".join(controls) + " |",
        "|---" * (len(controls) + 3) + "|",
    ]
    honest = controls["honest"].report.values
    for flag in (flag for kind in KINDS for flag in quality_flags(kind)):
        reference = honest.get(f"{flag.metric}_reference")
        row = [flag.metric, flag.threshold, "" if reference is None else number(reference)]
        for control in controls.values():
            text = number(control.report.values[flag.metric])
            row.append(f"**{text}**" if control.raised[flag.metric] else text)
        lines.append("| " + " | ".join(row) + " |")
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
    table = markdown(evaluate_all())
    write_text(PAGE, insert(PAGE.read_text(encoding="utf-8"), table))
    logger.info("wrote the table into %s", PAGE)


if __name__ == "__main__":
    main()
