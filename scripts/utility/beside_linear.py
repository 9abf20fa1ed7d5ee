"""Every downstream model trained on real series alone beside a linear model on fixed features.

What a model that cannot learn the task from real series scores says nothing about a synthetic set.
"""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Int

from classifier.linear_reference import AgainstLinear, against_linear, linear_scores
from scripts.utility.feature_models import FITS
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import EvaluationData, Fit

REMEDY = "another of evaluation.models, such as conv or rocket"
REMEDY_OF_STEPS = f"{REMEDY}, or larger classifier.max_epochs and classifier.patience"


def compare_with_linear(
    on_select: Mapping[Fit, Predictions],
    data: EvaluationData,
    subject_ids: Int[np.ndarray, " n"] | None,
) -> dict[str, AgainstLinear]:
    """Per downstream model, its real-only fits (averaged over seeds) against the reference.

    Args:
        on_select: predictions for val_select; fits other than TRTR are left out.
        subject_ids: patient of every row of val_select; None: each is of another.
    """
    train, select = (
        torch.tensor(rows.x[:, : data.num_values]) for rows in (data.train, data.select)
    )
    linear = linear_scores((train, torch.tensor(data.train.y)), select)
    found = {}
    for model in dict.fromkeys(fit.model for fit in on_select):
        own = [p for fit, p in on_select.items() if (fit.protocol, fit.model) == ("TRTR", model)]
        scores = [p.probabilities for p in own]
        found[model] = against_linear(scores, linear, data.select.y, subject_ids)
    return found


def warnings(found: Mapping[str, AgainstLinear]) -> list[str]:
    """One sentence per model that is far below the reference."""
    return [
        beside.warning(
            f"the downstream model {name!r}, trained on the real series,",
            REMEDY if name.removesuffix("+mask") in FITS else REMEDY_OF_STEPS,
        )
        for name, beside in found.items()
        if beside.is_blind
    ]


def as_text(found: Mapping[str, AgainstLinear]) -> str:
    """One line with every model's AUROC and that of the reference."""
    own = ", ".join(f"{name} {beside.auroc:.3f}" for name, beside in found.items())
    line = next(iter(found.values())).line()
    return f"trained on real series, AUROC on val_select: {own}; {line}"
