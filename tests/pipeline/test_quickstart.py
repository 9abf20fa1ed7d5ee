"""quickstart.sh in a folder without an environment, with a Python that only notes its arguments."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NOTE = """#!/bin/bash
echo "$*" >> "$NOTES"
if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; fi
"""


@pytest.mark.parametrize("arguments", [[], ["configs/base/demo.yaml", "experiment=mine"]])
def test_the_environment_is_made_whatever_the_arguments(tmp_path, arguments):
    home, bin_ = tmp_path / "home", tmp_path / "bin"
    for folder in (home / "scripts", bin_):
        folder.mkdir(parents=True)
    for name in ("quickstart.sh", "make_env.sh", "env.sh", "start.sh"):
        shutil.copy(ROOT / "scripts" / name, home / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, home)
    (home / "train.sh").write_text("echo trained with $*; exit 7\n")
    (bin_ / "python3").write_text(NOTE)
    (bin_ / "python3").chmod(0o755)
    own = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    own |= {"PATH": f"{bin_}:/usr/bin:/bin", "NOTES": str(tmp_path / "notes")}
    command = ["bash", str(home / "scripts" / "quickstart.sh"), *arguments]
    done = subprocess.run(command, cwd=home, env=own, capture_output=True, text=True)
    assert done.returncode == 7, done.stdout + done.stderr
    assert f"trained with {' '.join(arguments) or 'configs/base/demo.yaml'}" in done.stdout
    installs = [
        line for line in (tmp_path / "notes").read_text().splitlines() if "pip install" in line
    ]
    assert len(installs) == 1 and installs[0].endswith("-c constraints.txt -e .")
