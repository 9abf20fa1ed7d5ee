"""Distributions of every channel's values: held-out series beside each synthetic set."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data_preprocess.dataset import EHRDataset
from scripts.pictures.styles import Picture, Styles, shared_legend, tidy
from scripts.quality.common.comparison import draw
from scripts.quality.fidelity.marginals import kolmogorov_smirnov

MAX_SERIES = 2000
MAX_CHANNELS = 16
BINS = 40
MAX_STEPS = 400  # distinct values; with more they are drawn as continuous
ON_STEPS = 0.98  # share of values that must lie on the steps
TAIL = 0.005  # share of held-out values beyond either end of the axis


@dataclass(frozen=True)
class ChannelHistogram:
    """Densities of one channel in common bins.

    Attributes:
        edges: of the bins, clinical units.
        real: of held-out series.
        sets: per synthetic set.
    """

    channel: str
    edges: Float[np.ndarray, " edges"]
    real: Float[np.ndarray, " bins"]
    sets: dict[str, np.ndarray]


@dataclass(frozen=True)
class Distributions:
    """Histograms, and how far each set is off.

    Attributes:
        histograms: at most MAX_CHANNELS, those with the largest differences if there are more.
        gaps: per set, the Kolmogorov-Smirnov distance to held-out series of every channel.
        channels: names of all channels.
    """

    histograms: list[ChannelHistogram]
    gaps: dict[str, np.ndarray]
    channels: tuple[str, ...]


def distributions(
    test: EHRDataset, sets: Mapping[str, EHRDataset], *, seed: int
) -> Distributions | None:
    """Histograms per channel of at most MAX_SERIES series of each set; None without a set."""
    if not sets:
        return None
    held_out = _values(test, seed)
    drawn = {name: _values(dataset, seed) for name, dataset in sets.items()}
    count = test.num_channels
    gaps = {
        name: np.array(
            [kolmogorov_smirnov(held_out[:, c].ravel(), v[:, c].ravel()) for c in range(count)]
        )
        for name, v in drawn.items()
    }
    shown = np.arange(count)
    if count > MAX_CHANNELS:
        shown = np.argsort(-np.max(list(gaps.values()), axis=0), kind="stable")[:MAX_CHANNELS]
    histograms = []
    for channel in shown:
        edges = bin_edges(held_out[:, channel])
        real, *others = (
            np.histogram(values[:, channel].ravel(), edges, density=True)[0]
            for values in (held_out, *drawn.values())
        )
        named = dict(zip(drawn, others, strict=True))
        histograms.append(ChannelHistogram(test.feature_names[channel], edges, real, named))
    return Distributions(histograms, gaps, test.feature_names)


def _values(dataset: EHRDataset, seed: int) -> np.ndarray:
    return dataset.values[draw(len(dataset), MAX_SERIES, seed)]


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


def distribution_picture(found: Distributions, styles: Styles) -> Picture:
    """Histograms per channel; the caption names the channel that is farthest off, per set."""
    shown, sets = found.histograms, ", ".join(found.gaps)
    figure = Figure(figsize=(7.2, 0.9 + 1.7 * ((len(shown) + 1) // 2)), layout="constrained")
    panels = list(figure.subplots((len(shown) + 1) // 2, 2, squeeze=False).ravel())
    for panel, histogram in zip(panels, shown, strict=False):
        _draw(panel, histogram, styles)
    for panel in panels[len(shown) :]:
        panel.set_axis_off()
    shared_legend(figure, panels[0])
    caption = " ".join(_farthest(name, gaps, found.channels) for name, gaps in found.gaps.items())
    left_out = len(found.channels) - len(shown)
    if left_out:
        caption += f" {left_out} channels with smaller differences are left out."
    return Picture(
        "distributions",
        figure,
        f"Histograms of {len(shown)} channels: held-out series and {sets}",
        f"{caption} The Kolmogorov-Smirnov distance (0 to 1) is the largest gap between the two "
        f"distribution functions. The axes leave out {100 * TAIL:g} % of the held-out values at "
        "either end.",
    )


def _draw(axes: Axes, found: ChannelHistogram, styles: Styles) -> None:
    axes.stairs(found.real, found.edges, fill=True, color="0.8", label="held-out real")
    for name, density in found.sets.items():
        axes.stairs(density, found.edges, label=name, linewidth=1.5, **styles.dashed(name))
    axes.set_yticks([])
    axes.set_title(found.channel, fontsize=9, loc="left")
    tidy(axes)


def _farthest(name: str, gaps: np.ndarray, channels: tuple[str, ...]) -> str:
    worst = int(gaps.argmax())
    return (
        f"{name}: farthest off in {channels[worst]} ({gaps[worst]:.3f}), "
        f"{gaps.mean():.3f} on average over {len(gaps)} channels."
    )
