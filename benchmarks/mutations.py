"""Breaks the safety code, one piece at a time, and checks that a test notices.

    python -m benchmarks.mutations [NAME ...]

Every mutation is applied to a copy of the tracked files, and the tests that guard the place run
there. Prints a Markdown table: what was broken, and the first test that failed. Exit code 1 if one
goes unnoticed, or if its place is no longer found in the code.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks import mutation_list, mutation_list_private
from benchmarks.mutation_list import Mutation

MUTATIONS = [*mutation_list.MUTATIONS, *mutation_list_private.MUTATIONS]
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Verdict:
    """What became of a mutation; `test` is the first that failed, None if all passed."""

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
        copy_tracked(Path(name))
        applied(mutation, Path(name))
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, *mutation.tests.split()],
            cwd=name,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode == 0:
        return Verdict(mutation, None)
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    if done.returncode != 1 or failed is None:
        raise RuntimeError(f"{mutation.name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return Verdict(mutation, failed[1])


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
    unnoticed = 0
    for mutation in chosen:
        verdict = judged(mutation)
        unnoticed += verdict.test is None
        sys.stdout.write(f"| {mutation.name} | {verdict.test or '**none**'} |\n")
        sys.stdout.flush()
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
