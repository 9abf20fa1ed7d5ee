"""Scores within groups of patients, where the data set knows age, sex or another coded covariate.

Intervals of small groups are wide and many groups are looked at. A gain overall that is a loss in
one group is what they are for: the verdict on usefulness heeds it (scripts/results/useful.py).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from data_preprocess.dataset import EHRDataset, bare_name, patient_strata, unit_of
from scripts.utility.bootstrap import enough_resamples
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import REAL, Fit
from scripts.utility.summary import Summary, summarise

AGES = {  # in years, from the first up to the second
    "below 50": (-np.inf, 50),
    "50-64": (50, 65),
    "65-79": (65, 80),
    "80 and older": (80, np.inf),
}
# Of a covariate whose unit names its values: 1=male.
CODE = re.compile(r"(-?\d+(?:\.\d+)?)=([^,]+)")
MIN_PER_CLASS = 10  # patients of every class that a group needs: resamples are of patients


@dataclass(frozen=True)
class SubgroupScore:
    """AUROC of one row of the table within one group."""

    subgroup: str
    num_series: int
    summary: Summary


def find_subgroups(test: EHRDataset) -> dict[str, Bool[np.ndarray, " n"]]:
    """Name, e.g. "age 65-79" or "sex male" -> its series, of every group that is large enough.

    Groups are those of every static covariate that is an age in years or a code: one that says so
    in its unit, "sex[1=male]", "unit_type[code]", or has two values, as a sex of 1 and 2. Series
    whose covariate is unknown are in no group of it. Where patients are not known, as in synthetic
    sets, every series counts as one.
    """
    groups = _coded(test)
    patients, _ = patient_strata(test.subject_ids, test.labels)
    of_class = [test.labels == label for label in range(test.num_classes)]
    fewest = {
        name: min(len(np.unique(patients[rows & mine])) for mine in of_class)
        for name, rows in groups.items()
    }
    return {name: rows for name, rows in groups.items() if fewest[name] >= MIN_PER_CLASS}


def _coded(test: EHRDataset) -> dict[str, Bool[np.ndarray, " n"]]:
    """The groups of `find_subgroups`, of any size."""
    groups: dict[str, np.ndarray] = {}
    for title, values in zip(test.static_names, test.static.T, strict=True):
        base, unit = bare_name(title), unit_of(title)
        codes = {float(value): name.strip() for value, name in CODE.findall(unit)}
        known = np.unique(values[np.isfinite(values)]).tolist()
        if codes or unit == "code" or len(known) == 2:
            for value in known:
                # "sex[1=male]" names one of two values.
                other = f"not {next(iter(codes.values()))}" if len(codes) == 1 else f"{value:g}"
                groups[f"{base} {codes.get(value, other)}"] = values == value
        elif base.split("_")[0] == "age" and unit in ("", "years"):
            for band, (low, high) in AGES.items():
                groups[f"{base} {band}"] = (values >= low) & (values < high)
    return groups


def subgroup_scores(
    results: Mapping[Fit, Predictions], test: EHRDataset, *, resamples: int
) -> list[SubgroupScore]:
    """AUROC per group of real-only and synthetic-only training and the largest TSRTR ratio.

    Args:
        resamples: at least; more where p-values could not survive the correction for all groups.
    """
    largest = max((c.ratio or 0.0 for c in results if c.protocol == "TSRTR"), default=None)
    chosen = [
        fit
        for fit in results
        if fit.protocol in ("TRTR", "TSTR") or (fit.protocol, fit.ratio) == ("TSRTR", largest)
    ]
    scores, groups = [], find_subgroups(test)
    sets = len({fit.generator for fit in chosen} - {REAL})
    resamples = enough_resamples(resamples, sets * len(groups))
    for name, rows in groups.items():
        within = {fit: results[fit].take(rows) for fit in chosen}
        subjects = test.subject_ids[rows]
        summaries = summarise(within, subjects, resamples=resamples, metrics=["auroc"])
        scores += [SubgroupScore(name, int(rows.sum()), found) for found in summaries]
    return scores
