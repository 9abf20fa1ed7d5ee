"""Writes the results: results.csv per seed, summary.json over seeds, and text for a terminal."""

import dataclasses
import json
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from configs.runtime.atomic_files import write_text
from data_preprocess.dataset import is_number, of_class
from scripts.pictures.guidance_change import GuidanceChange
from scripts.pictures.influence import Influence
from scripts.quality.common.registry import raised_flags
from scripts.results.results import Results
from scripts.results.table import TEXT_WIDTH
from scripts.results.verdicts import verdicts
from scripts.utility.bootstrap import CONFIDENCE
from scripts.utility.metrics import point_scores
from scripts.utility.summary import UNGUIDED

LEGEND = (
    "[low, high]: interval. Utility: bootstrap; of a score over test series, of a difference over "
    "test series and seeds. Fidelity and privacy: docs/metrics.md.",
    "*: best set of its block, and its paired difference excludes 0; of a quality flag: raised.",
    "F1: of the rarer class (macro average for more than two), threshold chosen on val_select. "
    "Brier: lower is better. ECE: expected calibration error, ten bins of equally many series.",
    "p: uncorrected; p=...+: below 0.05 also after Holm's correction for the sets of its block.",
)
CUT = " ..."  # ends a line that would be too wide
COLUMNS = ("protocol", "generator", "ratio", "model", "seed", "metric", "value")


def write_results(path: Path, results: Results) -> None:
    """One row per fit and metric, then one per set and fidelity or privacy metric; a set that is
    the unguided one has its rows.

    `ratio` is empty where the training set is not a mixture; `ratio` and `model` are empty where
    no downstream model is involved.
    """
    rows = []
    for fit, predictions in results.predictions.items():
        ratio = "" if fit.ratio is None else f"{fit.ratio:g}"
        key = (fit.protocol, fit.generator, ratio, fit.model, fit.seed)
        rows += [(*key, name, f"{value:.6f}") for name, value in point_scores(predictions).items()]
    seed = results.provenance["settings"]["seeds"][0]
    scored = [
        (kind, name, report)
        for kind, reports in results.quality.items()
        for name, report in reports.items()
    ]
    if results.generator is not None:
        scored.append(("privacy", "diffusion model", results.generator))
    for kind, name, report in scored:
        key = (kind, name, "", "", seed)
        rows += [(*key, metric, f"{value:.6g}") for metric, value in report.values.items()]
    table = pd.DataFrame(rows, columns=pd.Index(COLUMNS))
    unguided = table[table["generator"] == UNGUIDED]
    same = [unguided.assign(generator=name) for name in results.provenance["same_as_unguided"]]
    write_text(path, pd.concat([table, *same]).to_csv(index=False))


def write_summary(path: Path, results: Results) -> None:
    """All but the predictions and pictures, as plain types; undefined numbers become null.

    Keys: those of the provenance; verdicts; rows (one `Summary` each); subgroups; testing; per kind
    and set the values, remarks and raised quality flags; generator (values of the white-box attack
    on the diffusion model); retraining (LDS); influence (shift of its mean per class and set).
    """
    influence = results.influence
    content = {
        **results.provenance,
        "verdicts": [dataclasses.asdict(verdict) for verdict in verdicts(results)],
        "rows": [dataclasses.asdict(summary) for summary in results.summaries],
        "subgroups": [dataclasses.asdict(score) for score in results.subgroups],
        "testing": [dataclasses.asdict(error) for error in results.testing],
        **{
            kind: {
                name: {
                    "values": report.values,
                    "remarks": report.remarks,
                    "quality_flags": [flag.metric for flag in raised_flags(report.values)],
                }
                for name, report in reports.items()
            }
            for kind, reports in results.quality.items()
        },
        "generator": None if results.generator is None else results.generator.values,
        "retraining": None if results.retraining is None else results.retraining._asdict(),
        "influence": influence.shifts if isinstance(influence, Influence) else influence,
    }
    write_text(path, json.dumps(_finite(content), indent=1, allow_nan=False) + "\n")


def write_guidance_change(path: Path, found: GuidanceChange) -> None:
    """One row per guided set, class, channel and grid point: the values of the picture."""

    def column(maps: Iterable[np.ndarray], decimals: int) -> list[str]:
        return [f"{value:.{decimals}f}" for of_set in maps for value in of_set.ravel()]

    sets, influence = list(found.difference), found.influence
    steps = range(found.difference[sets[0]].shape[2])
    hours = [f"{step * found.hours_per_step:.6g}" for step in steps]
    axes = {"set": sets, "class": found.classes, "channel": found.channels, "hour": hours}
    table = pd.DataFrame(index=pd.MultiIndex.from_product(list(axes.values()), names=list(axes)))
    table["difference_sd"] = column(found.difference.values(), 5)
    table["standard_error"] = column((found.error[name] for name in sets), 5)
    table["influence_correlation"] = "" if influence is None else column([influence] * len(sets), 4)
    write_text(path, table.to_csv())


def wrapped(texts: Sequence[str]) -> str:
    """The texts as paragraphs for a terminal."""
    return "\n".join(textwrap.fill(text, TEXT_WIDTH) for text in texts)


def verdict_lines(results: Results) -> str:
    """One line per set and question; the report gives the reasons. Lines are cut at TEXT_WIDTH, but
    never before the answer."""
    lines = []
    for v in verdicts(results):
        line = f"{v.name}: {v.question}? {v.outcome.upper()}"
        if v.change:
            width = max(TEXT_WIDTH, len(line) + 1 + len(CUT))  # a long name does not cut the answer
            line = textwrap.shorten(f"{line}; {v.change}", width, placeholder=CUT)
        lines.append(line)
    same = results.provenance["same_as_unguided"]
    lines += [f"{name}: the same series as {UNGUIDED}" for name in same]
    return "\n".join(lines)


def heading(provenance: Mapping[str, Any]) -> str:
    """What was compared: how many series, sets, seeds and resamples."""
    real = provenance["real_series_per_class"]
    labels = provenance["label_names"]
    test = real["test"]
    settings = provenance["settings"]
    made = provenance["synthetic_series_per_class"].items()
    sets = ", ".join(f"{name} ({sum(counts):,})" for name, counts in made) or "none"
    shares = ", ".join(
        of_class(f"{100 * n / sum(test):.1f} %", name) for n, name in zip(test, labels, strict=True)
    )
    return (
        f"{sum(real['train']):,} real training series, {sum(test):,} test series ({shares}); "
        f"synthetic sets: {sets}; seeds {', '.join(map(str, settings['seeds']))}; "
        f"{provenance['resamples']:,} bootstrap resamples, "
        f"{100 * CONFIDENCE:g} % intervals"
    )


def any_of(labels: Sequence[str]) -> str:
    """Such as "survived or died"; "label 0 or 1" where classes are called by numbers."""
    return f"{'label ' if is_number(labels[0]) else ''}{' or '.join(labels)}"


def _finite(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _finite(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_finite(value) for value in node]
    if isinstance(node, float) and not math.isfinite(node):
        return None
    return node
