"""build_influence: from a classifier, the guidance rows and the settings to a Direction.

The (preconditioned) guidance gradient is computed once and cached on disk under a hash of all
that it depends on: the classifier's weights, the data and the influence settings.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from classifier.checkpoint_validation import require_weights
from configs.runtime.errors import DataError, MismatchError
from configs.runtime.torch_files import load_plain, save_plain
from tardiff.diffusion.noise_schedule import Labels, Series
from tardiff.influence.guidance_gradient import guidance_gradient
from tardiff.influence.guidance_losses import resolve_kind
from tardiff.influence.input_gradient import InfluenceDirection
from tardiff.influence.parameter_space import ParamGrads, norm, trainable, weights_sha256
from tardiff.influence.preconditioner import precondition
from tardiff.influence.process_group import current_ranks

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class InfluenceSettings:
    """Fields as in configs.schema.experiment.InfluenceConfig."""

    guidance_loss: str
    classes: Sequence[int] | None
    preconditioner: str
    damping: float
    cg_iterations: int
    preconditioner_rows: int


@dataclass(frozen=True)
class LabelledSeries:
    """Model-space series with labels."""

    x: Series
    y: Labels


def guide_vector(
    model: nn.Module,
    guide: LabelledSeries,
    train: LabelledSeries,
    settings: InfluenceSettings,
    *,
    num_classes: int,
    seed: int,
    cache: Path | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """G (preconditioned if asked for) and the facts of its computation, from `cache` if there.

    The ranks of a process group compute it together.

    Args:
        train: rows of the classifier's training loss; they define the Gauss-Newton matrix.
        cache: folder of cached vectors; None computes anew.
    """
    if cache is None:
        return _compute(model, guide, train, settings, num_classes, seed)
    key = _key(model, guide, train, settings, seed)
    path = cache / f"{key}.pt"
    if current_ranks().agree(path.is_file()):
        log.info("guidance gradient: cached in %s", path)
        return _read_cached(path, key, model)
    vector, facts = _compute(model, guide, train, settings, num_classes, seed)
    if current_ranks().rank == 0:
        save_plain(path, {"key": key, "vector": vector, "facts": facts})
    return vector, facts


def _read_cached(
    path: Path, key: str, model: nn.Module
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The vector and facts of `path`, proven to be those of `key`."""
    content = load_plain(path, "cached guidance gradient")
    remedy = f"Remove {path}: it is computed again."
    if not isinstance(content, dict) or not isinstance(content.get("facts"), dict):
        raise DataError(f"{path}: not a cached guidance gradient of this project. {remedy}")
    if content.get("key") != key:
        raise MismatchError(
            f"{path}: the guidance gradient of another classifier, other guidance rows or other "
            f"influence settings (key {content.get('key')}, expected {key}). {remedy}"
        )
    require_weights(path, content.get("vector"), trainable(model))
    return content["vector"], content["facts"]


def _compute(
    model: nn.Module,
    guide: LabelledSeries,
    train: LabelledSeries,
    settings: InfluenceSettings,
    num_classes: int,
    seed: int,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    started = time.monotonic()
    kind = resolve_kind(settings.guidance_loss, num_classes)
    vector = guidance_gradient(
        model,
        guide.x,
        guide.y,
        kind=kind,
        num_classes=num_classes,
        classes=settings.classes,
        ranks=current_ranks(),
    )
    _require_finite(vector, "guidance gradient", "the classifier's logits or weights")
    facts: dict[str, Any] = {
        "guidance_loss": kind,
        "guidance_rows": len(guide.y),
        "gradient_norm": norm(vector),
    }
    vector, solved = preconditioned(model, vector, train, settings, seed)
    facts |= solved
    facts["seconds"] = round(time.monotonic() - started, 2)
    return vector, facts


def preconditioned(
    model: nn.Module,
    vector: ParamGrads,
    train: LabelledSeries,
    settings: InfluenceSettings,
    seed: int,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """`vector` as `settings.preconditioner` makes it, and the facts of the solution."""
    if settings.preconditioner == "none":
        return dict(vector), {}
    rows = _subset(len(train.y), settings.preconditioner_rows, seed)
    solved, facts = precondition(
        model,
        vector,
        train.x[rows],
        damping=settings.damping,
        iterations=settings.cg_iterations,
        ranks=current_ranks(),
    )
    _require_finite(solved, "preconditioned guidance gradient", "influence.damping (too small)")
    return solved, facts


def _require_finite(vector: dict[str, Tensor], what: str, cause: str) -> None:
    odd = [name for name, part in vector.items() if not torch.isfinite(part).all()]
    if odd:
        raise FloatingPointError(f"the {what} is not finite at {', '.join(odd[:4])}; check {cause}")


def build_influence(
    model: nn.Module,
    vector: dict[str, Tensor],
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    device: torch.device,
) -> InfluenceDirection:
    """The influence direction of `model` on `device`."""
    moved = {name: part.to(device) for name, part in vector.items()}
    return InfluenceDirection(model.to(device), loss, moved)


def _subset(available: int, wanted: int, seed: int) -> Tensor:
    order = np.random.default_rng(seed).permutation(available)
    return torch.from_numpy(np.sort(order[:wanted]))


def _key(
    model: nn.Module,
    guide: LabelledSeries,
    train: LabelledSeries,
    settings: InfluenceSettings,
    seed: int,
) -> str:
    digest = hashlib.sha256(json.dumps([asdict(settings), seed], sort_keys=True).encode())
    digest.update(weights_sha256(model).encode())
    for rows in (guide, train):
        digest.update(rows.x.numpy().tobytes())
        digest.update(rows.y.numpy().tobytes())
    return digest.hexdigest()[:24]
