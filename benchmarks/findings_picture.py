"""docs/findings.svg from the table of findings in docs/results.md: one dot a number.

    python -m benchmarks.findings_picture

The table is the source, so that the picture cannot say anything else; nothing is measured here.
"""

import argparse
import hashlib
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

DOCS = Path(__file__).resolve().parents[1] / "docs"
FIRST_COLUMN = "| setting |"
MODELS = ("gbdt (boosted trees)", "rocket (random convolutions)")  # in the order of a cell
REAL = "real only"
NOT_RUN = "not run"  # in place of a number
# The other columns that are drawn, one below the other: marker, colour.
MARKS = {
    "synthetic alone, unguided": ("o", "#33608c"),
    "synthetic alone, guided": ("o", "#d1740f"),
    "real + synthetic, guided": ("D", "#d1740f"),
    "real + guidance stays": ("X", "#777777"),
}
GAP = 0.2  # between these, of the distance of two settings


@dataclass(frozen=True)
class Score:
    """An AUROC of the table.

    Attributes:
        sure: printed bold: above the unguided set with an interval that leaves out 0.
    """

    value: float
    sure: bool


@dataclass(frozen=True)
class Setting:
    """A row of the table.

    Attributes:
        scores: column -> AUROC of each downstream model, in the order of MODELS; None where it was
            not run.
    """

    name: str
    stays: str
    scores: dict[str, list[Score | None]]


def settings(text: str) -> list[Setting]:
    """The rows of the table of findings in `text`.

    Raises:
        ValueError: there is no such table, or a column is missing.
    """
    lines = text.splitlines()
    start = next((k for k, line in enumerate(lines) if line.startswith(FIRST_COLUMN)), None)
    if start is None:
        raise ValueError(f"no table that begins with {FIRST_COLUMN!r}")
    columns = _cells(lines[start])
    if missing := [name for name in (REAL, *MARKS) if name not in columns]:
        raise ValueError(f"the table has no column {', '.join(missing)}; it has {columns}")
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        row = dict(zip(columns, _cells(line), strict=True))
        scores = {name: _scores(row[name]) for name in (REAL, *MARKS)}
        found.append(Setting(row[columns[0]].replace("**", ""), row[columns[1]], scores))
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _scores(cell: str) -> list[Score | None]:
    """`0.624 / **0.631**`, or both in bold: `**0.781 / 0.760**`; one of gbdt alone: `0.767`."""
    whole = cell.startswith("**") and cell.endswith("**") and cell.count("**") == 2
    found: list[Score | None] = [None] * len(MODELS)
    for place, part in enumerate(cell.split("/")):
        number = part.replace("**", "").strip()
        if number != NOT_RUN:
            found[place] = Score(float(number), whole or "**" in part)
    return found


def digest(rows: list[Setting]) -> str:
    """Of the numbers drawn; it is kept in the picture, which a test compares with the table."""
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def findings_figure(rows: list[Setting]) -> Figure:
    """A panel a downstream model, a line a setting; filled: surely above the unguided set."""
    figure = Figure(figsize=(10.5, 0.55 * len(rows) + 1.4), layout="constrained")
    panels = figure.subplots(1, len(MODELS), sharey=True, sharex=True)
    for index, (axes, title) in enumerate(zip(panels, MODELS, strict=True)):
        axes.axvline(0, color="#333333", linewidth=1.2)
        for height, row in enumerate(rows):
            _draw(axes, height, row, index)
        axes.set_title(title, fontsize=11)
        axes.grid(axis="x", color="#dddddd")
        axes.set_axisbelow(True)
    figure.suptitle("AUROC on real test patients, minus that of real stays only", fontsize=12)
    names = [f"{row.name}\n{row.stays} stays" for row in rows]
    panels[0].set_yticks(range(len(rows)), names, fontsize=9)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    handles = [_marks([], [], name, filled=True) for name in MARKS]
    handles.append(_marks([], [], "synthetic alone, guided", filled=False))
    handles[-1].set_label("guided, not surely above unguided")
    figure.legend(handles=handles, loc="outside lower center", fontsize=9, ncols=3, frameon=False)
    return figure


def _draw(axes: Axes, height: int, row: Setting, index: int) -> None:
    if height % 2:
        axes.axhspan(height - 0.5, height + 0.5, color="#f4f4f4", zorder=0)
    real = row.scores[REAL][index]
    if real is None:
        axes.text(0.004, height, NOT_RUN, va="center", fontsize=9, color="#777777")
        return
    for lane, name in enumerate(MARKS):
        score = row.scores[name][index]
        if score is None:
            continue
        at = height + GAP * (lane - (len(MARKS) - 1) / 2)
        filled = score.sure or ", guided" not in name
        axes.add_line(_marks([score.value - real.value], [at], name, filled=filled))
        axes.plot([0, score.value - real.value], [at, at], color=MARKS[name][1], linewidth=1)
    axes.autoscale_view()


def _marks(x: list[float], y: list[float], name: str, *, filled: bool) -> Line2D:
    marker, colour = MARKS[name]
    face = colour if filled else "white"
    look = {"marker": marker, "color": colour, "markerfacecolor": face, "markersize": 6.5}
    return Line2D(x, y, linestyle="none", label=name, zorder=3, **look)


def main() -> None:
    """Writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DOCS / "findings.svg")
    out, rows = parser.parse_args().out, settings((DOCS / "results.md").read_text("utf-8"))
    # The same table gives the same file.
    with mpl.rc_context({"svg.hashsalt": "tardiff", "svg.fonttype": "none"}):
        metadata = {"Date": None, "Creator": None, "Source": digest(rows)}
        findings_figure(rows).savefig(out, metadata=metadata if out.suffix == ".svg" else None)
    print(out)


if __name__ == "__main__":
    main()
