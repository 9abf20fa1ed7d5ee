"""Writes what an evaluation found: results.csv per seed, summary.json over seeds."""

import csv
import dataclasses
import io
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.runtime.atomic_files import write_text
from scripts.results.results import Findings
from scripts.results.tables import (
    Table,
    alarms_of,
    difference_tables,
    score_tables,
    set_score_tables,
)
from scripts.results.verdicts import Verdict
from scripts.utility.metrics import point_scores

TEXT_WIDTH = 100

LEGEND = (
    "[low, high]: bootstrap interval; of a score over test stays, of a difference over test stays "
    "and seeds. *: best set of its block, and its paired difference excludes 0. F1: of the rarer "
    "class (macro average for more than two), threshold chosen on val_select. Brier: lower is "
    "better. ECE: expected calibration error, ten bins of equally many stays. p: uncorrected; "
    "p=...+: below 0.05 also after Holm's correction for all differences of its metric, model and "
    "reference."
)
COLUMNS = ("protocol", "generator", "ratio", "model", "seed", "metric", "value")


def write_results(path: Path, findings: Findings) -> None:
    """One row per cell and metric, then one per set and fidelity or privacy metric.

    `ratio` is empty where the training set is not a mixture; `ratio` and `model` are empty where
    no downstream model is involved.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell, predictions in findings.results.items():
        ratio = "" if cell.ratio is None else f"{cell.ratio:g}"
        key = (cell.protocol, cell.generator, ratio, cell.model, cell.seed)
        for metric, value in point_scores(predictions).items():
            writer.writerow((*key, metric, f"{value:.6f}"))
    seed = findings.facts["settings"]["seeds"][0]
    for kind, reports in findings.scores.items():
        for name, report in reports.items():
            for metric, value in report.values.items():
                writer.writerow((kind, name, "", "", seed, metric, f"{value:.6g}"))
    write_text(path, text.getvalue())


def write_summary(path: Path, findings: Findings, found: Sequence[Verdict] = ()) -> None:
    """The facts, the verdicts `found`, every `Summary` under "rows", every score of a group under
    "subgroups", and per kind and set the values, flags and fired alarms of fidelity and privacy,
    as plain types; numbers that are not defined become null."""
    content = {
        **findings.facts,
        "verdicts": [dataclasses.asdict(verdict) for verdict in found],
        "rows": [dataclasses.asdict(summary) for summary in findings.summaries],
        "subgroups": [dataclasses.asdict(score) for score in findings.subgroups],
        **{
            kind: {
                name: {"values": r.values, "flags": r.flags, "alarms": alarms_of(r)}
                for name, r in reports.items()
            }
            for kind, reports in findings.scores.items()
        },
    }
    write_text(path, json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")


def as_text(findings: Findings, found: Sequence[Verdict] = ()) -> str:
    """All tables, aligned for a terminal, with what they rest on, how to read them, and the
    verdicts `found`."""
    facts = findings.facts
    first, *last = (
        textwrap.fill(text, TEXT_WIDTH) for text in (heading(facts), LEGEND, *facts["notes"])
    )
    answers = [
        textwrap.fill(
            f"{v.name}, {v.question}? {v.outcome.upper()}. {v.reason} {v.numbers}", TEXT_WIDTH
        )
        for v in found
    ]
    tables = [table.as_text() for table in _tables(findings)]
    return "\n\n".join([first, *tables, *last, *answers])


def heading(facts: Mapping[str, Any]) -> str:
    """What was compared: how many stays, sets, seeds and resamples."""
    real = facts["real_stays_per_class"]
    labels = facts["label_names"]
    test = real["test"]
    settings = facts["settings"]
    made = facts["synthetic_stays_per_class"].items()
    sets = ", ".join(f"{name} ({sum(counts):,})" for name, counts in made) or "none"
    shares = ", ".join(
        f"{100 * n / sum(test):.1f} % {k}" for n, k in zip(test, labels, strict=True)
    )
    return (
        f"{sum(real['train']):,} real training stays, {sum(test):,} test stays ({shares}); "
        f"synthetic sets: {sets}; seeds {', '.join(map(str, settings['seeds']))}; "
        f"{settings['bootstrap']:,} bootstrap resamples, "
        f"{100 * settings['confidence']:g} % intervals"
    )


def _tables(findings: Findings) -> list[Table]:
    utility = score_tables(findings.summaries) + difference_tables(findings.summaries)
    return utility + set_score_tables(findings.scores)


def _finite(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(value) for value in node]
    if isinstance(node, float) and not math.isfinite(node):
        return None
    return node
