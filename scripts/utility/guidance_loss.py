"""The guidance loss of downstream models, and its change from unguided to guided sets: measured on
the test stays, beside what stage 3 predicted before any of these models was trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from data_preprocess.storage.dataset_files import load_extra
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import Fit
from scripts.utility.summary import UNGUIDED
from tardiff.influence.guidance_losses import GuidanceLoss


def loss_of(predictions: Predictions, loss: GuidanceLoss) -> float:
    """The guidance loss of the predicted probabilities."""
    logs = torch.from_numpy(np.log(np.clip(predictions.probabilities, 1e-12, None)))
    logits: Tensor = logs[:, 1:] - logs[:, :1] if logs.shape[1] == 2 else logs
    return loss.value(logits, torch.from_numpy(predictions.labels.astype(np.int64)))


def changes(
    results: Mapping[Fit, Predictions], folder: Path, num_classes: int
) -> list[dict[str, Any]]:
    """One row per guided set of `folder` with a prediction, and downstream model: TSTR with it
    minus TSTR with the unguided set, seed by seed."""
    rows = []
    for name in sorted({fit.generator for fit in results if fit.protocol == "TSTR"}):
        path = folder / f"{name}.npz"
        guidance = load_extra(path).get("guidance") if path.is_file() else None
        if guidance is None or "strength" not in guidance["facts"]:
            continue
        predicted = guidance["facts"]["strength"]
        loss = GuidanceLoss(guidance["facts"]["guidance_loss"], num_classes)
        for model in dict.fromkeys(fit.model for fit in results):
            measured = _differences(results, name, model, loss)
            if measured:
                rows.append(
                    {"set": name, "model": model}
                    | {"predicted": predicted["change"], "error": predicted["error"]}
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


def _differences(
    results: Mapping[Fit, Predictions], name: str, model: str, loss: GuidanceLoss
) -> list[float]:
    found = []
    for fit, predictions in results.items():
        if (fit.protocol, fit.generator, fit.model) == ("TSTR", name, model):
            before = results.get(Fit("TSTR", UNGUIDED, fit.ratio, model, fit.seed))
            if before is not None:
                found.append(loss_of(predictions, loss) - loss_of(before, loss))
    return found
