"""Example series per class, synthetic beside real (the paper's Figures 5 to 12).

A real series is a patient's record and does not leave the hospital with a report, so the real side
is a mean with quantile bands of many series. Individual real series are taken only if asked for
(evaluation.show_real_series).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from data_preprocess.dataset import EHRDataset
from scripts.utility.protocols import REAL

NUM_SERIES = 3
MAX_CHANNELS = 8
FEWEST_FOR_BAND = 20  # series; quantiles of fewer are nearly single patients
BAND = (0.1, 0.9)


@dataclass(frozen=True)
class ClassExamples:
    """A few series of one class from each source, and the band of the real ones.

    Attributes:
        name: of the class.
        channels: names of those that are shown.
        num_real: real training series of the class.
        band: low, mean and high of the real ones, (3, channel, time); None where they are too few.
        series: source (REAL where single patients were asked for) -> (example, channel, time).
        within: per set, the share of its entries within the band; empty without a band.
        hours_per_step: between grid points.
    """

    name: str
    channels: tuple[str, ...]
    num_real: int
    band: np.ndarray | None
    series: dict[str, np.ndarray]
    within: dict[str, float]
    hours_per_step: float


def class_examples(
    train: EHRDataset,
    sets: Mapping[str, EHRDataset],
    *,
    seed: int,
    show_real_series: bool,
    hours_per_step: float,
) -> list[ClassExamples]:
    """One per class; none without a set."""
    found = []
    for label, name in enumerate(train.label_names) if sets else ():
        real = train.values[train.labels == label]
        sources = {key: d.values[d.labels == label] for key, d in sets.items()}
        band, within = None, {}
        if len(real) >= FEWEST_FOR_BAND:
            low, high = np.quantile(real, BAND, axis=0)
            within = {k: float(((v >= low) & (v <= high)).mean()) for k, v in sources.items()}
            band = np.stack([low, real.mean(axis=0), high])[:, :MAX_CHANNELS]
        if show_real_series:
            sources = {REAL: real} | sources
        found.append(
            ClassExamples(
                name=name,
                channels=train.feature_names[:MAX_CHANNELS],
                num_real=len(real),
                band=band,
                series={key: _choose(values, seed) for key, values in sources.items()},
                within=within,
                hours_per_step=hours_per_step,
            )
        )
    return found


def _choose(values: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(values))
    return values[order[:NUM_SERIES], :MAX_CHANNELS]
