"""Copies of training stays: what counts as one, and how generation replaces them.

The definitions are those of the report's privacy section (scripts/quality/privacy/distances.py),
which leaves out stays with next to nothing measured; their copies are replaced all the same.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from configs.runtime.errors import UserError
from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.normaliser import Normaliser
from tardiff.diffusion.noise_schedule import Series

log = logging.getLogger(__name__)

# Root-mean-square difference per entry, in model space, below which two series are one: a copy
# that went through float32 and the normaliser and back differs by far less.
SAME = 1e-3
NEIGHBOUR = 5
NEAR_RATIO = 0.5
NOISY_RATIO = 0.1
# Among random series with D degrees of freedom the share 4 * NOISY_RATIO^D comes as close by
# chance, and the median of the ratio is about exp(-2.1 / D): here D = 9, and four in a billion.
MANY_DEGREES = 0.8
# The same for a single stay: one with two temperatures is met by chance (docs/metrics.md).
FEWEST_MEASURED = 9
MAX_STAYS = 1000  # whose degrees of freedom are looked at
TRIES = 10


class Closeness(NamedTuple):
    """Per series: RMS distance to the closest reference stay; whether it copies, or nearly so."""

    distance: np.ndarray
    copy: np.ndarray
    near: np.ndarray


@dataclass(frozen=True, kw_only=True)
class CopyCheck:
    """What the check of one set found.

    Attributes:
        copies, near: series as first sampled that copied a training stay; near counts both kinds.
        tries: rounds of new series until none did.
    """

    copies: int
    near: int
    tries: int


def telling(dataset: EHRDataset, normaliser: Normaliser) -> Float[Tensor, "m value time"]:
    """Values in model space of the series of which a copy would tell of a patient: with at least
    nine measured values, or as many as there can be."""
    fewest = min(FEWEST_MEASURED, dataset.num_channels * dataset.length)
    enough = dataset.observed.sum((1, 2)) >= fewest
    return normaliser.to_model(dataset.values[enough])


def nearest(
    query: Float[Tensor, "n dim"],
    reference: Float[Tensor, "m dim"],
    *,
    k: int = 1,
    exclude_self: bool = False,
) -> tuple[Float[Tensor, "n k"], Int[Tensor, "n k"]]:
    """Euclidean distances to the k nearest rows of `reference`, ascending, and their row numbers;
    exact, in bounded memory.

    Args:
        exclude_self: `query` is `reference`; a row is not its own neighbour (a second, equal row
            is).

    Raises:
        ValueError: k exceeds the rows to choose from.
    """
    finder = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(reference.numpy())
    found = finder.kneighbors(None if exclude_self else query.numpy(), return_distance=False)
    rows = torch.from_numpy(found)
    # From differences: in |q|^2 - 2qr + |r|^2, as scikit-learn has it, that of a copy is not 0.
    differences = (query - reference[column] for column in rows.T)
    distances = torch.stack([part.square().sum(1).sqrt() for part in differences], dim=1)
    distances, order = distances.sort(dim=1)
    return distances, rows.gather(1, order)


def closeness(x: Tensor, reference: Tensor) -> Closeness:
    """How each series of `x` sits among the `reference` stays, both in model space.

    A copy is equal to its closest stay, or 1 / NOISY_RATIO times closer to it than to the fifth
    closest (a little noise was added), unless both the series and the stays have so few degrees of
    freedom that chance does as much. A near copy is 1 / NEAR_RATIO times closer. A mere distance
    would not do: series shrunk towards the mean are near to everyone.
    """
    if not len(x) or not len(reference):
        return Closeness(np.full(len(x), np.inf), *np.zeros((2, len(x)), bool))
    stays = reference.flatten(1)
    neighbour = min(NEIGHBOUR, len(stays))
    distances = nearest(x.flatten(1), stays, k=neighbour)[0].numpy()
    distances = distances / x[0].numel() ** 0.5
    closest, fifth = distances[:, 0], distances[:, -1]
    copy = closest <= SAME
    # Copies bring their own closest distances down, never those of the stays to each other.
    known = [distances] if len(stays) <= NEIGHBOUR else [distances, _to_each_other(stays)]
    if any(map(_have_many_degrees, known)):
        copy |= closest < NOISY_RATIO * fifth
    near = copy | (closest < NEAR_RATIO * fifth)
    return Closeness(closest, copy, near)


def _to_each_other(stays: Float[Tensor, "m dim"]) -> Float[np.ndarray, "n k"]:
    """Distances of at most MAX_STAYS stays to their nearest others, ascending."""
    return nearest(stays[:MAX_STAYS], stays, k=NEIGHBOUR + 1)[0].numpy()[:, 1:]


def _have_many_degrees(distances: Float[np.ndarray, "n k"]) -> bool:
    """Whether the nearest distances, ascending, differ too little for copies by chance."""
    return bool(np.median(distances[:, 0]) > MANY_DEGREES * np.median(distances[:, -1]))


def replace_copies(
    x: Series,
    train: Float[Tensor, "stays value time"],
    resample: Callable[[np.ndarray, int], Tensor],
    *,
    through: Callable[[Series], Float[Tensor, "batch value time"]] = lambda x: x,
) -> tuple[Series, CopyCheck]:
    """`x` with every copy or near copy of a training stay replaced by a new series.

    Args:
        resample: ((m,) rows, try number from 1) -> (m, C, T) new series of the same labels.
        train: values of the training stays.
        through: what a set goes through before it is released, to its values; copies are looked
            for behind it.

    Raises:
        UserError: copies remain after TRIES rounds: the model has memorised stays.
    """
    found = closeness(through(x), train)
    copies, near = int(found.copy.sum()), int(found.near.sum())
    rows, tries = np.flatnonzero(found.near), 0
    while len(rows):
        if tries == TRIES:
            raise UserError(
                f"{len(rows)} of {len(x)} series are still copies of training stays after {TRIES} "
                "rounds of new ones: the diffusion model has memorised them. Train it less "
                "or smaller (diffusion.max_steps, diffusion.width), or on more stays; "
                "generation.allow_copies=true releases the copies"
            )
        tries += 1
        fresh = resample(rows, tries)
        x = x.index_put((torch.from_numpy(rows),), fresh)
        rows = rows[closeness(through(fresh), train).near]
    if near:
        log.info("%d near copies of training stays (%d copies) replaced by new ones", near, copies)
    return x, CopyCheck(copies=copies, near=near, tries=tries)
