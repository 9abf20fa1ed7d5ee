"""Logs of a command whose stdout is closed or read in part only."""

import logging
import os
import subprocess
import sys

import pytest

from configs.cli import log_to_stdout
from configs.runtime.errors import explain

MANY_LINES = """
import logging
from configs.cli import log_to_stdout
log_to_stdout(force=True)
for k in range(20_000):
    logging.getLogger("tardiff").info("line %d", k)
"""


def _in_bash(command: str) -> subprocess.CompletedProcess[str]:
    wanted = {"PYTHON": sys.executable, "MANY_LINES": MANY_LINES}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        env=os.environ | wanted,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_reader_that_leaves_ends_neither_the_work_nor_its_silence():
    done = _in_bash('"$PYTHON" -c "$MANY_LINES" | head -3')
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["line 0", "line 1", "line 2"]


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_one_that_leads_nowhere(closed):
    # Libraries ask both streams, as loky and DuckDB's progress bar do.
    ask = "import sys; assert not (sys.stdout.isatty() or sys.stderr.isatty())"
    done = _in_bash(f'"$PYTHON" -c "${{MANY_LINES}}{ask}" {closed}')
    assert (done.returncode, done.stderr) == (0, "")


def test_another_error_of_logging_is_shown(capsys, monkeypatch):
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    log_to_stdout()
    root.handlers[0].handle(logging.LogRecord("x", 20, "x", 1, "%d", ("no number",), None))
    assert "--- Logging error ---" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["no.such.stage"]])
def test_the_entry_of_the_scripts_names_their_help(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "configs", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 1 and "bash train.sh --help" in done.stderr


@pytest.mark.parametrize(
    "module", ["data_preprocess.build", "data_preprocess.new_experiment", "scripts.pool_splits"]
)
def test_a_module_that_is_asked_for_help_says_how_it_is_called(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"python -m {module} " in done.stdout


def test_exhausted_memory_is_explained_also_where_python_says_nothing():
    assert str(explain(MemoryError())).startswith("out of memory (MemoryError); lower")
