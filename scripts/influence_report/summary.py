"""The influence report as one Markdown page."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from data_preprocess.card import markdown_table
from scripts.influence_report.measures import Row
from scripts.influence_report.named_sets import RankedSet
from tardiff.influence.one_step_check import StepTest


def markdown(
    experiment: str,
    facts: Row,
    tables: dict[str, list[Row]],
    step: StepTest,
    overhead: Row | str,
    sets: Sequence[RankedSet],
) -> str:
    """The whole page; `tables` as `scripts.influence_report.__main__` makes them."""
    given = ", ".join(f"{key} {_show(value)}" for key, value in facts.items())
    parts = [
        f"# Influence report: {experiment}",
        "Influence > 0: training on the series lowers the guidance loss. Every series of a set "
        f"is in `influence_<set>.csv`. Guidance gradient G: {given}.",
        "## Gradient norms by class",
        "Of the mean negative log-likelihood of the class (all its series), and of single series.",
        table(tables["gradient_norms"]),
        "## Influence by class",
        table(tables["distribution"]),
        "## Class-specific guidance",
        "Cosine between G's (preconditioned as configured):",
        table(tables["class_cosines"]),
        "Mean influence of each class of series under each G, in standard deviations of the set:",
        table(tables["class_influence"]),
        "## Predicted and measured",
        f"One training step on each of {len(step.predicted)} series of "
        f"{sets[0].name}: Spearman {step.spearman:.4f}, slope {step.slope:.3f}, signs agree in "
        f"{100 * step.sign_agreement:.1f} % (smallest 5 % left out). G without preconditioner: a "
        "plain gradient step has none.",
        "## Size of the guidance set",
        table(tables["guidance_size"])
        if tables["guidance_size"]
        else "The guidance set has fewer rows than the smallest size asked for.",
        "## Overhead",
        overhead if isinstance(overhead, str) else table([overhead]),
        "## Highest and lowest series",
        "Rows count from 0 in the set; real patients are named by row only.",
        *(_ends(ranked) for ranked in sets),
    ]
    return "\n\n".join(parts) + "\n"


def table(rows: Sequence[Row]) -> str:
    """Rows with the same keys as a Markdown table."""
    head = list(dict.fromkeys(key for row in rows for key in row))
    return markdown_table(head, ([_show(row.get(key, "")) for key in head] for row in rows))


def _ends(ranked: RankedSet) -> str:
    rows = pd.concat(ranked.ends()).rename(columns={"label": "class"}).assign(set=ranked.name)
    columns = ["set", "rank", "row", "class", "influence", "loss"]
    return table(rows.reindex(columns=columns).to_dict("records"))


def _show(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
