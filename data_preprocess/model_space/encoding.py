"""Between data sets and model space: the one tensor that diffusion, classifier and guidance share.

Channels are [values | masks | static covariates]; what of the last two is there, the normaliser's
layout says. Masks are drawn together with the values (joint diffusion, +-1 as "analog bits"), so
when something is measured is learnt as what is measured is; influence and guidance act on all of
it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from configs.runtime.errors import DataError
from data_preprocess.dataset import EHRDataset
from data_preprocess.impute import impute
from data_preprocess.model_space.normaliser import Normaliser


@dataclass(frozen=True)
class EncodedSeries:
    """Model-space series with labels; `subject_ids` as in LabelledSeries, None: not known."""

    x: Float[Tensor, "n channel time"]
    y: Int[Tensor, " n"]
    subject_ids: Int[np.ndarray, " n"] | None = None

    @classmethod
    def of(cls, dataset: EHRDataset, normaliser: Normaliser) -> "EncodedSeries":
        """A data set in model space."""
        x, y = encode(normaliser, dataset), torch.from_numpy(dataset.labels)
        return cls(x, y, dataset.subject_ids)


def encode(normaliser: Normaliser, dataset: EHRDataset) -> Float[Tensor, "n channel time"]:
    """The stays in model space, float32: values, then what the layout adds.

    A set without static covariates (another generator's) counts as one where they are unknown.

    Raises:
        DataError: the set has static covariates, but not those of the layout.
    """
    values = normaliser.to_model(dataset.values)
    layout = normaliser.layout
    parts = [values]
    if layout.masks:
        parts.append(torch.from_numpy(dataset.observed).float() * 2 - 1)
    for code in layout.static:
        codes = torch.from_numpy(code.encode(_covariate(dataset, code.name))).float()
        parts.append(codes[:, :, None].expand(-1, -1, dataset.length))
    return torch.cat(parts, dim=1)


def loss_weights(normaliser: Normaliser, dataset: EHRDataset) -> Bool[Tensor, "n channel time"]:
    """Which entries of `encode` were measured; masks and static covariates always count."""
    n, num_values, length = dataset.observed.shape
    extra = normaliser.layout.num_channels(num_values) - num_values
    measured = torch.from_numpy(dataset.observed)
    return torch.cat([measured, torch.ones(n, extra, length, dtype=torch.bool)], dim=1)


def decode(
    normaliser: Normaliser, x: Float[Tensor, "n channel time"]
) -> tuple[
    Float[np.ndarray, "n value time"], Bool[np.ndarray, "n value time"], Float[np.ndarray, "n fact"]
]:
    """Values in clinical units, masks and static covariates of model-space series.

    Where a mask is off stands the last measurement before it (else the next one, else the train
    median), as in the real splits.
    """
    layout, num_values = normaliser.layout, len(normaliser.feature_names)
    x = x.detach().cpu()
    values = normaliser.to_clinical(x[:, :num_values])
    observed = np.ones(values.shape, bool)
    if layout.masks:
        masks = x[:, num_values : 2 * num_values].clone()
        for group in layout.together:
            masks[:, group] = masks[:, group].mean(dim=1, keepdim=True)
        observed = (masks > 0).numpy()
    for group in layout.ordered:
        _sort(values, observed, group)
    if layout.masks:
        values = impute(np.where(observed, values, np.nan), np.array(layout.fill))[0]
    start = layout.static_start(num_values)
    covariates = []
    for code in layout.static:
        covariates.append(code.decode(x[:, start : start + code.width].mean(dim=2).numpy()))
        start += code.width
    static = np.stack(covariates, axis=1) if covariates else np.zeros((len(values), 0))
    return values, observed, static.astype(np.float32)


def _covariate(dataset: EHRDataset, name: str) -> Float[np.ndarray, " n"]:
    if not dataset.static_names:
        return np.full(len(dataset), np.nan)
    if name not in dataset.static_names:
        raise DataError(
            f"no static covariate {name!r} in a set that has {', '.join(dataset.static_names)}; "
            "name the same static covariates, or none"
        )
    return dataset.static[:, dataset.static_names.index(name)]


def _sort(
    values: Float[np.ndarray, "n value time"],
    observed: Bool[np.ndarray, "n value time"],
    group: tuple[int, ...],
) -> None:
    """Selection sort of a group of channels, in place, wherever two of them were measured."""
    for position, first in enumerate(group):
        for second in group[position + 1 :]:
            both = observed[:, first] & observed[:, second]
            wrong = both & (values[:, first] > values[:, second])
            lower, upper = values[:, second][wrong], values[:, first][wrong]
            values[:, first][wrong], values[:, second][wrong] = lower, upper
