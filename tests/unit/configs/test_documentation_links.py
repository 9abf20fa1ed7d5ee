"""Every relative link of the documents leads to a file that is there, and to a heading of it."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.M)


def documents() -> list[str]:
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True)
    return listed.stdout.split()


def anchor(heading: str) -> str:
    """As GitHub makes it: small letters, hyphens for spaces, no other punctuation."""
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower())
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


def broken(document: Path) -> list[str]:
    links = [i for i in LINK.findall(document.read_text("utf-8")) if "://" not in i]
    targets = [(link, *link.partition("#")[::2]) for link in links]
    found = []
    for link, path, place in targets:
        target = document.parent / path if path else document
        if not target.exists():
            found.append(link)
        elif place and place not in map(anchor, HEADING.findall(target.read_text("utf-8"))):
            found.append(link)
    return found


def test_links_lead_somewhere() -> None:
    listed = documents()
    if not listed:
        pytest.skip("no git here, so the documents of the project are not known")
    assert not {name: links for name in listed if (links := broken(ROOT / name))}


def test_a_wrong_heading_and_a_missing_file_are_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A `b`, c\n[x](#a-b-c) [y](#b) [z](none.md) [w](https://x.org/#q)\n", "utf-8")
    assert broken(page) == ["#b", "none.md"]
