"""The picture of what guidance changed: maps of channel and time per class, beside influence."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from scripts.report.figures import time_axis
from scripts.report.page import Picture
from scripts.results.guidance_change import GuidanceChange

MOST_SETS = 3
MOST_CHANNELS = 16
CLEAR = 2.0  # standard errors from which on a change is marked
LEAST_SCALE = 1e-3  # s.d.; smaller changes stay pale
COLOURS = "RdBu_r"


def guidance_change_picture(found: GuidanceChange) -> Picture:
    """One row per class; a column per guided set, and one of the influence where it is known."""
    names = list(found.difference)[:MOST_SETS]
    shown = _largest(found)
    columns = len(names) + (found.influence is not None)
    high = 1.1 + len(found.classes) * (0.5 + 0.24 * len(shown))
    figure = Figure(figsize=(2.6 + 3.6 * columns, high), layout="constrained")
    panels = figure.subplots(len(found.classes), columns, squeeze=False, sharex=True, sharey=True)
    top = max(LEAST_SCALE, *(float(np.abs(found.difference[name]).max()) for name in names))
    drawn: Any = None
    for row, class_name in enumerate(found.classes):
        for column, name in enumerate(names):
            change, error = found.difference[name][row][shown], found.error[name][row][shown]
            drawn = _map(panels[row, column], change, top, found.hours_per_step)
            _mark(panels[row, column], np.abs(change) > CLEAR * error, found.hours_per_step)
            panels[row, column].set_title(f"{name} minus unguided, {class_name}", fontsize=9)
        panels[row, 0].set_yticks(range(len(shown)), [found.channels[c] for c in shown], fontsize=8)
    figure.colorbar(drawn, ax=list(panels[:, : len(names)].ravel()), label="training s.d.")
    if found.influence is not None:
        top = max(LEAST_SCALE, float(np.abs(found.influence).max()))
        for row, class_name in enumerate(found.classes):
            drawn = _map(panels[row, -1], found.influence[row][shown], top, found.hours_per_step)
            panels[row, -1].set_title(f"where influence lies, {class_name}", fontsize=9)
        figure.colorbar(drawn, ax=list(panels[:, -1]), label="correlation with influence")
    unit = time_axis(found.difference[names[0]].shape[2], found.hours_per_step)[1]
    for panel in panels[-1]:
        panel.set_xlabel(unit)
    alt = f"Maps of channel and time: {', '.join(names)} minus unguided, and where influence lies"
    return Picture("guidance_change", figure, alt, _caption(found, names, len(shown)))


def _largest(found: GuidanceChange) -> np.ndarray:
    """The channels that are drawn, in their order: those with the largest changes."""
    size = np.max([np.abs(maps).max(axis=(0, 2)) for maps in found.difference.values()], axis=0)
    return np.sort(np.argsort(-size, kind="stable")[:MOST_CHANNELS])


def _map(axes: Axes, values: np.ndarray, top: float, hours_per_step: float) -> QuadMesh:
    times, _ = time_axis(values.shape[1] + 1, hours_per_step)
    edges = np.arange(len(values) + 1) - 0.5
    mesh = axes.pcolormesh(times, edges, values, cmap=COLOURS, vmin=-top, vmax=top)
    axes.set_ylim(len(values) - 0.5, -0.5)
    return mesh


def _mark(axes: Axes, clear: np.ndarray, hours_per_step: float) -> None:
    times, _ = time_axis(clear.shape[1] + 1, hours_per_step)
    channel, step = np.nonzero(clear)
    middle = (times[:-1] + times[1:]) / 2
    axes.plot(middle[step], channel, ".", color="black", markersize=2.5)


def _caption(found: GuidanceChange, names: list[str], num_shown: int) -> str:
    text = " ".join(_reading(found, name) for name in names)
    text += (
        f" Dots: more than {CLEAR:g} standard errors from 0, where chance alone marks 1 of 20; "
        "series that both sets share cancel. "
    )
    if found.influence is not None:
        text += (
            "Right: the correlation of a series' influence with its value at that time. Choosing "
            "by influence moves the means along it, the more closely the more series change. "
        )
    left_out = len(found.channels) - num_shown
    text += f"{left_out} channels with smaller changes are left out. " if left_out else ""
    return text + "All numbers: guidance_change.csv."


def _reading(found: GuidanceChange, name: str) -> str:
    """How much of the set is new, its largest change, and whether it follows the influence."""
    parts = []
    for row, class_name in enumerate(found.classes):
        change = found.difference[name][row]
        channel, step = np.unravel_index(np.abs(change).argmax(), change.shape)
        times, unit = time_axis(change.shape[1], found.hours_per_step)
        moved = found.realised[name][row]
        text = f"{class_name}: " + ("" if moved is None else f"influence {moved:+.2f} s.d., ")
        text += f"{100 * found.new[name][row]:.0f} % of the series are new"
        if change[channel, step] == 0:
            parts.append(f"{text}, no change")
            continue
        bare = found.channels[channel].split("[")[0]
        text += f", largest change {change[channel, step]:+.3f} s.d. ({bare}"
        text += f", {times[step]:.3g} {unit})"
        if found.influence is not None and found.influence[row].std() > 0:
            agreement = np.corrcoef(change.ravel(), found.influence[row].ravel())[0, 1]
            text += f", map correlates {agreement:+.2f} with that of influence"
        parts.append(text)
    return f"{name}. {'; '.join(parts)}."
