"""Normaliser: the one invertible per-channel map between clinical units and model space.

Fitted on the measured entries of the train split only, saved beside the splits and inside every
checkpoint. The diffusion model and every classifier share it, so a classifier's gradient lives in
the space the sampler moves in. Both maps are piecewise linear with non-zero slopes, so the chain
rule holds through them (a step ECDF, as in the published code, has derivative zero).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from configs.runtime.atomic_files import write_text
from configs.runtime.errors import DataError, MismatchError, MissingInputError
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.channel_transforms import (
    Knots,
    PointMasses,
    charted_step,
    fit_map,
    interpolate,
    snap,
    spread_over_stretches,
)
from data_preprocess.model_space.layout import Layout
from data_preprocess.model_space.static_covariates import StaticCode

KINDS = ("zscore", "quantile")


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
        point_masses: per channel, the legal values that own a stretch of model space; all empty
            (or the empty tuple) where every channel is continuous.
        steps: per channel, the step in which its values are charted (1 bpm, 0.1 C), to which
            `to_clinical` rounds; 0 for none, empty where nothing is rounded.
        layout: what model space holds besides these channels; see model_space/encoding.py.
    """

    kind: str
    feature_names: tuple[str, ...]
    knots: tuple[Knots, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    clip: float
    point_masses: tuple[PointMasses, ...] = ()
    steps: tuple[float, ...] = ()
    layout: Layout = Layout()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise DataError(f"normaliser kind {self.kind!r}: expected one of {', '.join(KINDS)}")
        if not len(self.feature_names) == len(self.knots) == len(self.low) == len(self.high):
            raise DataError("normaliser: feature_names, knots, low and high differ in length")
        for per_channel in (self.point_masses, self.steps):
            if per_channel and len(per_channel) != len(self.knots):
                raise DataError("normaliser: point masses or steps and knots differ in length")
        self.layout.require_channels(len(self.feature_names))
        for name, sides in zip(self.feature_names, self.knots, strict=True):
            rising = all(len(side) > 1 and (np.diff(side) > 0).all() for side in sides)
            if len(sides) != 2 or not rising or len(sides[0]) != len(sides[1]):
                raise DataError(f"normaliser: the knots of channel {name} do not rise")

    @classmethod
    def fit(
        cls,
        train: EHRDataset,
        *,
        kind: str = "zscore",
        clip: float = 6.0,
        types: Sequence[str] | None = None,
        rounded: bool = False,
        layout: Layout | None = None,
    ) -> "Normaliser":
        """The map fitted on the measured entries of `train`.

        Args:
            types: per channel, one of channel_transforms.TYPES; None: all continuous.
            rounded: `to_clinical` rounds to the step in which a channel is charted.
            layout: what model space holds besides the channels.

        Raises:
            DataError: a channel has fewer than two distinct measured values, values that its type
                cannot have, or unknown `kind`.
        """
        types = types or ["continuous"] * train.num_channels
        fits = []
        for index, name in enumerate(train.feature_names):
            measured = train.values[:, index][train.observed[:, index]].astype(np.float64)
            if len(measured) == 0 or measured.min() == measured.max():
                found = "no measured value" if len(measured) == 0 else f"only {measured.min():g}"
                raise DataError(
                    f"channel {name}: {found} in the train split; a constant channel cannot be "
                    "normalised - remove it from the channels, or enlarge the split"
                )
            try:
                fitted = fit_map(measured, kind, types[index])
            except DataError as error:
                raise DataError(f"channel {name}: {error}") from error
            ends = (float(measured.min()), float(measured.max()))
            fits.append((*fitted, charted_step(measured), *ends))
        knots, point_masses, steps, low, high = zip(*fits, strict=True)
        return cls(
            kind=kind,
            feature_names=train.feature_names,
            knots=knots,
            low=low,
            high=high,
            clip=clip,
            point_masses=point_masses if any(point_masses) else (),
            steps=steps if rounded else (),
            layout=layout or Layout(),
        )

    def to_model(
        self, values: Float[np.ndarray, "n channel time"]
    ) -> Float[Tensor, "n channel time"]:
        """Clinical values in model space, float32, clipped to +-clip."""
        mapped = self.forward_map(torch.from_numpy(np.asarray(values, np.float64)))
        return mapped.clamp(-self.clip, self.clip).float()

    def dithered(
        self, values: Float[np.ndarray, "n channel time"], rng: np.random.Generator
    ) -> Float[Tensor, "n channel time"]:
        """`to_model` of what each value may have been before it was charted: anything within half
        a charted step, or within the stretch of its point mass. `to_clinical` takes it back, but
        for values near a point mass (channel_transforms.TYPES).

        Charted values have quantiles like a staircase, and what is matched to it rounds to a comb;
        these have smooth ones.
        """
        steps = np.array(self.steps or [0.0] * len(self.knots))[:, None]
        model = self.to_model(values + steps * rng.uniform(-0.5, 0.5, values.shape))
        for index, point_masses in enumerate(self.point_masses):
            spread = spread_over_stretches(
                values[:, index], model[:, index].numpy(), point_masses, rng
            )
            model[:, index] = torch.from_numpy(spread).clamp(-self.clip, self.clip)
        return model

    def to_clinical(
        self, x: Float[Tensor, "n channel time"]
    ) -> Float[np.ndarray, "n channel time"]:
        """Model-space series in clinical units, float32, with legal values only.

        They lie within the measured range of the train split, so that a sample cannot hold, say,
        negative urine, and have a point mass's value in its stretch.
        """
        model = x.detach().cpu().double()
        values = self.inverse_map(model)
        for index, step in enumerate(self.steps):
            if step:
                values[:, index] = torch.round(values[:, index] / step) * step
        low, high = (values.new_tensor(bound)[:, None] for bound in (self.low, self.high))
        values = values.clamp(low, high)
        for index, point_masses in enumerate(self.point_masses):
            snapped = snap(values[:, index].numpy(), model[:, index].numpy(), point_masses)
            values[:, index] = torch.from_numpy(snapped)
        return values.float().numpy()

    def forward_map(
        self, values: Float[Tensor, "n channel time"]
    ) -> Float[Tensor, "n channel time"]:
        """Clinical -> model space, differentiable, without clipping."""
        every = enumerate(self.knots)
        return torch.stack([interpolate(values[:, k], *knots) for k, knots in every], dim=1)

    def inverse_map(self, x: Float[Tensor, "n channel time"]) -> Float[Tensor, "n channel time"]:
        """Model space -> clinical, differentiable, without clamping."""
        every = enumerate(self.knots)
        return torch.stack([interpolate(x[:, k], *knots[::-1]) for k, knots in every], dim=1)

    @property
    def num_model_channels(self) -> int:
        """Channels of model space: values, masks and static covariates."""
        return self.layout.num_channels(len(self.feature_names))

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
        """The map as JSON-able built-in types; what is empty is absent."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        if not self.layout.together:
            del plain["layout"]["together"]
        absent = {name for name in ("point_masses", "steps") if not plain[name]}
        absent |= {"layout"} if self.layout == Layout() else set()
        files = {"point_masses": "atoms"}  # the name in files
        return {files.get(name, name): v for name, v in plain.items() if name not in absent}

    @classmethod
    def from_plain(cls, plain: dict[str, Any]) -> "Normaliser":
        """Inverse of `to_plain`."""
        given = {name: _tuples(value) for name, value in plain.items()}
        layout = dict(given.pop("layout", {}))
        codes = tuple(StaticCode(**code) for code in layout.pop("static", ()))
        point_masses = given.pop("atoms", ())
        return cls(**given, point_masses=point_masses, layout=Layout(**layout, static=codes))

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
        except (ValueError, AttributeError, TypeError, LookupError, RecursionError) as error:
            raise DataError(f"{path}: not a normaliser file ({error})") from error


def _tuples(value: Any) -> Any:
    """`value` with every list in it as a tuple."""
    if isinstance(value, dict):
        return {name: _tuples(item) for name, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value
