"""Distributions of every channel's values: held-out series beside each synthetic set."""

from collections.abc import Mapping

import numpy as np

from data_preprocess.dataset import EHRDataset
from data_preprocess.model_space.channel_transforms import charted_step
from scripts.pictures.styles import Picture, Styles, broken, new_panels, shared_legend
from scripts.quality.common.comparison import draw
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.fidelity.marginals import kolmogorov_smirnov

MAX_SERIES = 2000
MAX_CHANNELS = 16
BINS = 40
TITLE_WIDTH = 44  # characters of a line
TAIL = 0.005  # share of held-out values beyond either end of the axis


def distribution_picture(
    test: EHRDataset,
    sets: Mapping[str, EHRDataset],
    styles: Styles,
    *,
    seed: int,
    reports: Mapping[str, MetricReport],
) -> Picture:
    """Histograms per channel of at most MAX_SERIES series of each set: of MAX_CHANNELS channels at
    most, those with the largest differences; the caption names the farthest off, per set.

    Args:
        reports: fidelity of the sets, whose distances are named; empty: those of the series drawn.
    """
    held_out, *made = (
        each.values[draw(len(each), MAX_SERIES, seed)] for each in (test, *sets.values())
    )
    gaps = np.array(
        [
            [
                reports[name].values[f"marginal_ks/{channel}"]
                if name in reports
                else kolmogorov_smirnov(held_out[:, c].ravel(), values[:, c].ravel())
                for name, values in zip(sets, made, strict=True)
            ]
            for c, channel in enumerate(test.feature_names)
        ]
    )
    shown = np.arange(test.num_channels)
    if len(shown) > MAX_CHANNELS:
        shown = np.argsort(-gaps.max(axis=1), kind="stable")[:MAX_CHANNELS]
    lines = (len(shown) + 1) // 2
    figure, panels = new_panels(7.2, 0.9 + 1.7 * lines, rows=lines, columns=2)
    for axes, channel in zip(panels.flat, shown, strict=False):
        edges = bin_edges(held_out[:, channel])
        # Shares of all values: a set beyond the axis must not be scaled up to what lies within.
        real, *others = (
            np.histogram(values[:, channel], edges)[0] / values[:, channel].size
            for values in (held_out, *made)
        )
        axes.stairs(real, edges, fill=True, color="0.8", label="held-out real")
        for name, share in zip(sets, others, strict=True):
            axes.stairs(share, edges, label=name, linewidth=1.5, **styles.dashed(name))
        axes.set_yticks([])
        title = broken(test.feature_names[channel], TITLE_WIDTH)
        axes.set_title(title, fontsize=9, loc="left")
    for axes in panels.flat[len(shown) :]:
        axes.set_axis_off()
    shared_legend(figure, panels[0, 0])
    caption = " ".join(
        f"{name}: farthest off in {test.feature_names[own.argmax()]} ({own.max():.3f}), "
        f"{own.mean():.3f} on average over {len(own)} channels."
        for name, own in zip(sets, gaps.T, strict=True)
    )
    if left_out := test.num_channels - len(shown):
        caption += f" {left_out} channels with smaller differences are left out."
    return Picture(
        "distributions",
        figure,
        f"Histograms of {len(shown)} channels: held-out series and {', '.join(sets)}",
        f"{caption} The Kolmogorov-Smirnov distance (0 to 1) is the largest gap between the two "
        "distribution functions. Heights: share of all values of the set, imputed ones included. "
        f"The axes leave out {100 * TAIL:g} % of the held-out values at either end.",
    )


def bin_edges(values: np.ndarray) -> np.ndarray:
    """Edges of about BINS bins over all but the tails of `values`.

    Where values are charted in steps (whole numbers, tenths) every bin holds equally many of
    them: bins of another width would draw a comb.
    """
    low, high = np.quantile(values.astype(np.float64), [TAIL, 1 - TAIL])
    inside = values[(values >= low) & (values <= high)]
    step = charted_step(inside.astype(np.float64))
    if not step:
        return np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    low, high = float(inside.min()), float(inside.max())
    width = step * np.ceil((high - low + step) / (BINS * step))
    count = int(np.ceil((high - low + step / 2) / width - 1e-6))
    return low - step / 2 + width * np.arange(max(count, 1) + 1)
