"""Example series per class, synthetic beside real (the paper's Figures 5 to 12).

A real series is a patient's record and does not leave the hospital with a report, so the real side
is a mean with quantile bands of many stays. Individual real series are drawn only if asked for
(evaluation.show_real_series).
"""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_preprocess.dataset import EHRDataset
from scripts.report.figures import Styles, tidy
from scripts.report.page import Picture

NUM_SERIES = 3
MAX_CHANNELS = 8
FEWEST_FOR_BAND = 20  # stays; quantiles of fewer are nearly single patients
BAND = (0.1, 0.9)


def example_pictures(
    train: EHRDataset,
    sets: Mapping[str, EHRDataset],
    styles: Styles,
    *,
    seed: int,
    show_real_series: bool,
) -> list[Picture]:
    """One picture per class: channels down, sets across."""
    return [
        _picture(train, sets, styles, label, seed=seed, show_real_series=show_real_series)
        for label in range(train.num_classes)
    ]


def _picture(
    train: EHRDataset,
    sets: Mapping[str, EHRDataset],
    styles: Styles,
    label: int,
    *,
    seed: int,
    show_real_series: bool,
) -> Picture:
    real = train.values[train.labels == label]
    columns = {name: d.values[d.labels == label] for name, d in sets.items()}
    if show_real_series:
        columns = {"real stays": real} | columns
    channels = train.feature_names[:MAX_CHANNELS]
    figure = Figure(
        figsize=(1.0 + 3.1 * len(columns), 0.8 + 1.35 * len(channels)), layout="constrained"
    )
    panels = figure.subplots(len(channels), len(columns), squeeze=False, sharex=True, sharey="row")
    for column, (name, values) in enumerate(columns.items()):
        colour = "black" if name not in sets else styles.colour(name)
        chosen = _choose(values, seed)
        for row in range(len(channels)):
            _draw(panels[row, column], real[:, row], chosen[:, row], colour)
        panels[0, column].set_title(name, fontsize=10, fontweight="bold")
        panels[-1, column].set_xlabel("grid step")
    for row, channel in enumerate(channels):
        panels[row, 0].set_ylabel(channel.replace("[", "\n["), fontsize=8)
    class_name = train.label_names[label]
    return Picture(
        f"examples_{label}",
        figure,
        f"Example series of class {class_name}: {', '.join(columns)}, {len(channels)} channels, "
        "over the band of the real stays",
        _caption(class_name, real, {n: columns[n] for n in sets}, show_real_series),
    )


def _choose(values: np.ndarray, seed: int) -> np.ndarray:
    order = np.random.default_rng(seed).permutation(len(values))
    return values[order[:NUM_SERIES]]


def _draw(axes: Axes, real: np.ndarray, chosen: np.ndarray, colour: str) -> None:
    steps = np.arange(real.shape[1])
    if len(real) >= FEWEST_FOR_BAND:
        low, high = np.quantile(real, BAND, axis=0)
        axes.fill_between(steps, low, high, color="0.85", linewidth=0)
        axes.plot(steps, real.mean(axis=0), color="0.45", linewidth=2)
    for series, dash in zip(chosen, ("-", "--", ":"), strict=False):
        axes.plot(steps, series, color=colour, linestyle=dash, linewidth=1.1)
    axes.tick_params(labelsize=7)
    tidy(axes)


def _caption(
    class_name: str, real: np.ndarray, sets: Mapping[str, np.ndarray], show_real_series: bool
) -> str:
    low, high = 100 * BAND[0], 100 * BAND[1]
    if len(real) < FEWEST_FOR_BAND:
        text = (
            f"Class {class_name}: {len(real)} real training stays are too few for a mean that is "
            "not nearly a patient, so no real band is drawn."
        )
    else:
        text = (
            f"Class {class_name}. Grey: mean and {low:g} to {high:g} % band of {len(real):,} real "
            f"training stays. Of real entries {high - low:g} % lie in the band; "
        )
        text += ", ".join(f"of {n} {100 * _share(real, v):.0f} %" for n, v in sets.items()) + "."
    text += f" Lines: {NUM_SERIES} series per column, drawn at random, not picked."
    if show_real_series:
        return text + " The column of real stays shows patient records: do not pass this page on."
    return text + (
        " No single real stay is shown, since it is a patient's record "
        "(evaluation.show_real_series=true would show some)."
    )


def _share(real: np.ndarray, values: np.ndarray) -> float:
    """Share of entries within the real band of their channel and step."""
    low, high = np.quantile(real, BAND, axis=0)
    return float(((values >= low) & (values <= high)).mean())
