"""What guidance changed: the mean of a guided set minus that of the unguided one, by class, channel
and time, beside where the influence lies.

Chosen sets are coupled: most guided series are unguided series as well, and cancel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from data_preprocess.dataset import EHRDataset
from scripts.results.influence import Influence, coupled_weights
from scripts.utility.summary import UNGUIDED

Maps = Float[np.ndarray, "class channel time"]


@dataclass(frozen=True)
class GuidanceChange:
    """Per guided set, and how influence correlates with the values.

    Attributes:
        channels, classes: names.
        hours_per_step: between grid points.
        difference: set -> mean of guided minus mean of unguided series, training s.d.
        error: set -> its standard error, given the pool that the sets were drawn from.
        realised: set -> shift of the mean influence that stage 3 realised per class, unguided s.d.;
            None where it was not measured.
        new: set -> share of its series, per class, that are not in the unguided set.
        influence: correlation of a series' influence with its value at that place, over unguided
            series; None where the influence is not known.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    hours_per_step: float
    difference: dict[str, Maps]
    error: dict[str, Maps]
    realised: dict[str, list[float | None]]
    new: dict[str, list[float]]
    influence: Maps | None


def guidance_change(
    train: EHRDataset,
    unguided: EHRDataset | None,
    guided: Mapping[str, EHRDataset],
    influence: Influence | str,
    *,
    realised: Mapping[str, Sequence[float | None]],
    hours_per_step: float,
) -> GuidanceChange | None:
    """None where there is no unguided set, or no guided one, to compare.

    Args:
        guided, realised: the guided sets, and what stage 3 says about each.
    """
    if unguided is None or not guided:
        return None
    scale = np.array([_spread(train, k) for k in range(train.num_channels)])[:, None]
    difference, error, new = {}, {}, {}
    for name, dataset in guided.items():
        found = [
            _compare(
                dataset.values[dataset.labels == label] / scale,
                unguided.values[unguided.labels == label] / scale,
            )
            for label in range(train.num_classes)
        ]
        difference[name] = np.stack([mean for mean, _, _ in found])
        error[name] = np.stack([error for _, error, _ in found])
        new[name] = [share for _, _, share in found]
    return GuidanceChange(
        channels=train.feature_names,
        classes=train.label_names,
        hours_per_step=hours_per_step,
        difference=difference,
        error=error,
        realised={name: list(realised[name]) for name in guided},
        new=new,
        influence=_correlations(unguided, influence, train.label_names),
    )


def _spread(train: EHRDataset, channel: int) -> float:
    """Standard deviation of the measured training values."""
    values = train.values[:, channel][train.observed[:, channel]].astype(np.float64)
    return max(float(values.std()), float(np.finfo(np.float32).tiny))


def _compare(guided: np.ndarray, unguided: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The difference of the means, its standard error, and the share of new series."""
    weights = coupled_weights(guided, unguided)
    counted = np.flatnonzero(weights)
    v = weights[counted]
    # The weights sum to 0: the constant that is taken off is not in the difference.
    about = np.concatenate([guided, unguided])[counted] - unguided.mean(axis=0)
    known = {row.tobytes() for row in unguided}
    new = sum(row.tobytes() not in known for row in guided) / max(len(guided), 1)
    return np.tensordot(v, about, axes=1), np.sqrt(np.tensordot(v**2, about**2, axes=1)), new


def _correlations(
    unguided: EHRDataset, influence: Influence | str, classes: tuple[str, ...]
) -> Maps | None:
    if isinstance(influence, str) or influence.base != UNGUIDED:
        return None
    return np.stack(
        [
            _correlation(influence.values[name][UNGUIDED], unguided.values[influence.rows[name]])
            for name in classes
        ]
    )


def _correlation(score: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Of a score (n,) with values (n, channel, time); 0 where one of them is constant."""
    score = score - score.mean()
    values = values.astype(np.float64) - values.mean(axis=0)
    spread = np.sqrt((score**2).sum() * (values**2).sum(axis=0))
    product = np.tensordot(score, values, axes=1)
    return np.divide(product, spread, out=np.zeros_like(product), where=spread > 1e-12)
