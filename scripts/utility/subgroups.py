"""Scores within groups of patients, where the data set knows age, sex or another coded covariate.

Exploratory: intervals of small groups are wide and many groups are looked at, so no p-value is
given. A gain overall that is a loss in one group is what this table is for.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from data_preprocess.dataset import EHRDataset
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import Fit
from scripts.utility.summary import Summary, summarise

AGE_BANDS = (50, 65, 80)  # years; groups: below 50, 50-64, 65-79, 80 and older
MIN_PER_CLASS = 10  # test series of every class that a group needs


@dataclass(frozen=True)
class Subgroup:
    """Test series that share a covariate value.

    Attributes:
        name: covariate and value, e.g. "age 65-79" or "sex male".
        rows: True for its series.
    """

    name: str
    rows: Bool[np.ndarray, " n"]


@dataclass(frozen=True)
class SubgroupScore:
    """AUROC of one row of the table within one group."""

    subgroup: str
    num_series: int
    summary: Summary


def find_subgroups(test: EHRDataset) -> list[Subgroup]:
    """Groups by every static covariate that is an age or a code, if large enough.

    A code says so in its unit: "sex[1=male]", "unit_type[code]".

    Series whose covariate is unknown are in no group of it.
    """
    groups: list[Subgroup] = []
    for column, title in enumerate(test.static_names):
        values = test.static[:, column]
        base, codes = _parse(title)
        if base.split("_")[0] == "age":
            groups += _age_groups(values)
        elif codes or title.endswith("[code]"):
            known = np.unique(values[np.isfinite(values)]).tolist()
            groups += [Subgroup(f"{base} {_code(v, codes)}", values == v) for v in known]
    return [group for group in groups if _is_large(test.labels[group.rows], test.num_classes)]


def subgroup_scores(
    results: Mapping[Fit, Predictions],
    test: EHRDataset,
    *,
    resamples: int,
    confidence: float,
) -> list[SubgroupScore]:
    """AUROC per group of real-only and synthetic-only training and the largest TSRTR ratio."""
    largest = max((c.ratio or 0.0 for c in results if c.protocol == "TSRTR"), default=None)
    chosen = [
        fit
        for fit in results
        if fit.protocol in ("TRTR", "TSTR") or (fit.protocol, fit.ratio) == ("TSRTR", largest)
    ]
    scores = []
    for group in find_subgroups(test):
        within = {fit: only(results[fit], group.rows) for fit in chosen}
        subjects = test.subject_ids[group.rows]
        summaries = summarise(within, subjects, resamples=resamples, confidence=confidence)
        size = int(group.rows.sum())
        scores += [SubgroupScore(group.name, size, s) for s in summaries if s.metric == "auroc"]
    return scores


def _parse(title: str) -> tuple[str, dict[float, str]]:
    """ "sex[1=male]" -> ("sex", {1.0: "male"}); no codes where the bracket holds a unit."""
    base, _, unit = title.removesuffix("]").partition("[")
    pairs = re.findall(r"([-\d.]+)=([^,]+)", unit)
    return base, {float(value): name.strip() for value, name in pairs}


def _code(value: float, codes: Mapping[float, str]) -> str:
    if value in codes:
        return codes[value]
    # "sex[1=male]" names one of two values.
    return f"not {next(iter(codes.values()))}" if len(codes) == 1 else f"{value:g}"


def _age_groups(years: np.ndarray) -> list[Subgroup]:
    edges = [-np.inf, *AGE_BANDS, np.inf]
    groups = []
    for low, high in zip(edges[:-1], edges[1:], strict=True):
        if np.isinf(low):
            name = f"age below {high:g}"
        else:
            name = f"age {low:g} and older" if np.isinf(high) else f"age {low:g}-{high - 1:g}"
        groups.append(Subgroup(name, (years >= low) & (years < high)))
    return groups


def _is_large(labels: np.ndarray, num_classes: int) -> bool:
    return int(np.bincount(labels, minlength=num_classes).min()) >= MIN_PER_CLASS


def only(predictions: Predictions, rows: Bool[np.ndarray, " n"]) -> Predictions:
    """The predictions for the given rows."""
    return Predictions(
        probabilities=predictions.probabilities[rows],
        labels=predictions.labels[rows],
        minority=predictions.minority,
        threshold=predictions.threshold,
    )
