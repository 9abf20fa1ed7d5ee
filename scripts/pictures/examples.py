"""Example series per class, synthetic beside real (the paper's Figures 5 to 12).

A real series is a patient's record and does not leave the hospital with a report, so the real side
is a mean with quantile bands of many series. Individual real series are taken only if asked for
(evaluation.show_real_series).
"""

from collections.abc import Mapping

import numpy as np

from data_preprocess.dataset import EHRDataset, bare_name, unit_of
from scripts.pictures.styles import Picture, Styles, broken, new_panels, time_axis
from scripts.utility.protocols import REAL

LINES = ("-", "--", ":")  # one example each
MAX_CHANNELS = 8
SET_WIDTH, CHANNEL_WIDTH = 32, 18  # characters of a line of a title, of a label
FEWEST_FOR_BAND = 20  # series; quantiles of fewer are nearly single patients
BAND = (0.1, 0.9)


def example_picture(
    train: EHRDataset,
    sets: Mapping[str, EHRDataset],
    label: int,
    styles: Styles,
    *,
    seed: int,
    show_real_series: bool,
    hours_per_step: float,
) -> Picture:
    """The picture of class `label`: a column per set, and one of real series if asked for."""
    real = train.values[train.labels == label]
    sources = {name: each.values[each.labels == label] for name, each in sets.items()}
    channels, band, within = train.feature_names[:MAX_CHANNELS], None, {}
    if len(real) >= FEWEST_FOR_BAND:
        low, high = np.quantile(real, BAND, axis=0)
        compared = {REAL: real} | sources
        within = {k: float(((v >= low) & (v <= high)).mean()) for k, v in compared.items()}
        band = np.stack([low, real.mean(axis=0), high])
    if show_real_series:
        sources = {REAL: real} | sources
    rows, columns = len(channels), len(sources)
    figure, panels = new_panels(
        1.0 + 3.1 * columns, 0.8 + 1.35 * rows, rows, columns, sharex=True, sharey="row"
    )
    times, unit = time_axis(train.length, hours_per_step)
    for column, (name, values) in enumerate(sources.items()):
        drawn = values[np.random.default_rng(seed).permutation(len(values))[: len(LINES)]]
        for row, axes in enumerate(panels[:, column]):
            if band is not None:
                axes.fill_between(times, band[0, row], band[2, row], color="0.85", linewidth=0)
                axes.plot(times, band[1, row], color="0.45", linewidth=2)
            for series, dash in zip(drawn[:, row], LINES, strict=False):
                style = {"color": styles.colour(name), "linestyle": dash, "linewidth": 1.1}
                axes.plot(times, series, **style)
            axes.tick_params(labelsize=7)
        title = "real series" if name == REAL else name
        panels[0, column].set_title(broken(title, SET_WIDTH), fontsize=10, fontweight="bold")
        panels[-1, column].set_xlabel(unit)
    for axes, channel in zip(panels[:, 0], channels, strict=True):
        bare, of_channel = bare_name(channel), unit_of(channel)
        ending = f"\n[{of_channel}]" if of_channel else ""
        axes.set_ylabel(broken(bare, CHANNEL_WIDTH) + ending, fontsize=8)
    title = train.label_names[label]
    return Picture(
        f"examples_{label}",
        figure,
        f"Example series of class {title}: {', '.join(sources)}, {len(channels)} channels, "
        "over the band of the real series",
        _caption(title, len(real), within, patients=show_real_series)
        + _of_channels(rows, train.num_channels),
    )


def _of_channels(shown: int, there: int) -> str:
    return f" The first {shown} of {there} channels are drawn." if shown < there else ""


def _caption(name: str, num_real: int, within: Mapping[str, float], *, patients: bool) -> str:
    low, high = 100 * BAND[0], 100 * BAND[1]
    if num_real < FEWEST_FOR_BAND:
        text = (
            f"Class {name}: {num_real} real training series are too few for a mean "
            "that is not nearly a patient, so no real band is drawn."
        )
    else:
        text = (
            f"Class {name}. Grey: mean and {low:g} to {high:g} % band of "
            f"{num_real:,} real training series. In the band lie "
        )
        text += ", ".join(f"{100 * share:.0f} % of {n}" for n, share in within.items())
        text += " entries."
    text += f" Lines: {len(LINES)} series per column, drawn at random, not picked."
    if patients:
        return text + " The column of real series shows patient records: do not pass this page on."
    return text + (
        " No single real series is shown, since it is a patient's record "
        "(evaluation.show_real_series=true would show some)."
    )
