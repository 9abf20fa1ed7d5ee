"""Reads and writes a trained classifier together with all that decides what it may be used on."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from classifier.checkpoint_validation import (
    expected_weights,
    is_built_in,
    require_match,
    require_modest,
    require_weights,
    trained_on,
)
from classifier.input_adapter import (
    VALUES_ONLY,
    build_classifier,
    num_input_channels,
    require_parts,
)
from classifier.losses import num_outputs
from classifier.models.source_code import network_source, warn_of_new_code
from configs.runtime.errors import DataError
from configs.runtime.torch_files import load_marked, save_plain
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits

MARKS = {"kind": "tardiff-classifier", "format": 2}


@dataclass(frozen=True, kw_only=True)
class ClassifierFacts:
    """What a classifier was trained as, and on.

    Attributes:
        model_path, model_args: architecture, as `build_model` takes it.
        feature_names, label_names, length: channels, classes and grid points of its series.
        normaliser: the map to the model space it was trained in.
        data_fingerprint: SHA-256 of the splits.
        settings: what decides its weights besides the data (recipe, seed), for comparison.
        scores: on the select split.
        inputs: the parts of a series it sees; see classifier/input_adapter.py.
    """

    model_path: str
    model_args: dict[str, Any]
    feature_names: tuple[str, ...]
    label_names: tuple[str, ...]
    length: int
    normaliser: Normaliser
    data_fingerprint: str
    settings: dict[str, Any]
    scores: dict[str, float]
    inputs: tuple[str, ...] = VALUES_ONLY

    def build(self) -> nn.Module:
        """A fresh, untrained model of this architecture that takes model-space series."""
        return build_classifier(
            self.model_path,
            self.model_args,
            normaliser=self.normaliser,
            length=self.length,
            num_outputs=num_outputs(len(self.label_names)),
            inputs=self.inputs,
        )


def save_classifier(path: Path, model: nn.Module, facts: ClassifierFacts) -> None:
    """Writes `model`, as `facts.build()` made it, to `path`; whole or not at all."""
    plain = {field.name: getattr(facts, field.name) for field in fields(ClassifierFacts)}
    plain["normaliser"] = facts.normaliser.to_plain()
    weights = {name: value.detach().cpu() for name, value in model.state_dict().items()}
    source = network_source(model)
    save_plain(path, {**MARKS, "facts": plain, "weights": weights, "network_source": source})


def load_classifier(
    path: Path, splits: Splits | None = None, *, allow: str | None = None
) -> nn.Module:
    """The model that `save_classifier` wrote, in eval mode on the CPU; warns where its code is
    another by now.

    Args:
        splits: refuse a classifier that was not trained on these.
        allow: architecture that may be imported besides the built-in ones. A checkpoint names its
            own, and importing runs code, so a file of unknown origin may not choose it.

    Raises:
        MissingInputError: no such file.
        DataError: not such a file, its weights do not fit its architecture, or it names an
            architecture that is neither built in nor allowed.
        MismatchError: trained on other channels, classes, lengths, normaliser or data.
        ConfigError: its architecture cannot be imported.
    """
    facts, weights, source = _read(path)
    if splits is not None:
        remedy = (
            "Train it on these data with `bash classifier/train.sh <config.yaml>`, or point "
            "data.dir at the splits it was trained on"
        )
        name = f"{path}: the classifier was trained with other data"
        require_match(name, facts, trained_on(splits), remedy)
    _require_trusted(path, facts, weights, allow)
    with torch.random.fork_rng(devices=[]):  # fresh weights are drawn only to be replaced
        model = facts.build()
    try:
        model.load_state_dict(weights)
    except (RuntimeError, AttributeError, TypeError) as error:
        raise DataError(
            f"{path}: its weights do not fit {facts.model_path} ({error}); the class has changed "
            "since - train it again with `bash classifier/train.sh`"
        ) from error
    warn_of_new_code(path, source, model, facts.model_path, "it and run stage 2")
    return model.eval()


def load_facts(path: Path) -> ClassifierFacts:
    """The facts alone; the architecture is not imported. Errors as in `load_classifier`."""
    return _read(path)[0]


def _require_trusted(
    path: Path, facts: ClassifierFacts, weights: dict[str, Any], allow: str | None
) -> None:
    """Before anything is imported or allocated that a file asks for."""
    if not is_built_in(facts.model_path):
        if facts.model_path != allow:
            raise DataError(
                f"{path}: names the architecture {facts.model_path!r}, which is not built in and "
                f"not the configured one ({allow}); importing it would run its code. If it is "
                f"yours, set classifier.model={facts.model_path}"
            )
        return
    require_modest(path, facts.model_args)
    require_parts(facts.normaliser, facts.inputs, f"{path}: inputs")
    expected = expected_weights(
        facts.model_path,
        facts.model_args,
        in_channels=num_input_channels(facts.normaliser, facts.inputs),
        length=facts.length,
        num_outputs=num_outputs(len(facts.label_names)),
    )
    require_weights(path, weights, {f"model.{name}": shape for name, shape in expected.items()})


def _read(path: Path) -> tuple[ClassifierFacts, dict[str, Any], str | None]:
    made_by = "`bash classifier/train.sh <config.yaml>`"
    return load_marked(path, "classifier checkpoint", MARKS, _parsed, made_by=made_by)


def _parsed(content: dict[str, Any]) -> tuple[ClassifierFacts, dict[str, Any], str | None]:
    arguments = dict(content["facts"])
    for name in ("feature_names", "label_names", "inputs"):
        arguments[name] = tuple(arguments[name])
    arguments["normaliser"] = Normaliser.from_plain(arguments["normaliser"])
    return ClassifierFacts(**arguments), content["weights"], content.get("network_source")
