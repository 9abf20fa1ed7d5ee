"""write_page: a Page as one HTML file that needs nothing else, and as Markdown with PNGs."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from configs.runtime.atomic_files import write_text
from scripts.pictures.styles import DPI, Picture, save
from scripts.results.table import Table
from scripts.results.verdicts import QUESTIONS, Verdict

WIDE = 8.0  # inches: a wider figure scrolls on a phone instead of shrinking beyond reading


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


def write_page(folder: Path, page: Page) -> list[Path]:
    """Writes report.html, report.md and one PNG per picture to `folder`; the paths of the PNGs."""
    paths = []
    for section in page.sections:
        for picture in section.pictures:
            path = folder / f"{picture.name}.png"
            save(picture.figure, path)
            paths.append(path)
    write_text(folder / "report.html", as_html(page, folder) + "\n")
    write_text(folder / "report.md", as_markdown(page))
    return paths


def as_html(page: Page, folder: Path) -> str:
    """The page as HTML; the PNGs of `folder` are inlined."""
    environment = Environment(
        loader=PackageLoader("scripts.report", "."),
        autoescape=select_autoescape(["html", "jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
    )

    def encoded(picture: Picture) -> str:
        return base64.b64encode((folder / f"{picture.name}.png").read_bytes()).decode("ascii")

    def pixels(picture: Picture) -> tuple[int, int]:
        width, height = picture.figure.get_size_inches()
        return round(width * DPI), round(height * DPI)

    template = environment.get_template("page.html.jinja")
    helpers = {"encoded": encoded, "pixels": pixels, "wide": WIDE * DPI, "questions": QUESTIONS}
    return template.render(page=page, **helpers)


def as_markdown(page: Page) -> str:
    """The page as Markdown; pictures are links to the PNGs beside it."""
    parts = [f"# {page.title}", f"{page.lead}.", *(f"> {note}" for note in page.notes)]
    parts += ["## Verdict", *map(_verdict_line, page.verdicts)]
    for section in page.sections:
        parts += [f"## {section.title}", *map(_escaped, section.paragraphs)]
        for picture in section.pictures:
            parts += [f"![{picture.alt}]({picture.name}.png)", _escaped(picture.caption)]
        parts += [table.as_markdown().replace("## ", "### ", 1) for table in section.tables]
        for title, text in section.details.items():
            parts += [f"### {title}", f"```text\n{text.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _verdict_line(verdict: Verdict) -> str:
    answer = f"{verdict.name}, {verdict.question}? {verdict.outcome.capitalize()}."
    change = f" What would change it: {verdict.change}." if verdict.change else ""
    why = _escaped(f"{verdict.reason}{change} {verdict.numbers}")
    return f"- **{answer}** {why}"


def _escaped(text: str) -> str:
    return text.replace("*", "\\*")
