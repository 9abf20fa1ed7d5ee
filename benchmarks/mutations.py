"""Breaks the safety code, one piece at a time, and checks that a test notices.

    python -m benchmarks.mutations [NAME ...]

Every mutation is applied to a copy of the tracked files, and the tests that guard the place run
there. Prints a Markdown table: what was broken, and the first test that failed. Exit code 1 if one
goes unnoticed, or if its place is no longer found in the code.
"""

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from benchmarks import mutation_list, mutation_list_private, mutation_list_scale
from benchmarks.mutation_list import Mutation

MUTATIONS = [
    *mutation_list.MUTATIONS,
    *mutation_list_private.MUTATIONS,
    *mutation_list_scale.MUTATIONS,
]
HEAVY = (
    "torch",
    "pytorch_lightning",
    "sklearn.metrics",
    "scipy.stats",
    "pandas",
    "duckdb",
    "omegaconf",
)
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Verdict:
    """What became of a mutation; `test` is what noticed it, None if nothing did."""

    mutation: Mutation
    test: str | None


def applied(mutation: Mutation, folder: Path) -> None:
    """Changes the file in `folder`.

    Raises:
        ValueError: the place is not there, or not only once.
    """
    path = folder / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(f"{mutation.name}: {text.count(mutation.old)} places in {mutation.file}")
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


def judged(mutation: Mutation) -> Verdict:
    """Runs the tests on a copy with the mutation.

    Raises:
        RuntimeError: pytest could not run them.
    """
    with tempfile.TemporaryDirectory(prefix="tardiff-mutation-") as name:
        folder, output = Path(name) / "copy", Path(name) / "output"
        folder.mkdir()
        copy_tracked(folder)
        applied(mutation, folder)
        code = _tested(folder, mutation.tests.split(), output)
        told = output.read_text(encoding="utf-8")
    if code == 0:
        return Verdict(mutation, None)
    if code < 0:  # a stack overflow, say: nobody can miss it
        return Verdict(mutation, f"the tests' process died of {signal.Signals(-code).name}")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", told, re.MULTILINE)
    if code != 1 or failed is None:
        raise RuntimeError(f"{mutation.name}: exit code {code}: {told[-3000:]}")
    return Verdict(mutation, failed[1])


def _tested(folder: Path, tests: list[str], output: Path) -> int:
    """pytest's exit code, in a child forked after the imports of HEAVY, which take longest."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70
    try:
        os.chdir(folder)
        sys.path[0] = str(folder)
        handle = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        code = int(import_module("pytest").main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
        sys.stdout.flush()
    finally:
        os._exit(code)


def copy_tracked(folder: Path) -> None:
    """The files git knows, as they are now."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    )
    for name in listed.stdout.split("\0"):
        if name and (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)


def main() -> int:
    """Judges the named mutations, or all; 0 if every one is noticed."""
    parser = argparse.ArgumentParser(description="does a test notice when the safety code breaks?")
    parser.add_argument("names", nargs="*", help="parts of names; none: all")
    wanted = parser.parse_args().names
    chosen = [m for m in MUTATIONS if not wanted or any(part in m.name for part in wanted)]
    sys.stdout.write("| broken | test that failed |\n| --- | --- |\n")
    for name in HEAVY:
        import_module(name)
    unnoticed = 0
    for mutation in chosen:
        verdict = judged(mutation)
        unnoticed += verdict.test is None
        sys.stdout.write(f"| {mutation.name} | {verdict.test or '**none**'} |\n")
        sys.stdout.flush()
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
