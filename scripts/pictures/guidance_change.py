"""What guidance changed: the mean of a guided set minus that of the unguided one, by class, channel
and time, beside where the influence lies.

Chosen sets are coupled: most guided series are unguided series as well, and cancel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from data_preprocess.dataset import EHRDataset, bare_name
from scripts.pictures.influence import Influence, coupled_weights
from scripts.pictures.styles import Picture, broken, time_axis
from scripts.quality.fidelity.marginals import train_spread
from scripts.utility.summary import UNGUIDED

MOST_SETS = 3
MOST_CHANNELS = 16
TITLE_WIDTH, CHANNEL_WIDTH = 36, 48  # characters of a line of a title, of a label
CLEAR = 2.0  # standard errors from which on a change is marked
LEAST_SCALE = 1e-3  # s.d.; smaller changes stay pale
COLOURS = "RdBu_r"

Maps = Float[np.ndarray, "class channel time"]


@dataclass(frozen=True)
class GuidanceChange:
    """Per guided set, and how influence correlates with the values.

    Attributes:
        channels, classes: names.
        hours_per_step: between grid points.
        difference: set -> mean of guided minus mean of unguided series, training s.d.
        error: set -> its standard error, given the pool that the sets were drawn from.
        realised: set -> shift of the mean influence that stage 3 realised per class, unguided s.d.;
            None where it was not measured.
        new: set -> share of its series, per class, that are not in the unguided set.
        influence: correlation of a series' influence with its value at that place, over unguided
            series; None where the influence is not known.
    """

    channels: tuple[str, ...]
    classes: tuple[str, ...]
    hours_per_step: float
    difference: dict[str, Maps]
    error: dict[str, Maps]
    realised: dict[str, list[float | None]]
    new: dict[str, list[float]]
    influence: Maps | None


def guidance_change(
    train: EHRDataset,
    unguided: EHRDataset | None,
    guided: Mapping[str, EHRDataset],
    influence: Influence | str,
    *,
    realised: Mapping[str, Sequence[float | None]],
    hours_per_step: float,
) -> GuidanceChange | None:
    """None where there is no unguided set, or no guided one, to compare.

    Args:
        guided, realised: the guided sets, and what stage 3 says about each.
    """
    if unguided is None or not guided:
        return None
    scale = np.maximum(train_spread(train), np.finfo(np.float32).tiny)[:, None]
    difference, error, new = {}, {}, {}
    for name, dataset in guided.items():
        found = [
            _compare(
                dataset.values[dataset.labels == label] / scale,
                unguided.values[unguided.labels == label] / scale,
            )
            for label in range(train.num_classes)
        ]
        difference[name] = np.stack([mean for mean, _, _ in found])
        error[name] = np.stack([error for _, error, _ in found])
        new[name] = [share for _, _, share in found]
    return GuidanceChange(
        channels=train.feature_names,
        classes=train.label_names,
        hours_per_step=hours_per_step,
        difference=difference,
        error=error,
        realised={name: list(realised[name]) for name in guided},
        new=new,
        influence=_correlations(unguided, influence),
    )


def _compare(guided: np.ndarray, unguided: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The difference of the means, its standard error, and the share of new series."""
    weights = coupled_weights(guided, unguided)
    counted = np.flatnonzero(weights)
    v = weights[counted]
    # The weights sum to 0: the constant that is taken off is not in the difference.
    about = np.concatenate([guided, unguided])[counted] - unguided.mean(axis=0)
    known = {row.tobytes() for row in unguided}
    new = sum(row.tobytes() not in known for row in guided) / max(len(guided), 1)
    return np.tensordot(v, about, axes=1), np.sqrt(np.tensordot(v**2, about**2, axes=1)), new


def _correlations(unguided: EHRDataset, influence: Influence | str) -> Maps | None:
    """Of the influence of a series with its value at a place; 0 where one of them is constant."""
    if isinstance(influence, str) or influence.base != UNGUIDED:
        return None
    maps = []
    for name, of_sets in influence.values.items():
        score = of_sets[UNGUIDED] - of_sets[UNGUIDED].mean()
        values = unguided.values[influence.rows[name]]
        values = values.astype(np.float64) - values.mean(axis=0)
        spread = np.sqrt((score**2).sum() * (values**2).sum(axis=0))
        product = np.tensordot(score, values, axes=1)
        maps.append(np.divide(product, spread, out=np.zeros_like(product), where=spread > 1e-12))
    return np.stack(maps)


def guidance_change_picture(found: GuidanceChange) -> Picture:
    """One row per class; a column per guided set, and one of the influence where it is known."""
    names = list(found.difference)[:MOST_SETS]
    # The channels with the largest changes, in their order.
    size = np.max([np.abs(maps).max(axis=(0, 2)) for maps in found.difference.values()], axis=0)
    shown = np.sort(np.argsort(-size, kind="stable")[:MOST_CHANNELS])
    columns = len(names) + (found.influence is not None)
    high = 1.1 + len(found.classes) * (0.5 + 0.24 * len(shown))
    figure = Figure(figsize=(2.6 + 3.6 * columns, high), layout="constrained")
    panels = figure.subplots(len(found.classes), columns, squeeze=False, sharex=True, sharey=True)
    top = max(LEAST_SCALE, *(float(np.abs(found.difference[name]).max()) for name in names))
    drawn: Any = None
    for row, class_name in enumerate(found.classes):
        for column, name in enumerate(names):
            change, error = found.difference[name][row][shown], found.error[name][row][shown]
            clear = np.abs(change) > CLEAR * error
            drawn = _map(panels[row, column], change, top, found.hours_per_step, clear)
            title = broken(f"{name} minus unguided, {class_name}", TITLE_WIDTH)
            panels[row, column].set_title(title, fontsize=9)
        labels = [broken(found.channels[c], CHANNEL_WIDTH) for c in shown]
        panels[row, 0].set_yticks(range(len(shown)), labels, fontsize=8)
    figure.colorbar(drawn, ax=list(panels[:, : len(names)].ravel()), label="training s.d.")
    if found.influence is not None:
        top = max(LEAST_SCALE, float(np.abs(found.influence).max()))
        for row, class_name in enumerate(found.classes):
            drawn = _map(panels[row, -1], found.influence[row][shown], top, found.hours_per_step)
            title = broken(f"where influence lies, {class_name}", TITLE_WIDTH)
            panels[row, -1].set_title(title, fontsize=9)
        figure.colorbar(drawn, ax=list(panels[:, -1]), label="correlation with influence")
    unit = time_axis(found.difference[names[0]].shape[2], found.hours_per_step)[1]
    for panel in panels[-1]:
        panel.set_xlabel(unit)
    alt = f"Maps of channel and time: {', '.join(names)} minus unguided, and where influence lies"
    return Picture("guidance_change", figure, alt, _caption(found, names, len(shown)))


def _map(
    axes: Axes,
    values: np.ndarray,
    top: float,
    hours_per_step: float,
    clear: np.ndarray | None = None,
) -> QuadMesh:
    """Colours from -`top` to `top`, and a dot where `clear`."""
    times, _ = time_axis(values.shape[1], hours_per_step, behind=1)
    edges = np.arange(len(values) + 1) - 0.5
    mesh = axes.pcolormesh(times, edges, values, cmap=COLOURS, vmin=-top, vmax=top)
    axes.set_ylim(len(values) - 0.5, -0.5)
    if clear is not None:
        channel, step = np.nonzero(clear)
        middle = (times[:-1] + times[1:]) / 2
        axes.plot(middle[step], channel, ".", color="black", markersize=2.5)
    return mesh


def _caption(found: GuidanceChange, names: list[str], num_shown: int) -> str:
    text = " ".join(_reading(found, name) for name in names)
    others = list(found.difference)[len(names) :]
    text += f" Not drawn: {', '.join(others)}." if others else ""
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
        text = f"{class_name}: " + (
            "" if moved is None else f"influence {moved:+.2f} s.d. of the pool, "
        )
        text += f"{100 * found.new[name][row]:.0f} % of the series are new"
        if change[channel, step] == 0:
            parts.append(f"{text}, no change")
            continue
        bare = bare_name(found.channels[channel])
        text += f", largest change {change[channel, step]:+.3f} s.d. ({bare}"
        text += f", {times[step]:.4g} {unit})"
        if found.influence is not None and found.influence[row].std() > 0:
            agreement = np.corrcoef(change.ravel(), found.influence[row].ravel())[0, 1]
            text += f", map correlates {agreement:+.2f} with that of influence"
        parts.append(text)
    return f"{name}. {'; '.join(parts)}."
