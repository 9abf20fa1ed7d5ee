"""Normaliser: the one invertible per-channel map between clinical units and model space.

Fitted on the measured entries of the train split only, saved beside the splits and inside every
checkpoint. The diffusion model and every classifier share it, so a classifier's gradient lives in
the space the sampler moves in. Both maps are piecewise linear with non-zero slopes, so the chain
rule holds through them (a step ECDF, as in the published code, has derivative zero).
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import norm
from torch import Tensor

from configs.atomic import write_text
from configs.errors import DataError, MismatchError, MissingInputError
from data_preprocess.dataset import EHRDataset

KINDS = ("zscore", "quantile")
NUM_QUANTILES = 65
# A channel whose values pile up (urine at 0, GCS at 15) has equal quantiles; knots closer than
# this share of the spread are merged so that every slope stays finite and non-zero.
MIN_KNOT_GAP = 1e-3


@dataclass(frozen=True, kw_only=True)
class Normaliser:
    """Invertible per-channel map, clinical units <-> model space (dimensionless).

    Attributes:
        kind: "zscore" (one straight line per channel) or "quantile" (monotone interpolation of
            the training quantiles to standard normal quantiles, straight beyond the ends).
        feature_names: channels it was fitted on, in order.
        knots: per channel, the clinical values and the model values of the map's knots.
        low, high: smallest and largest measured training value per channel; `to_clinical` stays
            within them.
        clip: bound of model space.
    """

    kind: str
    feature_names: tuple[str, ...]
    knots: tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    clip: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"normaliser kind {self.kind!r}: expected one of {', '.join(KINDS)}")
        if not len(self.feature_names) == len(self.knots) == len(self.low) == len(self.high):
            raise DataError("normaliser: feature_names, knots, low and high differ in length")
        for name, sides in zip(self.feature_names, self.knots, strict=True):
            rising = all(len(side) > 1 and (np.diff(side) > 0).all() for side in sides)
            if not rising or len(sides[0]) != len(sides[1]):
                raise DataError(f"normaliser: the knots of channel {name} do not rise")

    @classmethod
    def fit(cls, train: EHRDataset, *, kind: str = "zscore", clip: float = 6.0) -> "Normaliser":
        """The map fitted on the measured entries of `train`.

        Raises:
            DataError: a channel has fewer than two distinct measured values, or unknown `kind`.
        """
        knots, low, high = [], [], []
        for index, name in enumerate(train.feature_names):
            measured = train.values[:, index][train.observed[:, index]].astype(np.float64)
            if len(measured) == 0 or measured.min() == measured.max():
                found = "no measured value" if len(measured) == 0 else f"only {measured.min():g}"
                raise DataError(
                    f"channel {name}: {found} in the train split; a constant channel cannot be "
                    "normalised - remove it from the channels, or enlarge the split"
                )
            knots.append(_zscore_knots(measured) if kind == "zscore" else _quantile_knots(measured))
            low.append(float(measured.min()))
            high.append(float(measured.max()))
        return cls(
            kind=kind,
            feature_names=train.feature_names,
            knots=tuple(knots),
            low=tuple(low),
            high=tuple(high),
            clip=clip,
        )

    def to_model(
        self, values: Float[np.ndarray, "n channel time"]
    ) -> Float[Tensor, "n channel time"]:
        """Clinical values in model space, float32, clipped to +-clip."""
        mapped = self.forward_map(torch.from_numpy(np.asarray(values, np.float64)))
        return mapped.clamp(-self.clip, self.clip).float()

    def to_clinical(
        self, x: Float[Tensor, "n channel time"], *, clamp: bool = True
    ) -> Float[np.ndarray, "n channel time"]:
        """Model-space series in clinical units, float32.

        Args:
            clamp: keep every value within the measured range of the train split, so that a
                sample cannot hold, say, negative urine.
        """
        values = self.inverse_map(x.detach().cpu().double())
        if clamp:
            values = values.clamp(_column(self.low, values), _column(self.high, values))
        return values.float().numpy()

    def forward_map(
        self, values: Float[Tensor, "n channel time"]
    ) -> Float[Tensor, "n channel time"]:
        """Clinical -> model space, differentiable, without clipping."""
        return self._apply(values, inverse=False)

    def inverse_map(self, x: Float[Tensor, "n channel time"]) -> Float[Tensor, "n channel time"]:
        """Model space -> clinical, differentiable, without clamping."""
        return self._apply(x, inverse=True)

    def require_channels(self, dataset: EHRDataset, where: str) -> None:
        """Raises MismatchError if `dataset` has other channels than the fitted ones."""
        if dataset.feature_names != self.feature_names:
            raise MismatchError(
                f"{where}: channels {dataset.feature_names} but the normaliser was fitted on "
                f"{self.feature_names}"
            )

    def fingerprint(self) -> str:
        """SHA-256 of the map; equal maps have equal fingerprints."""
        return hashlib.sha256(json.dumps(self.to_plain(), sort_keys=True).encode()).hexdigest()

    def to_plain(self) -> dict[str, Any]:
        """The map as JSON-able built-in types."""
        return {
            "kind": self.kind,
            "feature_names": list(self.feature_names),
            "knots": [[list(side) for side in pair] for pair in self.knots],
            "low": list(self.low),
            "high": list(self.high),
            "clip": self.clip,
        }

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Normaliser":
        """Inverse of `to_plain`."""
        return cls(
            kind=plain["kind"],
            feature_names=tuple(plain["feature_names"]),
            knots=tuple((tuple(a), tuple(b)) for a, b in plain["knots"]),
            low=tuple(plain["low"]),
            high=tuple(plain["high"]),
            clip=plain["clip"],
        )

    def save(self, path: Path) -> None:
        """Writes the map as JSON."""
        write_text(path, json.dumps(self.to_plain(), indent=1))

    @classmethod
    def load(cls, path: Path) -> "Normaliser":
        """Reads what `save` wrote.

        Raises:
            MissingInputError: no such file.
            DataError: not such a file.
        """
        if not path.is_file():
            raise MissingInputError(f"{path} does not exist")
        try:
            return cls.from_plain(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(f"{path}: not a normaliser file ({error})") from error

    def _apply(self, values: Tensor, *, inverse: bool) -> Tensor:
        columns = []
        for index, (clinical, model) in enumerate(self.knots):
            source, target = (model, clinical) if inverse else (clinical, model)
            columns.append(_interpolate(values[:, index], source, target))
        return torch.stack(columns, dim=1)


def _zscore_knots(measured: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    mean, sd = float(measured.mean()), float(measured.std())
    return (mean - sd, mean + sd), (-1.0, 1.0)


def _quantile_knots(measured: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    # Mid-rank probabilities: the ends get the expected position of the smallest and largest value.
    tail = 0.5 / max(len(measured), 2)
    probabilities = np.linspace(tail, 1 - tail, NUM_QUANTILES)
    clinical = np.quantile(measured, probabilities)
    groups = _group_close(clinical, MIN_KNOT_GAP * (clinical[-1] - clinical[0]))
    if groups[-1] == 0:
        return _zscore_knots(measured)
    # A run of equal quantiles stands at the normal quantile of its middle probability.
    members = [groups == group for group in range(groups[-1] + 1)]
    merged_clinical = tuple(float(clinical[run].mean()) for run in members)
    merged_model = tuple(float(norm.ppf(probabilities[run].mean())) for run in members)
    return merged_clinical, merged_model


def _group_close(ascending: np.ndarray, gap: float) -> np.ndarray:
    """Group number per value; a new group starts more than `gap` above the start of the last."""
    groups = np.zeros(len(ascending), int)
    start = ascending[0]
    for index, value in enumerate(ascending[1:], start=1):
        is_new = value - start > gap
        groups[index] = groups[index - 1] + is_new
        start = value if is_new else start
    return groups


def _interpolate(values: Tensor, source: tuple[float, ...], target: tuple[float, ...]) -> Tensor:
    """Piecewise-linear map through the knots, straight beyond both ends."""
    xs = values.new_tensor(source)
    ys = values.new_tensor(target)
    right = torch.searchsorted(xs, values.detach().contiguous()).clamp(1, len(source) - 1)
    slope = (ys[right] - ys[right - 1]) / (xs[right] - xs[right - 1])
    return ys[right - 1] + slope * (values - xs[right - 1])


def _column(values: tuple[float, ...], like: Tensor) -> Tensor:
    return like.new_tensor(values)[:, None]
