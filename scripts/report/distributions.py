"""Distributions of every channel's values: held-out stays beside each synthetic set."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_preprocess.dataset import EHRDataset
from scripts.quality.common.comparison import draw
from scripts.quality.fidelity.marginals import kolmogorov_smirnov
from scripts.report.figures import Styles, shared_legend, tidy
from scripts.report.page import Picture

MAX_STAYS = 2000
MAX_CHANNELS = 16
BINS = 40
MAX_STEPS = 400  # distinct values; with more they are drawn as continuous
ON_STEPS = 0.98  # share of values that must lie on the steps
TAIL = 0.005  # share of held-out values beyond either end of the axis


def distribution_picture(
    test: EHRDataset, sets: Mapping[str, EHRDataset], styles: Styles, *, seed: int
) -> Picture:
    """Histograms per channel; the caption names the channel that is farthest off, per set.

    At most MAX_CHANNELS channels are drawn, those with the largest differences first.
    """
    held_out = _values(test, seed)
    drawn = {name: _values(dataset, seed) for name, dataset in sets.items()}
    gaps = {name: _gaps(held_out, values) for name, values in drawn.items()}
    worst_first = np.argsort(-np.max(list(gaps.values()), axis=0), kind="stable")
    shown = (
        worst_first[:MAX_CHANNELS]
        if test.num_channels > MAX_CHANNELS
        else np.arange(test.num_channels)
    )
    figure = Figure(figsize=(7.2, 0.9 + 1.7 * ((len(shown) + 1) // 2)), layout="constrained")
    panels = list(figure.subplots((len(shown) + 1) // 2, 2, squeeze=False).ravel())
    for panel, channel in zip(panels, shown, strict=False):
        _draw(panel, held_out[:, channel], {n: v[:, channel] for n, v in drawn.items()}, styles)
        panel.set_title(test.feature_names[channel], fontsize=9, loc="left")
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    shared_legend(figure, panels[0])
    left_out = test.num_channels - len(shown)
    caption = " ".join(_conclusion(name, gap, test.feature_names) for name, gap in gaps.items())
    if left_out:
        caption += f" {left_out} channels with smaller differences are left out."
    return Picture(
        "distributions",
        figure,
        f"Histograms of {len(shown)} channels: held-out stays and {', '.join(sets)}",
        f"{caption} (Kolmogorov-Smirnov distance, 0 to 1: the largest gap between the two "
        f"distribution functions; axes leave out {100 * TAIL:g} % of the held-out values at "
        "either end.)",
    )


def _values(dataset: EHRDataset, seed: int) -> np.ndarray:
    return dataset.values[draw(len(dataset), MAX_STAYS, seed)]


def _gaps(held_out: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.array(
        [
            kolmogorov_smirnov(held_out[:, channel].ravel(), values[:, channel].ravel())
            for channel in range(held_out.shape[1])
        ]
    )


def _draw(axes: Axes, held_out: np.ndarray, sets: Mapping[str, np.ndarray], styles: Styles) -> None:
    edges = bin_edges(held_out)
    axes.hist(
        held_out.ravel(),
        edges.tolist(),
        density=True,
        color="0.8",
        label="held-out real",
        histtype="bar",
    )
    for name, values in sets.items():
        density, _ = np.histogram(values.ravel(), edges, density=True)
        colour, dash = styles.colour(name), styles.dash(name)
        axes.stairs(density, edges, label=name, linewidth=1.5, color=colour, linestyle=dash)
    axes.set_yticks([])
    tidy(axes)


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Edges of about BINS bins over all but the tails of `values`.

    Where values are charted in steps (whole numbers, tenths) every bin holds equally many of
    them: bins of another width would draw a comb.
    """
    low, high = np.quantile(values.astype(np.float64), [TAIL, 1 - TAIL])
    inside = values[(values >= low) & (values <= high)]
    step = charted_step(inside)
    if step is None:
        return np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    low, high = float(inside.min()), float(inside.max())
    width = step * np.ceil((high - low + step) / (BINS * step))
    count = int(np.ceil((high - low + step / 2) / width - 1e-6))
    return low - step / 2 + width * np.arange(max(count, 1) + 1)


def charted_step(values: np.ndarray) -> float | None:
    """The step in which nearly all values are charted; None if there is none."""
    distinct = np.unique(values.astype(np.float64).round(4))
    if not 2 <= len(distinct) <= MAX_STEPS:
        return None
    steps, counts = np.unique(np.diff(distinct).round(3), return_counts=True)
    step = float(steps[counts.argmax()])
    if step == 0:
        return None
    places = (values - distinct[0]) / step
    return step if (np.abs(places - places.round()) < 0.01).mean() > ON_STEPS else None


def _conclusion(name: str, gaps: np.ndarray, channels: tuple[str, ...]) -> str:
    worst = int(gaps.argmax())
    return (
        f"{name}: farthest off in {channels[worst]} ({gaps[worst]:.3f}), "
        f"{gaps.mean():.3f} on average over {len(gaps)} channels."
    )
