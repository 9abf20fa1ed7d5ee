"""A convex guide as a file, which travels to the guidance rows and comes back with their G."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from classifier.checkpoint_validation import LONGEST, require_match
from classifier.input_adapter import input_parts
from configs.runtime.errors import ConfigError
from configs.runtime.torch_files import load_marked, save_plain
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits
from tardiff.guidance.auto_strength import AutoStrength
from tardiff.guidance.pool_estimate import PoolEstimate, PoolGuide, estimate_along
from tardiff.influence.convex_guide import Head, fit_guide
from tardiff.influence.guidance_losses import GuidanceLoss
from tardiff.influence.series_features import SeriesFeatures

MARKS = {"kind": "tardiff-guide", "format": 2}
# A file of unknown origin must not ask for all memory.
WIDEST = 20_000  # features
_LAYOUT = ("feature_names", "label_names", "length")


@dataclass(frozen=True, kw_only=True)
class Export:
    """What the custodian of the guidance rows gives away.

    Attributes:
        gradient: G.
        guidance_loss, classes, rows: its loss, of which classes, and how many rows it is of.
        strength: found by cross-validation on them; None where G is private, since it would tell
            more than G does.
        privacy: epsilon, delta and what they are about; None: nothing is promised.
    """

    gradient: Head
    guidance_loss: str
    classes: Sequence[int] | None
    rows: int
    strength: AutoStrength | None
    privacy: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True)
class GuideFile:
    """A convex guide with what it may be used on.

    Attributes:
        fitted: the guide, on the CPU. The design matrix of its unguided series is in the file.
        inputs: the parts of a series that it sees (`classifier.inputs`).
        feature_names, label_names, length: channels, classes and grid points of its series.
        normaliser: the map to its model space.
        with_guide: the generator of its series was trained on guidance rows too.
        export: None until the custodian has added it.
    """

    fitted: PoolGuide
    inputs: tuple[str, ...]
    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]
    length: int
    normaliser: Normaliser
    with_guide: bool
    export: Export | None = None


def save_guide(path: Path, content: GuideFile) -> None:
    """Writes tensors and built-in types only, whole or not at all."""
    guide, export = content.fitted.guide, content.export
    plain: dict[str, Any] = {name: getattr(content, name) for name in ("inputs", *_LAYOUT)}
    plain |= {name: list(plain[name]) for name in ("inputs", "feature_names", "label_names")}
    plain["with_guide"] = content.with_guide
    plain["normaliser"] = content.normaliser.to_plain()
    plain["features"] = content.fitted.features.to_plain()
    plain["guide"] = {"rows": guide.rows, "y": guide.y, "penalty": guide.penalty}
    if export is not None:
        plain["export"] = asdict(export)
    save_plain(path, {**MARKS, **plain})


def load_guide(path: Path) -> GuideFile:
    """Reads what `save_guide` wrote; the head is fitted anew, which takes milliseconds.

    Raises:
        MissingInputError: no such file.
        DataError: not such a file, or its parts do not fit each other.
    """
    made_by = (
        "`python -m tardiff.fit_guide <config.yaml> out=<file>`, or with the G of guidance rows "
        "`python -m tardiff.export_guidance <config.yaml> out=<file>`"
    )
    return load_marked(path, "guide", MARKS, _parsed, made_by=made_by)


def _parsed(content: dict[str, Any]) -> GuideFile:
    normaliser = Normaliser.from_plain(content["normaliser"])
    inputs, labels = tuple(content["inputs"]), tuple(content["label_names"])
    view = partial(input_parts, normaliser=normaliser, parts=inputs)
    features = SeriesFeatures.from_plain(content["features"], view=view)
    _require(0 < content["length"] <= LONGEST, f"a length of {content['length']}")
    rows, y, penalty = (content["guide"][name] for name in ("rows", "y", "penalty"))
    seen = features(torch.zeros(1, normaliser.num_model_channels, content["length"]))
    _require(rows.shape == (len(y), seen.shape[1] + 1), "the design matrix has another shape")
    _require(rows.shape[1] <= WIDEST, f"{rows.shape[1]} features")
    finite = bool(rows.isfinite().all()) and bool(seen.isfinite().all())
    _require(finite and float(penalty) > 0, "numbers that are not finite")
    _require(0 <= int(y.min()) and int(y.max()) < len(labels), "labels beyond its classes")
    guide = fit_guide(rows, y, num_classes=len(labels), penalty=float(penalty))
    export = content.get("export")
    if export is not None:
        gradient = export["gradient"]
        _require(gradient.shape == guide.theta.shape, "its G is of another guide")
        _require(bool(gradient.isfinite().all()), "its G is not finite")
        strength = export["strength"]
        strength = None if strength is None else AutoStrength(**strength)
        export = Export(**{**export, "strength": strength})
    return GuideFile(
        fitted=PoolGuide(features, guide),
        inputs=inputs,
        feature_names=tuple(content["feature_names"]),
        label_names=labels,
        length=int(content["length"]),
        normaliser=normaliser,
        with_guide=bool(content["with_guide"]),
        export=export,
    )


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise ValueError(otherwise)


def require_same_layout(path: Path | str, content: GuideFile, rows: EHRDataset) -> None:
    """Raises MismatchError unless `rows` have the channels, classes and length of the guide."""
    expected = {name: getattr(rows, name) for name in _LAYOUT}
    require_match(f"the guide {path}", content, expected, "Was it made for other data?")


def imported_estimate(
    path: Path,
    splits: Splits,
    device: torch.device,
    *,
    guidance_loss: str = "auto",
    classes: Sequence[int] | None = None,
) -> PoolEstimate:
    """The estimate of a file with G, where the guidance rows are not.

    Args:
        guidance_loss, classes: what the config asks for; "auto" and None leave it to the file.

    Raises:
        ConfigError: the file holds no G.
        MismatchError: it belongs to other data, or its G to another loss.
    """
    content = load_guide(path)
    require_same_layout(path, content, splits.train)
    expected = {"normaliser": splits.normaliser.fingerprint()}
    remedy = "Its model space is another one; fit the guide with the model that is used here"
    require_match(f"the guide {path}", content, expected, remedy)
    export, fitted = content.export, content.fitted
    if export is None:
        raise ConfigError(
            f"influence.vector={path}: a guide without G; the custodian of the guidance rows adds "
            f"it with `python -m tardiff.export_guidance <config.yaml> export.guide={path} out=...`"
        )

    asked = {} if guidance_loss == "auto" else {"guidance_loss": guidance_loss}
    asked |= {} if classes is None else {"classes": list(classes)}
    remedy = "The file decides; leave influence.guidance_loss at auto and influence.classes empty"
    require_match(f"influence.vector {path}", export, asked, remedy)
    num_classes = len(content.label_names)
    loss = GuidanceLoss(export.guidance_loss, num_classes, export.classes)
    facts = {**loss.to_plain(), "guidance_rows": export.rows}
    facts |= {"imported": str(path), "privacy": export.privacy}
    fitted.features.to(device)
    return estimate_along(fitted, export.gradient, lambda: export.strength, facts)
