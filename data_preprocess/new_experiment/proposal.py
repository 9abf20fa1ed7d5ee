"""Proposal: what was understood of a user's data and what was not, and the config that follows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from configs.runtime.errors import DataError, few
from data_preprocess.cohort import Cohort
from data_preprocess.dataset import bare_name
from data_preprocess.doubts import doubts, too_few, unknown_classes
from data_preprocess.model_space.static_covariates import MAX_LEVELS

FEW, MANY = 1000, 5000  # series
SHORT = 64  # grid points up to which every point is a token
SHORTEST = 4  # grid points that metrics of fidelity and privacy need
GAPS = 0.05  # share of missing grid points from which on masks are generated


@dataclass
class Proposal:
    """What is told to the user, and the section `data` of the config.

    Attributes:
        understood: what -> how, in the order of printing.
        decide: what only the user can know, each a sentence that names its key.
        cut: the same, of a window that leaves out the end of long series; only where it is taken.
        data: the section `data`, as in a YAML.
    """

    data: dict[str, Any]
    understood: dict[str, str] = field(default_factory=dict)
    decide: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)


def shares(num_series: int) -> dict[str, float]:
    """Of few series more are held out: guidance and choice need some of every class."""
    if num_series < FEW:
        return {"val_guide": 0.15, "val_select": 0.15, "test": 0.25}
    return {"val_guide": 0.1, "val_select": 0.1, "test": 0.2}


def whole_config(name: str, proposal: Proposal, cohort: Cohort) -> dict[str, Any]:
    """The config for the series that were read: what differs from the defaults and fits their
    number, length and gaps."""
    n, _, length = cohort.values.shape
    gaps = float(np.isnan(cohort.values).mean())
    masks = gaps > GAPS
    space: dict[str, Any] = {"masks": masks, "rounded": True}
    if masks and (coded := _generated(cohort)):
        space["static"] = coded
    diffusion: dict[str, Any] = {"max_steps": 1500 if n < FEW else 2000 if n < MANY else 4000}
    if length <= SHORT:
        diffusion |= {"patch": 1, "multipliers": [2, 4]}
    if masks:
        diffusion["observed_only"] = False
    proposal.understood["gaps"] = f"{100 * gaps:.0f} % of the grid points are empty: " + (
        "when something is measured is generated too" if masks else "they are filled in"
    )
    evaluation: dict[str, Any] = {
        "models": ["gbdt"] if n < MANY else ["gbdt", "classifier"],
        "ratios": [1.0, 4.0] if n < MANY else [1.0],
        "seeds": [0, 1, 2, 3, 4],
    }
    if length < SHORTEST:
        evaluation |= {"fidelity": False, "privacy": False}
        proposal.understood["not evaluated"] = (
            f"fidelity and privacy: series have {length} grid points, and {SHORTEST} are needed"
        )
    return {
        "experiment": name,
        "data": proposal.data | {"space": space},
        "diffusion": diffusion,
        "classifier": {"model_args": {"cell": "lstm", "layers": 1}},
        "generation": {"ratio": 4.0 if n < MANY else 1.0},
        "evaluation": evaluation,
    }


def _generated(cohort: Cohort) -> list[str]:
    """The static covariates that model space has a code for: they vary, and in few categories."""
    levels = [len(np.unique(column[~np.isnan(column)])) for column in cohort.static.T]
    return [
        bare_name(name)
        for name, count in zip(cohort.static_names, levels, strict=True)
        if count > 1 and ("=" not in name or count <= MAX_LEVELS)
    ]


def tell_ranges(proposal: Proposal, cohort: Cohort) -> None:
    """What the values of each channel span, and what looks like a mistake."""
    spans = []
    for k, name in enumerate(cohort.feature_names):
        values = cohort.values[:, k]
        values = values[~np.isnan(values)]
        if not len(values):
            spans.append(f"{name} nothing in the window")
            continue
        spans.append(f"{name} {values.min():g} to {values.max():g}")
    proposal.decide += doubts(cohort, has_ranges=proposal.data["source"] == "table")
    proposal.understood["ranges"] = few(spans)


def require_enough(cohorts: Mapping[str, Cohort]) -> None:
    """Refuses splits that no stage could work with.

    Raises:
        DataError: names the split, the class and how many series are needed.
    """
    if found := too_few(cohorts):
        counts = [cohort.class_counts for cohort in cohorts.values()]
        doubts_of = unknown_classes(cohorts["train"].label_names, np.sum(counts, axis=0))
        raise DataError(found + "".join(f". And {doubt}" for doubt in doubts_of))
