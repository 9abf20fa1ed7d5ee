"""guide_vector: from a classifier, the guidance rows and the settings to the guidance gradient.

The (preconditioned) guidance gradient is computed once and kept on disk under all that decides it:
the classifier's weights, the data, the influence settings and the code.
"""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from classifier.checkpoint_validation import require_weights
from data_preprocess.model_space.encoding import EncodedSeries
from data_preprocess.storage.content_cache import ContentCache, Entry, array_fingerprint
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.parameter_space import norm, trainable, weights_sha256
from tardiff.influence.preconditioner import precondition

PRECONDITIONER_ROWS = 4096  # training series that the curvature is taken on, at most
CODE = ("tardiff.influence", "classifier")  # what its result depends on

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InfluenceSettings:
    """Fields as in configs.schema.experiment.InfluenceConfig."""

    guidance_loss: str
    classes: Sequence[int] | None
    preconditioner: str
    damping: float
    cg_iterations: int


def guide_vector(
    model: nn.Module,
    guide: EncodedSeries,
    train: EncodedSeries,
    settings: InfluenceSettings,
    *,
    num_classes: int,
    seed: int,
    cache: Path | None = None,
    source: str | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """G (preconditioned if asked for) and the facts of its computation, from `cache` if there.

    Args:
        train: rows of the classifier's training loss; they define the Gauss-Newton matrix.
        cache: folder of cached vectors; None computes anew.
        source: of a classifier that is not of this project, as `own_source` says it.

    Raises:
        DataError: the cached vector does not fit the classifier.
    """
    loss = GuidanceLoss(settings.guidance_loss, num_classes, settings.classes)

    def computed() -> tuple[dict[str, Tensor], dict[str, Any]]:
        vector = guidance_gradient(model, guide.x, guide.y, loss)
        _require_finite(vector, "guidance gradient", "the classifier's logits or weights")
        facts: dict[str, Any] = {"guidance_loss": loss.kind, "guidance_rows": len(guide.y)}
        facts["gradient_norm"] = norm(vector)
        if settings.preconditioner == "none":
            return vector, facts
        rows = _subset(len(train.y), PRECONDITIONER_ROWS, seed)
        size = {"damping": settings.damping, "iterations": settings.cg_iterations}
        vector, solved = precondition(model, vector, train.x[rows], **size)
        _require_finite(vector, "preconditioned guidance gradient", "influence.damping (too small)")
        return vector, facts | solved

    if cache is None:
        return computed()
    kept = ContentCache(cache, CODE)
    key: dict[str, Any] = {
        "classifier": weights_sha256(model),
        "rows": array_fingerprint(*(a.numpy() for s in (guide, train) for a in (s.x, s.y))),
        "settings": asdict(settings),
        "seed": seed,
    }
    key |= {"source": source} if source else {}
    if entry := kept.read(key):
        log.info("guidance gradient: cached in %s", kept.path(key))
        vector = {name: torch.from_numpy(part) for name, part in entry.arrays.items()}
        require_weights(kept.path(key), vector, trainable(model))
        return vector, dict(entry.facts)
    vector, facts = computed()
    kept.write(key, Entry({name: part.numpy() for name, part in vector.items()}, facts))
    return vector, facts


def _require_finite(vector: dict[str, Tensor], what: str, cause: str) -> None:
    odd = [name for name, part in vector.items() if not torch.isfinite(part).all()]
    if odd:
        raise FloatingPointError(f"the {what} is not finite at {', '.join(odd[:4])}; check {cause}")


def _subset(available: int, wanted: int, seed: int) -> Tensor:
    order = np.random.default_rng(seed).permutation(available)
    return torch.from_numpy(np.sort(order[:wanted]))
