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


@pytest.fixture
def home(tmp_path):
    """A folder with the shell scripts around the stages, and none of the stages."""
    folder = tmp_path / "home"
    (folder / "scripts").mkdir(parents=True)
    (folder / "classifier").mkdir()
    for name in ("quickstart.sh", "make_env.sh", "env.sh", "start.sh"):
        shutil.copy(ROOT / "scripts" / name, folder / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text(NOTE)
    (tmp_path / "bin" / "python3").chmod(0o755)
    return folder


def quickstart(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    own = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
    own |= {"PATH": f"{home.parent / 'bin'}:/usr/bin:/bin", "NOTES": str(home.parent / "notes")}
    command = ["bash", str(home / "scripts" / "quickstart.sh"), *arguments]
    return subprocess.run(command, cwd=home, env=own, capture_output=True, text=True, timeout=60)


def stages(home: Path, **texts: str) -> None:
    """The four scripts of the stages, each of which runs the text given for it."""
    paths = {"one": "train.sh", "two": "classifier/train.sh"}
    paths |= {"three": "generation.sh", "four": "evaluate.sh"}
    for name, path in paths.items():
        (home / path).write_text(texts.get(name, f"echo stage {name}") + "\n")


@pytest.mark.parametrize("arguments", [[], ["configs/base/demo.yaml", "experiment=mine"]])
def test_the_environment_is_made_whatever_the_arguments(home, arguments):
    stages(home, one="echo trained with $*; exit 7")
    done = quickstart(home, *arguments)
    assert done.returncode == 7, done.stdout + done.stderr
    assert f"trained with {' '.join(arguments) or 'configs/base/demo.yaml'}" in done.stdout
    installs = [
        line for line in (home.parent / "notes").read_text().splitlines() if "pip install" in line
    ]
    assert len(installs) == 1 and installs[0].endswith("-c constraints.txt -e .")


def test_stage_2_runs_beside_stage_1_and_is_shown_after_it(home):
    # Each waits for the other, so one after the other would never end.
    both = "touch {own}; until [ -f {other} ]; do sleep 0.05; done; echo stage {own}"
    stages(home, one=both.format(own="one", other="two"), two=both.format(own="two", other="one"))
    done = quickstart(home)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [line for line in done.stdout.splitlines() if line.startswith("stage ")]
    assert shown == ["stage one", "stage two", "stage three", "stage four"]


def test_the_data_set_is_built_once_before_both(home):
    stages(home, one='echo "one: $*" >> "$NOTES"', two='echo "two: $*" >> "$NOTES"')
    assert quickstart(home, "my.yaml", "data.rebuild=true").returncode == 0
    lines = (home.parent / "notes").read_text().splitlines()
    built = lines.index("-m configs data_preprocess.build my.yaml data.rebuild=true")
    # Given twice, the last value counts.
    for stage in ("one", "two"):
        assert lines.index(f"{stage}: my.yaml data.rebuild=true data.rebuild=false") > built


def test_a_stage_2_that_fails_ends_the_run_with_its_code_and_output(home):
    stages(home, two="echo error: no such model; exit 3")
    done = quickstart(home)
    assert done.returncode == 3
    assert "error: no such model" in done.stdout and "stage three" not in done.stdout


def test_a_stage_1_that_fails_takes_stage_2_along(home):
    stages(
        home,
        one="until [ -f two ]; do sleep 0.05; done; exit 5",
        two="echo $$ > two; exec sleep 100",
    )
    assert quickstart(home).returncode == 5
    with pytest.raises(ProcessLookupError):
        os.kill(int((home / "two").read_text()), 0)
