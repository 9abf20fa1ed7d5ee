"""The downstream models trained on a synthetic set: how each is fitted and asked for probabilities.

A name in `evaluation.models` is
- "classifier": the task classifier of the experiment's own config, whatever its class;
- "lstm" or "gru": one and two recurrent layers, whatever the task classifier is;
- "gbdt" or "rocket": a model on fixed features (scripts/utility/feature_models.py);
- any of these with "+mask": the same model, which also sees the masks and the time since the last
  measurement, where the data have them (data.space.masks);
- any other classifier as `classifier.model` takes it ("conv", "timesnet", "package.module:Class"),
  with that class's default arguments and the recipe of the config.
"""

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classifier.input_adapter import VALUES_ONLY, build_classifier, input_parts, require_parts
from classifier.losses import class_probabilities, num_outputs
from classifier.models.registry import SHORT_NAMES
from classifier.models.source_code import own_source
from classifier.training import FitRecipe, fit_classifier, predict_logits
from configs.runtime.errors import ConfigError
from data_preprocess.model_space.normaliser import Normaliser
from scripts.utility.feature_models import FITS, LabelledArrays, Predictor

TASK_CLASSIFIER = "classifier"
MASK_AWARE = "+mask"
WITH_MASK = ("values", "mask", "time")
RECURRENT: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm", "layers": 1},
    "gru": {"cell": "gru", "layers": 2},
}


@dataclass(frozen=True, kw_only=True)
class Downstream:
    """Fits the downstream models by name; holds plain values only, so it travels to workers.

    Attributes:
        model, model_args: the task classifier, which the name "classifier" stands for.
        recipe: how every neural model is trained.
        num_classes: classes of the task.
        normaliser: the map of the series, which knows their channels.
        inputs: what of a series the task classifier sees.
    """

    model: str
    recipe: FitRecipe
    num_classes: int
    normaliser: Normaliser
    model_args: dict[str, Any] = field(default_factory=dict)
    inputs: tuple[str, ...] = VALUES_ONLY

    def describe(self, name: str) -> dict[str, Any]:
        """All that decides how `name` is fitted beside the source of this package, as JSON-able
        types; part of a fit's cache key."""
        seen = {"parts": list(self._parts(name))} if self._parts(name) != VALUES_ONLY else {}
        if bare_name(name) in FITS:
            return seen | {"model": bare_name(name), "class_weight": self.recipe.class_weight}
        path, model_args = self._architecture(name)
        return seen | {
            "model": path,
            "source": own_source(path),
            "args": model_args,
            "recipe": dataclasses.asdict(self.recipe),
        }

    def check(self, names: Iterable[str], length: int) -> None:
        """Raises ConfigError if one of `names` is not a classifier for such series."""
        for name in names:
            known = dict.fromkeys((TASK_CLASSIFIER, *RECURRENT, *FITS, *SHORT_NAMES))
            if bare_name(name) not in known and ":" not in name:
                raise ConfigError(
                    f"evaluation.models: unknown {name!r}; expected {', '.join(known)}, one of "
                    f"these with {MASK_AWARE}, or package.module:Class"
                )
            require_parts(self.normaliser, self._parts(name), f"evaluation.models {name!r}")
            if bare_name(name) not in FITS:
                self._build(name, length)

    def fit(
        self,
        name: str,
        train: LabelledArrays,
        select: LabelledArrays,
        *,
        seed: int,
        class_weight: str | None = None,
    ) -> Predictor:
        """A model fitted on `train`, selected on `select`, as series -> class probabilities.

        Args:
            seed: of the fit.
            class_weight: in place of the recipe's, if given.
        """
        class_weight = class_weight or self.recipe.class_weight
        recipe = dataclasses.replace(self.recipe, class_weight=class_weight)
        if bare_name(name) in FITS:

            def seen(x: np.ndarray) -> np.ndarray:
                return input_parts(torch.tensor(x), self.normaliser, self._parts(name)).numpy()

            rows = [(seen(x), y) for x, y in (train, select)]
            predict_seen = FITS[bare_name(name)](*rows, class_weight=recipe.class_weight, seed=seed)
            return lambda x: predict_seen(seen(x))
        length = train[0].shape[2]
        model = fit_classifier(
            _tensors(train),
            _tensors(select),
            build=lambda: self._build(name, length),
            recipe=recipe,
            seed=seed,
        ).model

        def predict(x: np.ndarray) -> np.ndarray:
            logits = predict_logits(model, torch.tensor(x))
            # In double precision confident predictions keep their order instead of tying at 1.
            return class_probabilities(logits.double()).numpy()

        return predict

    def _architecture(self, name: str) -> tuple[str, dict[str, Any]]:
        bare = bare_name(name)
        if bare in RECURRENT:
            return "rnn", RECURRENT[bare]
        return (self.model, self.model_args) if bare == TASK_CLASSIFIER else (bare, {})

    def _parts(self, name: str) -> tuple[str, ...]:
        if name.endswith(MASK_AWARE):
            return WITH_MASK
        return self.inputs if name == TASK_CLASSIFIER else VALUES_ONLY

    def _build(self, name: str, length: int) -> torch.nn.Module:
        return build_classifier(
            *self._architecture(name),
            normaliser=self.normaliser,
            inputs=self._parts(name),
            length=length,
            num_outputs=num_outputs(self.num_classes),
        )


def bare_name(name: str) -> str:
    """A name of `evaluation.models` without "+mask"."""
    return name.removesuffix(MASK_AWARE)


def _tensors(arrays: LabelledArrays) -> tuple[Tensor, Tensor]:
    # Copies: workers get read-only memory maps, which torch cannot wrap.
    return torch.tensor(arrays[0]), torch.tensor(arrays[1], dtype=torch.int64)
