"""Page: the content of the report, before it becomes HTML or Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from scripts.pictures.styles import Picture
from scripts.results.table import Table
from scripts.results.verdicts import Verdict


@dataclass(frozen=True)
class Section:
    """A heading with paragraphs, then pictures, then tables, then long texts to unfold."""

    title: str
    paragraphs: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """The whole report.

    Attributes:
        title: its heading.
        lead: what was compared.
        notes: what a reader must not miss.
        verdicts: three answers per set at most.
        sections: in reading order.
    """

    title: str
    lead: str
    notes: list[str]
    verdicts: list[Verdict]
    sections: list[Section]

    @property
    def names(self) -> list[str]:
        """The sets that verdicts are about."""
        return list(dict.fromkeys(verdict.name for verdict in self.verdicts))
