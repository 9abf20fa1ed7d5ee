"""Writes what an evaluation found: results.csv per seed, summary.json and summary.md over seeds."""

import csv
import dataclasses
import io
import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.atomic import write_text
from scripts.protocols import Cell
from scripts.scores import Predictions, point_scores
from scripts.statistics import Summary
from scripts.subgroups import SubgroupScore
from scripts.table import Table, difference_tables, score_tables, subgroup_table

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


def write_results(path: Path, results: Mapping[Cell, Predictions]) -> None:
    """One row per cell and metric; ratio is empty where the training set is not a mixture."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell, predictions in results.items():
        ratio = "" if cell.ratio is None else f"{cell.ratio:g}"
        key = (cell.protocol, cell.generator, ratio, cell.model, cell.seed)
        for metric, value in point_scores(predictions).items():
            writer.writerow((*key, metric, f"{value:.6f}"))
    write_text(path, text.getvalue())


def write_summary(
    path: Path,
    summaries: Sequence[Summary],
    subgroups: Sequence[SubgroupScore],
    facts: Mapping[str, Any],
) -> None:
    """`facts`, every `Summary` under "rows", every score of a group under "subgroups", as plain
    types; numbers that are not defined become null."""
    rows = [dataclasses.asdict(summary) for summary in summaries]
    groups = [dataclasses.asdict(score) for score in subgroups]
    content = _finite({**facts, "rows": rows, "subgroups": groups})
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_markdown(
    path: Path,
    summaries: Sequence[Summary],
    subgroups: Sequence[SubgroupScore],
    facts: Mapping[str, Any],
) -> None:
    """The tables of `as_text`, and that of the subgroups, as Markdown."""
    parts = [f"# {facts['experiment']}: evaluation", heading(facts), *facts["notes"]]
    tables = _tables(summaries) + ([subgroup_table(subgroups)] if subgroups else [])
    parts += [table.as_markdown() for table in tables]
    write_text(path, "\n\n".join([*parts, LEGEND.replace("*:", "\\*:")]) + "\n")


def as_text(summaries: Sequence[Summary], facts: Mapping[str, Any]) -> str:
    """All tables, aligned for a terminal, with what they rest on and how to read them."""
    first, *last = (
        textwrap.fill(text, TEXT_WIDTH) for text in (heading(facts), LEGEND, *facts["notes"])
    )
    return "\n\n".join([first, *(table.as_text() for table in _tables(summaries)), *last])


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


def _tables(summaries: Sequence[Summary]) -> list[Table]:
    return score_tables(summaries) + difference_tables(summaries)


def _finite(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(value) for value in node]
    if isinstance(node, float) and not math.isfinite(node):
        return None
    return node
