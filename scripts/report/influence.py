"""The section on influence: histograms per class, and the shift of every set."""

import numpy as np
from matplotlib.figure import Figure

from scripts.report.figures import Styles, shared_legend, tidy
from scripts.report.guidance_change import guidance_change_picture
from scripts.report.page import Picture, Section
from scripts.results.guidance_change import GuidanceChange
from scripts.results.influence import Influence

MOST_BINS = 50
TAIL = 0.005


def influence_section(
    found: Influence | str, change: GuidanceChange | None, styles: Styles
) -> Section:
    """The distribution of the influence of every set, or what is needed to show it, and what
    guidance changed."""
    pictures = [] if change is None else [guidance_change_picture(change)]
    if isinstance(found, str):
        return Section("Influence", [f"Not shown: {found}"], pictures)
    text = (
        "The score that guidance raises: how much training on a series would lower the "
        "loss of the guide on the guidance rows, by its own estimate. The unit is the standard "
        f"deviation of {found.base}, per class."
    )
    return Section("Influence", [text], [influence_picture(found, styles), *pictures])


def influence_picture(found: Influence, styles: Styles) -> Picture:
    """One panel per class."""
    figure = Figure(figsize=(7.2, 0.9 + 2.0 * len(found.values)), layout="constrained")
    panels = list(figure.subplots(len(found.values), 1, squeeze=False).ravel())
    for panel, (class_name, scaled) in zip(panels, found.values.items(), strict=True):
        low, high = np.quantile(np.concatenate(list(scaled.values())), [TAIL, 1 - TAIL])
        bins = min(MOST_BINS, 2 + int(np.sqrt(min(map(len, scaled.values())))))
        edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
        for name, values in scaled.items():
            density, _ = np.histogram(values, edges, density=True)
            colour, dash = styles.colour(name), styles.dash(name)
            panel.stairs(density, edges, linewidth=1.8, label=name, color=colour)
            panel.axvline(values.mean(), linewidth=1.2, color=colour, linestyle=dash)
        panel.set_title(f"class {class_name}", fontsize=9, loc="left")
        panel.set_yticks([])
        tidy(panel)
    panels[-1].set_xlabel(f"influence, s.d. of {found.base} above its mean")
    shared_legend(figure, panels[0])
    shifts = " ".join(
        f"{name}, {class_name}: {_reading(*shift)}."
        for class_name, by_set in found.shifts.items()
        for name, shift in by_set.items()
    )
    shifts = shifts or f"Only {found.base} was scored: there is nothing to compare with."
    sets = ", ".join(next(iter(found.values.values())))
    return Picture(
        "influence",
        figure,
        f"Histograms of influence per class for {sets}",
        f"Shift of the mean influence against {found.base} in its s.d., with 95 % interval. "
        + shifts,
    )


def _reading(mean: float, low: float, high: float) -> str:
    reading = "higher" if low > 0 else "lower" if high < 0 else "no difference can be seen"
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}], {reading}"
