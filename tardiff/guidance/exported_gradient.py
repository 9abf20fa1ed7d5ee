"""A guidance gradient as a file: G, what it belongs to, and what it gives away."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from configs.runtime.errors import DataError, MismatchError, MissingInputError
from configs.runtime.torch_files import load_marked, save_plain
from data_preprocess.splits import Splits
from tardiff.influence.gradient_cache import InfluenceSettings
from tardiff.influence.parameter_space import trainable, weights_sha256
from tardiff.training.checkpoint import require_match

KIND = "tardiff-guidance-gradient"
FORMAT = 1
_TUPLES = ("feature_names", "label_names")


@dataclass(frozen=True, kw_only=True)
class GuidanceFile:
    """A guidance gradient, not preconditioned, with its origin.

    Attributes:
        vector: by parameter name of the classifier, float32.
        classifier: SHA-256 of the classifier's weights.
        feature_names, label_names, length: of the guidance rows.
        normaliser: SHA-256 of the map to model space.
        guidance_loss, classes: see `tardiff.influence.guidance_losses.GuidanceLoss`.
        rows: guidance rows that were used.
        clip: bound of the gradient norm of a series; None: not clipped.
        privacy: epsilon, delta and what they are about; None: no noise was added and nothing
            is promised.
    """

    vector: dict[str, Tensor]
    classifier: str
    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]
    length: int
    normaliser: str
    guidance_loss: str
    classes: Sequence[int] | None
    rows: int
    clip: float | None
    privacy: dict[str, Any] | None


def save_guidance(path: Path, content: GuidanceFile) -> None:
    """Writes tensors and built-in types only, whole or not at all."""
    plain = {field.name: getattr(content, field.name) for field in fields(GuidanceFile)}
    plain |= {name: list(plain[name]) for name in _TUPLES}
    save_plain(path, {"kind": KIND, "format": FORMAT, **plain})


def load_guidance(path: Path) -> GuidanceFile:
    """Reads what `save_guidance` wrote.

    Raises:
        MissingInputError: no such file.
        DataError: not such a file.
    """
    if not path.is_file():
        raise MissingInputError(
            f"influence.vector: {path} does not exist; the custodian of the guidance rows makes it "
            "with `python -m tardiff.export_guidance <config.yaml> out=<file>`"
        )
    content = load_marked(path, "guidance gradient", kind=KIND, version=FORMAT)
    try:
        known: dict[str, Any] = {field.name: content[field.name] for field in fields(GuidanceFile)}
    except KeyError as error:
        raise DataError(f"{path}: a damaged guidance gradient (no {error})") from error
    known |= {name: tuple(known[name]) for name in _TUPLES}
    return GuidanceFile(**known)


def require_usable(
    path: Path,
    given: GuidanceFile,
    classifier: nn.Module,
    splits: Splits,
    settings: InfluenceSettings,
) -> None:
    """Raises MismatchError unless `given` belongs to this classifier, data and influence."""
    expected: dict[str, Any] = {
        "feature_names": splits.train.feature_names,
        "label_names": splits.train.label_names,
        "length": splits.train.length,
        "normaliser": splits.normaliser.fingerprint(),
        "classifier": weights_sha256(classifier),
    }
    remedy = (
        "G is the gradient of one classifier on one data layout: export it anew with the "
        "checkpoint that is used here"
    )
    require_match(f"influence.vector {path}", given, expected, remedy)
    shapes = {name: p.shape for name, p in trainable(classifier).items()}
    if {name: part.shape for name, part in given.vector.items()} != shapes:
        raise MismatchError(f"influence.vector {path}: its parameters are not the classifier's")
    wanted: dict[str, Any] = {}
    if settings.guidance_loss != "auto":
        wanted["guidance_loss"] = settings.guidance_loss
    if settings.classes is not None:
        wanted["classes"] = list(settings.classes)
    require_match(
        f"influence.vector {path}",
        given,
        wanted,
        "The file decides; leave influence.guidance_loss at auto and influence.classes empty",
    )
