"""scale_figure: what guidance of growing strength buys (Figure 3 of the paper).

The record of tune.sh is runs/<experiment>/tuning/scale.json, read by `scale_points`:
{"selection": split, "seeds": [...], "points": [{"w", "cfg_scale", "realised": [per class],
"auroc", "auroc_sd", "auprc", "auprc_sd"}], "chosen": {"w", "cfg_scale"}}; sd are over seeds.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from scripts.pictures.styles import DASHES, MARKERS, OKABE_ITO, new_panels, shared_legend
from scripts.utility.metrics import METRICS, RANKING

CHOSEN = {"marker": "*", "color": "black", "markersize": 15, "linestyle": "none", "zorder": 5}


def scale_points(content: Mapping[str, Any]) -> pd.DataFrame:
    """One row per strength of a scale.json, by cfg_scale and then w.

    Columns: those of a point, with `realised` as the mean over classes of the shift that was
    reached (unguided standard deviations) and its ends `low` and `high`; `_sd` is NaN for a single
    seed.
    """
    points = pd.DataFrame(content["points"])
    shifts = np.array(points["realised"].tolist())
    points = points.assign(realised=shifts.mean(1), low=shifts.min(1), high=shifts.max(1))
    spreads = {f"{metric}_sd": float for metric in RANKING}  # of one seed None
    return points.astype(spreads).sort_values(["cfg_scale", "w"])


def scale_figure(content: Mapping[str, Any]) -> Figure:
    """Realised influence, AUROC and AUPRC against the requested strength w; the choice is starred.

    One line per classifier-free guidance scale; error bars are one sd over seeds.

    Args:
        content: of scale.json, see the head of this file.
    """
    points, chosen = scale_points(content), content["chosen"]
    same = (points["w"] == chosen["w"]) & (points["cfg_scale"] == chosen["cfg_scale"])
    figure, panels = new_panels(10.0, 4.2, columns=1 + len(RANKING))
    axes = panels[0]
    for index, (scale, line) in enumerate(points.groupby("cfg_scale")):
        style: dict[str, Any] = {
            "color": OKABE_ITO[(index + 1) % len(OKABE_ITO)],
            "marker": MARKERS[index % len(MARKERS)],
            "linestyle": DASHES[index % len(DASHES)],
            "label": f"classifier-free scale {scale:g}",
        }
        axes[0].plot(line["w"], line["realised"], **style)
        band = {"color": style["color"], "alpha": 0.15, "linewidth": 0}
        axes[0].fill_between(line["w"], line["low"], line["high"], **band)
        for panel, metric in zip(axes[1:], RANKING, strict=True):
            panel.errorbar(line["w"], line[metric], line[f"{metric}_sd"], capsize=3, **style)
    ends = [points["w"].min(), points["w"].max()]
    axes[0].plot(ends, ends, color="0.6", linewidth=0.8)
    axes[0].set_ylabel(
        "realised shift of the mean influence,\nunguided s.d. (band: classes; grey: as requested)"
    )
    for panel, metric in zip(axes[1:], RANKING, strict=True):
        panel.set_ylabel(f"{METRICS[metric]} on {content['selection']}")
    for panel, column in zip(axes, ("realised", *RANKING), strict=True):
        panel.set_xlabel("requested strength w")
        panel.plot(points["w"][same], points[column][same], label="chosen", **CHOSEN)
    seeds = len(content["seeds"])
    bars = f"error bars: one s.d. over {seeds} seeds" if seeds > 1 else "one seed: no error bars"
    figure.suptitle(f"Guidance strength ({bars})", fontsize=12, fontweight="bold")
    shared_legend(figure, axes[1])
    return figure
