"""impute: fills what was not measured, and remembers what was.

Forward fill, then backward fill, then the train median of the channel. Fill values come from the
train split only, so nothing of a held-out patient enters another patient's series.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

from configs.runtime.errors import DataError


def train_medians(
    values: Float[np.ndarray, "n channel time"], feature_names: Sequence[str]
) -> Float[np.ndarray, " channel"]:
    """Median of the measured train entries of each channel, in clinical units.

    Args:
        values: the train split as measured, NaN where nothing was measured.

    Raises:
        DataError: a channel has no measurement at all.
    """
    empty = [
        name
        for index, name in enumerate(feature_names)
        if np.isnan(values[:, index]).all()  # also true for zero stays
    ]
    if empty:
        raise DataError(
            f"no measurement of {', '.join(empty)} in the {len(values)} stays of the train split, "
            "so there is nothing to fill gaps with - remove the channel, widen the window, or "
            "enlarge the split"
        )
    return np.nanmedian(values, axis=(0, 2))


def impute(
    values: Float[np.ndarray, "n channel time"], fill: Float[np.ndarray, " channel"]
) -> tuple[Float[np.ndarray, "n channel time"], Bool[np.ndarray, "n channel time"]]:
    """The series without gaps (float32) and the mask of what was measured.

    Args:
        values: NaN where nothing was measured.
        fill: per channel, the value of a series that has no measurement at all.
    """
    observed = ~np.isnan(values)
    filled = _forward_fill(values)
    filled = _forward_fill(filled[..., ::-1])[..., ::-1]
    filled = np.where(np.isnan(filled), fill[:, None], filled)
    return filled.astype(np.float32), observed


def _forward_fill(
    values: Float[np.ndarray, "n channel time"],
) -> Float[np.ndarray, "n channel time"]:
    """Every NaN replaced by the last value before it; leading NaNs stay."""
    steps = np.arange(values.shape[-1])
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, steps), axis=-1)
    return np.take_along_axis(values, last, axis=-1)
