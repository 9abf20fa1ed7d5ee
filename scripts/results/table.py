"""Table: rows of cells, as text for a terminal and as Markdown."""

import itertools
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from data_preprocess.card import markdown_table

TEXT_WIDTH = 100  # of what is printed


@dataclass(frozen=True)
class Table:
    """A heading, column names and rows of cells; a row of no cells is a separator."""

    heading: str
    columns: list[str]
    rows: list[list[str]]

    @property
    def named_rows(self) -> list[list[str]]:
        """The rows, each with the name of its block, which a terminal shows in the first row alone:
        a screen reader and a copied row need it."""
        rows: list[list[str]] = []
        for row in filter(None, self.rows):
            rows.append([row[0] or rows[-1][0], *row[1:]])
        return rows

    def as_text(self) -> str:
        """Aligned columns, for a monospaced terminal; where they do not fit TEXT_WIDTH, a title
        wider than its cells is broken."""
        filled = [row for row in self.rows if row]
        cells = [max((len(row[i]) for row in filled), default=0) for i in range(len(self.columns))]
        titles = [[title] for title in self.columns]
        widths = [max(w, len(title)) for w, title in zip(cells, self.columns, strict=True)]
        if sum(widths) + 2 * (len(widths) - 1) > TEXT_WIDTH:
            words = [max(map(len, title.split()), default=1) for title in self.columns]
            widths = [max(width, word) for width, word in zip(cells, words, strict=True)]
            titles = [textwrap.wrap(t, w) for t, w in zip(self.columns, widths, strict=True)]

        def line(cells: Sequence[str]) -> str:
            padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
            return "  ".join(padded).rstrip()

        rule = "-" * len(line(["-" * width for width in widths]))
        body = [line(row) if row else rule for row in self.rows]
        head = [line(part) for part in itertools.zip_longest(*titles, fillvalue="")]
        return "\n".join([self.heading, *head, rule, *body])

    def as_markdown(self) -> str:
        """A Markdown section with a pipe table."""
        escaped = [[cell.replace("*", "\\*") for cell in row] for row in self.named_rows]
        return f"## {self.heading}\n\n{markdown_table(self.columns, escaped)}"
