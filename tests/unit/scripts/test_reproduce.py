"""reproduce.sh: every item of its list is handled and documented, and another one is refused."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
SCRIPT = (ROOT / "scripts/reproduce.sh").read_text(encoding="utf-8")


def items():
    found = re.search(r'items="([^"]+)"', SCRIPT)
    assert found
    return found[1].split()


def test_every_item_has_a_branch_and_a_line_in_the_docs():
    branches = {
        name
        for line in re.findall(r"^([a-z0-9 |]+)\)$", SCRIPT, re.M)
        for name in line.split(" | ")
    }
    assert branches == set(items())
    documented = (ROOT / "docs/reproduce.md").read_text(encoding="utf-8")
    assert [name for name in items() if f"`{name}`" not in documented] == []


def test_an_unknown_item_is_refused_with_the_list():
    result = subprocess.run(
        ["bash", "scripts/reproduce.sh", "table99"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 2
    assert "'table99'" in result.stderr and all(name in result.stderr for name in items())
