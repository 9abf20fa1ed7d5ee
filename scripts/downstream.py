"""The downstream models that judge a synthetic set: how each is fitted and asked for probabilities.

A name in `evaluation.models` is
- "rnn": the task classifier of the experiment's own config, whatever its class;
- "lstm" or "gru": one and two recurrent layers, whatever the task classifier is;
- "gbdt" or "rocket": a model on fixed features (scripts/feature_models.py);
- any other classifier as `classifier.model` takes it ("conv", "timesnet", "package.module:Class"),
  with that class's default arguments and the recipe of the config.
"""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from classifier.clinical_input import ClinicalInput
from classifier.fit import FitRecipe, fit_classifier, predict_logits
from classifier.losses import class_probabilities, num_outputs
from classifier.models import build_model
from data_preprocess.normaliser import Normaliser
from scripts.feature_models import FITS, SETTINGS, LabelledArrays, Predictor

RECURRENT: dict[str, dict[str, Any]] = {
    "lstm": {"cell": "lstm", "layers": 1},
    "gru": {"cell": "gru", "layers": 2},
}


@dataclass(frozen=True, kw_only=True)
class Downstream:
    """Fits the downstream models by name; holds plain values only, so it travels to workers.

    Attributes:
        model, model_args: the task classifier, which the name "rnn" stands for.
        recipe: how every neural model is trained.
        num_classes: classes of the task.
        clinical_input: the map of the series, if the task classifier takes clinical units; None if
            it takes model space, as all others do.
    """

    model: str
    recipe: FitRecipe
    num_classes: int
    model_args: dict[str, Any] = field(default_factory=dict)
    clinical_input: Normaliser | None = None

    def describe(self, name: str) -> dict[str, Any]:
        """All that decides how `name` is fitted, as JSON-able types; part of a cell's cache key."""
        if name in FITS:
            return {
                "model": name,
                "settings": SETTINGS[name],
                "select_by": self.recipe.select_by,
                "class_weight": self.recipe.class_weight,
            }
        path, model_args = self._architecture(name)
        clinical = self._clinical_input(name)
        return {
            "model": path,
            "args": model_args,
            "recipe": dataclasses.asdict(self.recipe),
            "clinical_input": clinical.fingerprint() if clinical else None,
        }

    def check(self, names: list[str], *, in_channels: int, length: int) -> None:
        """Raises ConfigError if one of `names` is not a classifier for such series."""
        for name in [name for name in names if name not in FITS]:
            self._build(name, in_channels, length)

    def fit(
        self,
        name: str,
        train: LabelledArrays,
        select: LabelledArrays,
        *,
        seed: int,
        effort: float = 1.0,
        class_weight: str | None = None,
    ) -> Predictor:
        """A model fitted on `train`, selected on `select`, as series -> class probabilities.

        Args:
            seed: of the fit.
            effort: factor of the largest number of epochs and of the patience, rounded up; for
                models that are trained by steps.
            class_weight: in place of the recipe's, if given.
        """
        recipe = self._recipe(effort, class_weight)
        if name in FITS:
            choices = {"select_by": recipe.select_by, "class_weight": recipe.class_weight}
            return FITS[name](train, select, seed=seed, **choices)
        _, in_channels, length = train[0].shape
        fitted = fit_classifier(
            _tensors(train),
            _tensors(select),
            build=lambda: self._build(name, in_channels, length),
            recipe=recipe,
            seed=seed,
        )

        def predict(x: np.ndarray) -> np.ndarray:
            logits = predict_logits(fitted.model, torch.tensor(x))
            # In double precision confident predictions keep their order instead of tying at 1.
            return class_probabilities(logits.double()).numpy()

        return predict

    def _recipe(self, effort: float, class_weight: str | None) -> FitRecipe:
        epochs, patience = self.recipe.max_epochs * effort, self.recipe.patience * effort
        return dataclasses.replace(
            self.recipe,
            max_epochs=math.ceil(epochs),
            patience=math.ceil(patience),
            class_weight=class_weight or self.recipe.class_weight,
        )

    def _architecture(self, name: str) -> tuple[str, dict[str, Any]]:
        if name in RECURRENT:
            return "rnn", RECURRENT[name]
        return (self.model, self.model_args) if name == "rnn" else (name, {})

    def _build(self, name: str, in_channels: int, length: int) -> torch.nn.Module:
        path, model_args = self._architecture(name)
        outputs = num_outputs(self.num_classes)
        model = build_model(
            path, model_args, in_channels=in_channels, length=length, num_outputs=outputs
        )
        clinical = self._clinical_input(name)
        return ClinicalInput(model, clinical) if clinical else model

    def _clinical_input(self, name: str) -> Normaliser | None:
        return self.clinical_input if name == "rnn" else None


def _tensors(arrays: LabelledArrays) -> tuple[Tensor, Tensor]:
    # Copies: workers get read-only memory maps, which torch cannot wrap.
    return torch.tensor(arrays[0]), torch.tensor(arrays[1], dtype=torch.int64)
