"""scale_figure: what guidance of growing strength buys (Figure 3 of the paper).

The record of tune.sh is runs/<experiment>/tuning/scale.json, read by `scale_points`:
{"selection": split, "seeds": [...], "points": [{"w", "cfg_scale", "realised": [per class],
"auroc", "auroc_sd", "auprc", "auprc_sd"}], "chosen": {"w", "cfg_scale"}}; sd are over seeds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from configs.runtime.errors import DataError
from scripts.pictures.styles import DASHES, MARKERS, OKABE_ITO, shared_legend, tidy
from scripts.results.tables import TITLES, WITH_INTERVAL

CHOSEN = {"marker": "*", "color": "black", "markersize": 15, "linestyle": "none", "zorder": 5}


@dataclass(frozen=True)
class ScalePoint:
    """One strength that was tried.

    Attributes:
        w: requested shift of the mean influence, unguided standard deviations.
        cfg_scale: classifier-free guidance scale; 1 is off.
        realised: shift per class that was reached, the unit of `w`.
        means, sds: over seeds, per metric of WITH_INTERVAL; an sd is None for a single seed.
    """

    w: float
    cfg_scale: float
    realised: list[float]
    means: dict[str, float]
    sds: dict[str, float | None]


def scale_points(content: Mapping[str, Any]) -> list[ScalePoint]:
    """The points of a scale.json, by cfg_scale and then w.

    Raises:
        DataError: there is no point, or one lacks a value; names what is missing.
    """
    try:
        points = [
            ScalePoint(
                w=float(point["w"]),
                cfg_scale=float(point["cfg_scale"]),
                realised=[float(shift) for shift in point["realised"]],
                means={metric: float(point[metric]) for metric in WITH_INTERVAL},
                sds={metric: point[f"{metric}_sd"] for metric in WITH_INTERVAL},
            )
            for point in content["points"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"scale.json: a point is not as expected ({type(error).__name__}: {error}); make it "
            "anew with bash scripts/tune.sh <config.yaml>"
        ) from error
    if not points:
        raise DataError("scale.json holds no point; make it anew with bash scripts/tune.sh")
    return sorted(points, key=lambda point: (point.cfg_scale, point.w))


def scale_figure(content: Mapping[str, Any]) -> Figure:
    """Realised influence, AUROC and AUPRC against the requested strength w; the choice is starred.

    One line per classifier-free guidance scale; error bars are one sd over seeds.

    Args:
        content: of scale.json, see the head of this file.

    Raises:
        DataError: the content is not as described there.
    """
    points = scale_points(content)
    chosen = content.get("chosen")
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    axes = list(figure.subplots(1, 1 + len(WITH_INTERVAL)))
    for index, scale in enumerate(sorted({point.cfg_scale for point in points})):
        line = [point for point in points if point.cfg_scale == scale]
        style = {
            "color": OKABE_ITO[(index + 1) % len(OKABE_ITO)],
            "marker": MARKERS[index % len(MARKERS)],
            "label": f"classifier-free scale {scale:g}",
        }
        _draw_realised(axes[0], line, style, DASHES[index % len(DASHES)])
        for panel, metric in zip(axes[1:], WITH_INTERVAL, strict=True):
            _draw_scores(panel, line, metric, style, DASHES[index % len(DASHES)])
    _label(axes, points, str(content.get("selection", "")))
    if chosen is not None:
        _mark_choice(axes, points, chosen)
    seeds = len(content.get("seeds", []))
    bars = f"error bars: one s.d. over {seeds} seeds" if seeds > 1 else "one seed: no error bars"
    figure.suptitle(f"Guidance strength ({bars})", fontsize=12, fontweight="bold")
    shared_legend(figure, axes[1])
    return figure


def _draw_realised(
    axes: Axes, points: Sequence[ScalePoint], style: Mapping[str, Any], dash: str
) -> None:
    """Mean over classes as a line, the range over classes as a band."""
    w = [point.w for point in points]
    means = [sum(point.realised) / len(point.realised) for point in points]
    axes.plot(w, means, linestyle=dash, **style)
    low, high = [min(p.realised) for p in points], [max(p.realised) for p in points]
    axes.fill_between(w, low, high, color=style["color"], alpha=0.15, linewidth=0)


def _draw_scores(
    axes: Axes, points: Sequence[ScalePoint], metric: str, style: Mapping[str, Any], dash: str
) -> None:
    means = [point.means[metric] for point in points]
    errors = [point.sds[metric] or 0.0 for point in points]
    axes.errorbar([p.w for p in points], means, yerr=errors, linestyle=dash, capsize=3, **style)


def _label(axes: Sequence[Axes], points: Sequence[ScalePoint], selection: str) -> None:
    ends = sorted({point.w for point in points})
    axes[0].plot(ends, ends, color="0.6", linewidth=0.8)
    axes[0].set_ylabel("realised shift of the mean influence,\nunguided s.d. (band: classes)")
    for panel, metric in zip(axes[1:], WITH_INTERVAL, strict=True):
        panel.set_ylabel(f"{TITLES[metric]} on {selection or 'the selection rows'}")
    for panel in axes:
        panel.set_xlabel("requested strength w")
        tidy(panel)


def _mark_choice(
    axes: Sequence[Axes], points: Sequence[ScalePoint], chosen: Mapping[str, Any]
) -> None:
    found = [p for p in points if (p.w, p.cfg_scale) == (chosen["w"], chosen["cfg_scale"])]
    for point in found[:1]:
        axes[0].plot(point.w, sum(point.realised) / len(point.realised), **CHOSEN)
        for panel, metric in zip(axes[1:], WITH_INTERVAL, strict=True):
            panel.plot(point.w, point.means[metric], label="chosen", **CHOSEN)
