"""The config stops at the entries and from_config.py: nothing else in scripts/ knows the schema."""

import ast
from pathlib import Path

import scripts

ROOT = Path(scripts.__file__).parent
ENTRIES = {"evaluate.py", "tune.py", "matrix.py", "influence_report/__main__.py", "from_config.py"}


def test_only_the_entries_know_the_schema():
    knowing = set()
    for path in ROOT.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        if any(module == "configs" or module.startswith("configs.schema") for module in modules):
            knowing.add(path.relative_to(ROOT).as_posix())
    assert knowing == ENTRIES
