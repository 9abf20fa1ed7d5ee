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

from configs.runtime.errors import DataError
from scripts.pictures.styles import DASHES, MARKERS, OKABE_ITO, new_panels, shared_legend
from scripts.utility.metrics import METRICS, RANKING

CHOSEN = {"marker": "*", "color": "black", "markersize": 15, "linestyle": "none", "zorder": 5}


def scale_points(content: Mapping[str, Any]) -> pd.DataFrame:
    """One row per strength of a scale.json, by cfg_scale and then w.

    Columns: w (requested shift of the mean influence, unguided standard deviations), cfg_scale
    (1 is off), realised (mean over classes of the shift that was reached), its ends low and high,
    and per metric of RANKING the mean and `_sd` over seeds (0 for a single seed).

    Raises:
        DataError: there is no point, or one lacks a value; names what is missing.
    """
    names = ["w", "cfg_scale", *RANKING, *(f"{metric}_sd" for metric in RANKING)]
    try:
        rows = [[point[name] for name in names] for point in content["points"]]
        shifts = [np.array(point["realised"], float) for point in content["points"]]
        points = pd.DataFrame(rows, columns=pd.Index(names)).astype(float).fillna(0.0)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"scale.json: a point is not as expected ({type(error).__name__}: {error}); make it "
            "anew with bash scripts/tune.sh <config.yaml>"
        ) from error
    if points.empty:
        raise DataError("scale.json holds no point; make it anew with bash scripts/tune.sh")
    for name, summary in (("realised", np.mean), ("low", np.min), ("high", np.max)):
        points[name] = [summary(shift) for shift in shifts]
    return points.sort_values(["cfg_scale", "w"])


def scale_figure(content: Mapping[str, Any]) -> Figure:
    """Realised influence, AUROC and AUPRC against the requested strength w; the choice is starred.

    One line per classifier-free guidance scale; error bars are one sd over seeds.

    Args:
        content: of scale.json, see the head of this file.

    Raises:
        DataError: the content is not as described there.
    """
    points, chosen = scale_points(content), content.get("chosen")
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
    axes[0].set_ylabel("realised shift of the mean influence,\nunguided s.d. (band: classes)")
    where = content.get("selection") or "the selection rows"
    for panel, metric in zip(axes[1:], RANKING, strict=True):
        panel.set_ylabel(f"{METRICS[metric]} on {where}")
    for panel, column in zip(axes, ("realised", *RANKING), strict=True):
        panel.set_xlabel("requested strength w")
        if chosen is not None:
            same = (points["w"] == chosen["w"]) & (points["cfg_scale"] == chosen["cfg_scale"])
            panel.plot(points["w"][same], points[column][same], label="chosen", **CHOSEN)
    seeds = len(content.get("seeds", []))
    bars = f"error bars: one s.d. over {seeds} seeds" if seeds > 1 else "one seed: no error bars"
    figure.suptitle(f"Guidance strength ({bars})", fontsize=12, fontweight="bold")
    shared_legend(figure, axes[1])
    return figure
