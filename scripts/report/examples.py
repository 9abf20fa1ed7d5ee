"""Pictures of example series, one per class: channels down, sets across, hours to the right."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scripts.report.figures import Styles, tidy, time_axis
from scripts.report.page import Picture
from scripts.results.examples import BAND, ClassExamples
from scripts.utility.protocols import REAL

LINES = ("-", "--", ":")


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
