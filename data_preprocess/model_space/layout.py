"""Layout: which channels model space holds besides the values, and how each is read back."""

from dataclasses import dataclass

from configs.runtime.errors import DataError
from data_preprocess.model_space.static_covariates import StaticCode


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The channels behind the value channels, in this order: masks, then static covariates.

    Attributes:
        masks: one channel per value channel, +1 where measured and -1 elsewhere.
        fill: per value channel, what a stay without any measurement of it holds (train median,
            clinical units); empty without masks.
        static: codes of the static covariates; each takes as many channels as its code, constant in
            time.
        ordered: groups of value channels, by index, whose values rise in this order at every grid
            point where they were measured (diastolic <= mean <= systolic pressure).
        together: groups of value channels, by index, that are measured at the same moments.
    """

    masks: bool = False
    fill: tuple[float, ...] = ()
    static: tuple[StaticCode, ...] = ()
    ordered: tuple[tuple[int, ...], ...] = ()
    together: tuple[tuple[int, ...], ...] = ()

    def num_channels(self, num_values: int) -> int:
        """Channels of model space for `num_values` value channels."""
        return num_values * (1 + self.masks) + sum(code.width for code in self.static)

    def static_start(self, num_values: int) -> int:
        """Index of the first static channel."""
        return num_values * (1 + self.masks)

    def require_channels(self, num_values: int) -> None:
        """Raises DataError unless the layout fits that many value channels."""
        if len(self.fill) != num_values * self.masks:
            raise DataError(
                f"layout: {len(self.fill)} fill values, expected {num_values * self.masks}"
            )
        for kind, groups in (("ordered", self.ordered), ("together", self.together)):
            for group in groups:
                if not all(0 <= index < num_values for index in group):
                    raise DataError(f"layout: {kind} group {group} of {num_values} channels")
