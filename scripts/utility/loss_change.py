"""The guidance loss of downstream models, and its change from unguided to guided sets: measured on
the test stays, beside what stage 3 predicted before any of these models was trained.

How the series themselves change is in scripts/pictures/guidance_change.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from scripts.utility.metrics import Predictions, as_logits
from scripts.utility.protocols import Fit
from scripts.utility.summary import UNGUIDED
from tardiff.influence.guidance_losses import GuidanceLoss


def loss_of(predictions: Predictions, loss: GuidanceLoss) -> float:
    """The guidance loss of the predicted probabilities."""
    labels = torch.from_numpy(predictions.labels.astype(np.int64))
    return loss.value(as_logits(predictions.probabilities), labels)


def changes(
    results: Mapping[Fit, Predictions], guidance: Mapping[str, Any], num_classes: int
) -> list[dict[str, Any]]:
    """One row per guided set with a prediction, and downstream model: TSTR with it minus TSTR with
    the unguided set, seed by seed.

    Args:
        guidance: of every guided set, what stage 3 wrote about it.
    """
    rows = []
    for name in sorted(guidance):
        facts = guidance[name]["facts"]
        # Sets without "classes" were made when the prediction could be of another strength.
        if not {"strength", "classes"} <= facts.keys():
            continue
        loss = GuidanceLoss(facts["guidance_loss"], num_classes, facts["classes"])
        for model in dict.fromkeys(fit.model for fit in results):
            measured = [
                loss_of(predictions, loss) - loss_of(results[before], loss)
                for fit, predictions in results.items()
                if (fit.protocol, fit.generator, fit.model) == ("TSTR", name, model)
                and (before := replace(fit, generator=UNGUIDED)) in results
            ]
            if measured:
                rows.append(
                    {"set": name, "model": model}
                    | {"predicted": facts["strength"]["change"]}
                    | {"error": facts["strength"]["error"]}
                    | {"measured": float(np.mean(measured)), "seeds": measured}
                )
    return rows


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as sentences."""
    lines = []
    for row in rows:
        spread = f" (s.d. {np.std(row['seeds'], ddof=1):.4f})" if len(row["seeds"]) > 1 else ""
        lines.append(
            f"guidance loss of {row['model']} trained on {row['set']}, against unguided: "
            f"predicted {row['predicted']:+.4f} +- {row['error']:.4f}, "
            f"measured {row['measured']:+.4f}{spread}"
        )
    return "\n".join(lines)
