"""What the figures share: how a set looks in each of them, axes, legends, PNG files.

Colours are those of Okabe and Ito, told apart under every common colour blindness, with a dark red
in place of their yellow, which is hardly seen on white; a set also keeps its own marker and line
style, so no figure relies on colour alone. Real data are black.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from configs.runtime.atomic_files import atomic_path
from scripts.utility.protocols import REAL

# A dollar sign in the name of a channel or set is a dollar sign.
matplotlib.rcParams["text.parse_math"] = False
# Names may be Chinese, Japanese or Korean: letters that the fonts of matplotlib lack come from one
# of these, where it is installed (Linux, then macOS and Windows).
_FONTS = ("Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Arial Unicode MS")
_FONTS += ("Microsoft YaHei", "Yu Gothic", "Malgun Gothic")
_INSTALLED = {font.name for font in font_manager.fontManager.ttflist}
matplotlib.rcParams["font.family"] = ["sans-serif", *(f for f in _FONTS if f in _INSTALLED)]

OKABE_ITO = ("#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#661100")
MARKERS = "osD^vPX*"  # one more than colours, so that 56 sets differ in the pair
DASHES = ("-", "--", "-.", ":")
DPI = 110
CHARACTERS = 11  # of a legend, an inch


@dataclass(frozen=True)
class Picture:
    """One figure.

    Attributes:
        name: stem of its file.
        figure: as drawn.
        alt: what it shows, for a reader who cannot see it.
        caption: what to conclude, from the numbers drawn.
    """

    name: str
    figure: Figure
    alt: str
    caption: str


class Styles:
    """The same colour, marker and line for a set in every figure.

    Args:
        generators: the sets, in the order of the tables.
    """

    def __init__(self, generators: Sequence[str]) -> None:
        self.sets = list(generators)

    def colour(self, generator: str) -> str:
        """Black for real data, else the set's colour."""
        return "black" if generator == REAL else self._pick(OKABE_ITO, generator)

    def dashed(self, generator: str) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot` for a line without markers; solid for real data."""
        dashes = DASHES[1:] + DASHES[:1]
        dash = "-" if generator == REAL else self._pick(dashes, generator)
        return {"color": self.colour(generator), "linestyle": dash}

    def line(self, generator: str) -> dict[str, Any]:
        """Keyword arguments of `Axes.plot` for a line with markers."""
        return {
            "color": self.colour(generator),
            "marker": self._pick(MARKERS, generator),
            "linestyle": self._pick(DASHES, generator),
        }

    def _pick(self, options: Sequence[str], generator: str) -> str:
        return options[self.sets.index(generator) % len(options)]


def new_panels(
    width: float, height: float, rows: int = 1, columns: int = 1, **shared: Any
) -> tuple[Figure, np.ndarray]:
    """An empty figure and its panels, (row, column), each with a light grid and no box.

    Args:
        width, height: of the figure, inches.
        shared: `sharex` and `sharey` as `Figure.subplots` takes them.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, **shared)
    for axes in panels.flat:
        axes.grid(True, color="0.9", linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def save(figure: Figure, path: Path) -> None:
    """Writes the figure as PNG, whole or not at all."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=DPI, format="png")


def shared_legend(figure: Figure, axes: Axes, *, columns: int = 4) -> None:
    """The legend of `axes` below all panels, in fewer columns where names are long."""
    handles, labels = axes.get_legend_handles_labels()
    fit = int(figure.get_figwidth() * CHARACTERS / (6 + max(map(len, labels), default=0)))
    columns = max(1, min(len(labels), columns, fit))
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)


def broken(text: str, width: int) -> str:
    """`text` in lines of at most `width` characters, broken after blanks and underscores."""
    return textwrap.fill(text.replace("_", "_ "), width).replace("_ ", "_")


def time_axis(length: int, hours_per_step: float, *, behind: int = 0) -> tuple[np.ndarray, str]:
    """Times of the grid points, and of `behind` more, in a unit that is readable for such a length,
    and its name."""
    hours = np.arange(length + behind) * hours_per_step
    return (hours, "hours") if length * hours_per_step >= 1 else (hours * 3600.0, "seconds")
