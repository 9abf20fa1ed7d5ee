"""Section data.space: what a model-space series holds, and what each channel may be."""

from dataclasses import dataclass, field

from configs.fields import many


@dataclass(frozen=True)
class SpaceConfig:
    """Channel types, masks and static facts (data_preprocess/model_space.py, docs/data.md).

    Names are given with or without their unit.
    """

    # Per channel: continuous, positive, zero_inflated, bounded, integer or binary.
    types: dict[str, str] = field(default_factory=dict)
    rounded: bool = False  # generated values to the step in which a channel is charted
    masks: bool = False  # generate when something was measured together with its value
    static: list[str] = many()  # static facts generated with the series
    # Channels whose values rise in this order, such as [[diastolic_pressure, systolic_pressure]].
    ordered: list[list[str]] = many()
    # Channels that are measured at the same moments, such as the pressures of one cuff: one
    # generated mask for all.
    together: list[list[str]] = many()
