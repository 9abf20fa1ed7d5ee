"""write_figures: every figure that the results of an evaluation can fill."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from scripts.curves import curve_figure, reliability_figure
from scripts.figures import Styles, difference_figure, save, tsrtr_figure, tstr_figure
from scripts.protocols import REAL, Cell
from scripts.scores import Predictions
from scripts.statistics import Summary


def write_figures(
    folder: Path, results: Mapping[Cell, Predictions], summaries: Sequence[Summary]
) -> list[Path]:
    """The PNG files written to `folder`: per downstream model, those whose protocols were run."""
    generators = dict.fromkeys(s.generator for s in summaries if s.generator != REAL)
    styles = Styles(list(generators))
    paths = []
    for model in dict.fromkeys(summary.model for summary in summaries):
        for name, figure in _figures(results, summaries, model, styles).items():
            path = folder / f"{name}_{file_name(model)}.png"
            save(figure, path)
            paths.append(path)
    return paths


def file_name(model: str) -> str:
    """`model` with the characters that a file name should not hold replaced."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", model)


def _figures(
    results: Mapping[Cell, Predictions],
    summaries: Sequence[Summary],
    model: str,
    styles: Styles,
) -> dict[str, Figure]:
    protocols = {summary.protocol for summary in summaries}
    figures = {
        "roc_pr": curve_figure(results, model, styles),
        "calibration": reliability_figure(results, model, styles),
    }
    if "TSRTR" in protocols:
        figures["tsrtr"] = tsrtr_figure(summaries, model, styles)
    if "TSTR" in protocols:
        figures["tstr"] = tstr_figure(summaries, model, styles)
    if protocols & {"TSTR", "TSRTR"}:
        figures["differences"] = difference_figure(summaries, model, styles)
    return figures
