"""impute: fills what was not measured, and remembers what was.

Forward fill, then backward fill, then the train median of the channel. Fill values come from the
train split only, so nothing of a held-out patient enters another patient's series.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
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
    rows = pd.DataFrame(values.reshape(-1, values.shape[-1]))
    filled = rows.ffill(axis=1).bfill(axis=1).to_numpy().reshape(values.shape)
    return np.where(np.isnan(filled), fill[:, None], filled).astype(np.float32), observed
