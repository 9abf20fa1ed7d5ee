"""fit_space: the normaliser of an experiment, with types, masks and covariates as configured."""

from typing import Any

import numpy as np
from jaxtyping import Float

from configs.runtime.errors import ConfigError
from data_preprocess.dataset import EHRDataset, index_of
from data_preprocess.model_space.channel_transforms import TYPES
from data_preprocess.model_space.layout import Layout
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.model_space.static_covariates import StaticCode

MOST_APART = 0.02  # of the grid points, for data.space.together


def fit_space(train: EHRDataset, fill: Float[np.ndarray, " channel"], data: Any) -> Normaliser:
    """The map to model space, fitted on `train` only.

    Args:
        fill: train medians, clinical units.
        data: the values of the section `data`: space, normaliser, clip.

    Raises:
        ConfigError: data.space names what the data do not have.
        DataError: a channel or fact cannot be of its type.
    """
    space, names = data.space, train.feature_names
    types = ["continuous"] * len(names)
    for name, channel_type in space.types.items():
        if channel_type not in TYPES:
            raise ConfigError(
                f"data.space.types.{name}={channel_type}: expected one of {', '.join(TYPES)}"
            )
        types[index_of(name, names, "data.space.types")] = channel_type
    ordered, together = (
        tuple(
            tuple(index_of(name, names, f"data.space.{key}") for name in group) for group in groups
        )
        for key, groups in (("ordered", space.ordered), ("together", space.together))
    )
    _require_together(train, together, masks=space.masks)
    chosen = [index_of(name, train.static_names, "data.space.static") for name in space.static]
    layout = Layout(
        masks=space.masks,
        fill=tuple(fill.tolist()) if space.masks else (),
        static=tuple(StaticCode.fit(train.static_names[k], train.static[:, k]) for k in chosen),
        ordered=ordered,
        together=together,
    )
    return Normaliser.fit(
        train,
        kind=data.normaliser,
        clip=data.clip,
        types=types,
        rounded=space.rounded,
        layout=layout,
    )


def _require_together(
    train: EHRDataset, groups: tuple[tuple[int, ...], ...], *, masks: bool
) -> None:
    """Raises ConfigError where one mask for a group would be untrue of the training stays."""
    if groups and not masks:
        raise ConfigError("data.space.together without masks: set data.space.masks=true")
    for group in groups:
        members = train.observed[:, list(group)]
        apart = float((members.any(axis=1) & ~members.all(axis=1)).mean())
        if apart > MOST_APART:
            names = ", ".join(train.feature_names[index] for index in group)
            raise ConfigError(
                f"data.space.together: at {apart:.1%} of the grid points some of {names} were "
                f"measured and some not; at most {MOST_APART:.0%} may be, or one mask for all "
                "would be untrue"
            )
