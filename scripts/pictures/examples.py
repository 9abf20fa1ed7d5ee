"""Example series per class, synthetic beside real (the paper's Figures 5 to 12).

A real series is a patient's record and does not leave the hospital with a report, so the real side
is a mean with quantile bands of many series. Individual real series are taken only if asked for
(evaluation.show_real_series).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_preprocess.dataset import EHRDataset
from scripts.pictures.styles import Picture, Styles, tidy, time_axis
from scripts.utility.protocols import REAL

LINES = ("-", "--", ":")  # one example each
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
    return values[order[: len(LINES)], :MAX_CHANNELS]


def example_picture(found: ClassExamples, number: int, styles: Styles) -> Picture:
    """The picture of class `number`."""
    channels, columns = found.channels, found.series
    figure = Figure(
        figsize=(1.0 + 3.1 * len(columns), 0.8 + 1.35 * len(channels)), layout="constrained"
    )
    panels = figure.subplots(len(channels), len(columns), squeeze=False, sharex=True, sharey="row")
    length = next(iter(columns.values())).shape[2]
    times, unit = time_axis(length, found.hours_per_step)
    for column, (name, series) in enumerate(columns.items()):
        for row in range(len(channels)):
            band = None if found.band is None else found.band[:, row]
            _draw(panels[row, column], times, band, series[:, row], styles.colour(name))
        title = "real series" if name == REAL else name
        panels[0, column].set_title(title, fontsize=10, fontweight="bold")
        panels[-1, column].set_xlabel(unit)
    for row, channel in enumerate(channels):
        panels[row, 0].set_ylabel(channel.replace("[", "\n["), fontsize=8)
    return Picture(
        f"examples_{number}",
        figure,
        f"Example series of class {found.name}: {', '.join(columns)}, {len(channels)} channels, "
        "over the band of the real series",
        _caption(found),
    )


def _draw(
    axes: Axes, times: np.ndarray, band: np.ndarray | None, series: np.ndarray, colour: str
) -> None:
    if band is not None:
        low, mean, high = band
        axes.fill_between(times, low, high, color="0.85", linewidth=0)
        axes.plot(times, mean, color="0.45", linewidth=2)
    for values, dash in zip(series, LINES, strict=False):
        axes.plot(times, values, color=colour, linestyle=dash, linewidth=1.1)
    axes.tick_params(labelsize=7)
    tidy(axes)


def _caption(found: ClassExamples) -> str:
    low, high = 100 * BAND[0], 100 * BAND[1]
    if found.band is None:
        text = (
            f"Class {found.name}: {found.num_real} real training series are too few for a mean "
            "that is not nearly a patient, so no real band is drawn."
        )
    else:
        text = (
            f"Class {found.name}. Grey: mean and {low:g} to {high:g} % band of "
            f"{found.num_real:,} real training series. Of real entries {high - low:g} % lie in "
            "the band; "
        )
        text += ", ".join(f"of {n} {100 * share:.0f} %" for n, share in found.within.items()) + "."
    text += f" Lines: {len(LINES)} series per column, drawn at random, not picked."
    if REAL in found.series:
        return text + " The column of real series shows patient records: do not pass this page on."
    return text + (
        " No single real series is shown, since it is a patient's record "
        "(evaluation.show_real_series=true would show some)."
    )
