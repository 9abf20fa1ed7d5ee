"""StaticCode: a static covariate (age, sex, unit type) as numbers around zero, and back.

A category becomes one +-1 channel per level, a number its quantile code, as the channels that vary
in time are coded. Unknown is a level of its own: who was not weighed says something too.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from configs.runtime.errors import DataError
from data_preprocess.model_space.channel_transforms import Knots, interpolate, quantile_knots

MAX_LEVELS = 16
FEW_CODES = 5  # whole numbers up to so many are codes: nobody is of sex 0.88


@dataclass(frozen=True, kw_only=True)
class StaticCode:
    """The code of one fact.

    Attributes:
        name: with its unit, as the data have it; "=" in the unit ("sex[1=male]") marks a category.
        levels: values of a category, ascending; empty for a number.
        knots: map of a number to model space; empty for a category.
        bounds: smallest and largest value in the train split; `decode` stays within them.
        unknown: some stays lack it: one more channel, +1 where it is unknown.
    """

    name: str
    levels: tuple[float, ...]
    knots: Knots
    bounds: tuple[float, float]
    unknown: bool

    @property
    def width(self) -> int:
        """Channels of the code."""
        return (len(self.levels) or 1) + self.unknown

    @classmethod
    def fit(cls, name: str, covariate: Float[np.ndarray, " n"]) -> "StaticCode":
        """The code of a fact, from its values in the train split; NaN where unknown.

        Raises:
            DataError: fewer than two different values, or a category of more than MAX_LEVELS.
        """
        known = covariate[~np.isnan(covariate)].astype(np.float64)
        levels = np.unique(known)
        if len(levels) < 2:
            raise DataError(
                f"static covariate {name}: {len(levels)} different values in the train split, at "
                "least 2 are needed; remove it from data.space.static"
            )
        unknown = bool(np.isnan(covariate).any())
        if "=" in name or (len(levels) <= FEW_CODES and (levels == np.round(levels)).all()):
            if len(levels) > MAX_LEVELS:
                raise DataError(
                    f"static covariate {name}: {len(levels)} levels, at most {MAX_LEVELS}"
                )
            marks, knots = tuple(levels.tolist()), ((), ())
        else:
            marks, knots = (), quantile_knots(known)
        bounds = (float(levels[0]), float(levels[-1]))
        return cls(name=name, levels=marks, knots=knots, bounds=bounds, unknown=unknown)

    def encode(self, covariate: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n width"]:
        """Codes of a fact per stay; a number that is unknown stands at 0, its median."""
        if self.levels:
            columns = [np.where(covariate == level, 1.0, -1.0) for level in self.levels]
        else:
            known = np.where(np.isnan(covariate), self.knots[0][0], covariate)
            coded = interpolate(torch.from_numpy(known.astype(np.float64)), *self.knots).numpy()
            columns = [np.where(np.isnan(covariate), 0.0, coded)]
        if self.unknown:
            columns.append(np.where(np.isnan(covariate), 1.0, -1.0))
        return np.stack(columns, axis=1)

    def decode(self, codes: Float[np.ndarray, "n width"]) -> Float[np.ndarray, " n"]:
        """The fact per stay: the level of the highest channel, or the number, within its range."""
        if self.levels:
            options = np.array([*self.levels, *([np.nan] if self.unknown else [])])
            return options[codes.argmax(axis=1)]
        values = interpolate(
            torch.from_numpy(codes[:, 0].astype(np.float64)), self.knots[1], self.knots[0]
        ).numpy()
        values = values.clip(*self.bounds)
        return np.where(codes[:, 1] > 0, np.nan, values) if self.unknown else values
