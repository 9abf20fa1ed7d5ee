"""The guidance loss of downstream models, and its change from unguided to guided sets: measured on
the test stays, beside what stage 3 predicted before any of these models was trained.

How the series themselves change is in scripts/pictures/guidance_change.py.

The rank loss is measured at the scale of the logits that is best for each model: how many trees or
which penalty a model chose on val_select jumps from one training set to the next and has nothing to
do with influence.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from scipy.special import softmax

from scripts.utility.metrics import Predictions, as_logits
from scripts.utility.protocols import Fit
from scripts.utility.summary import UNGUIDED
from tardiff.influence.guidance_losses import GuidanceLoss


def loss_of(predictions: Predictions, loss: GuidanceLoss) -> float:
    """The guidance loss of the predicted probabilities."""
    return loss.value(as_logits(predictions.probabilities), _labels(predictions))


def at_best_scale(predictions: Predictions, loss: GuidanceLoss) -> Predictions:
    """The predictions with their logits multiplied by the number that makes the rank loss smallest,
    as they are for another loss, which asks for probabilities and not for an order alone."""
    if loss.kind != "rank":
        return predictions
    scale = loss.best_scale(as_logits(predictions.probabilities), _labels(predictions))
    logs = np.log(np.clip(predictions.probabilities, 1e-12, None))
    return replace(predictions, probabilities=softmax(scale * logs, axis=1))


def best_loss(predictions: Predictions, loss: GuidanceLoss) -> float:
    """The guidance loss at the best scale."""
    return loss_of(at_best_scale(predictions, loss), loss)


def _labels(predictions: Predictions) -> Int[torch.Tensor, " n"]:
    return torch.from_numpy(predictions.labels.astype(np.int64))


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
                best_loss(predictions, loss) - best_loss(results[before], loss)
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
