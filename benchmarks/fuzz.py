"""Coverage-guided fuzzing of every reader of files of foreign origin, by atheris.

    pip install atheris        # Linux; no part of the project's own environment
    python -W error -m benchmarks.fuzz [READER ...] [--seconds 60] [--corpus FOLDER]

READER: a name in benchmarks/fuzz_readers.py; all of them if none is given. Inputs that reach new
lines are kept and mutated further. Allowed are a valid result and a UserError; anything else
(another exception, a warning, no answer within 10 s, 4 GB of memory) is a finding, and its input is
kept in ./crash-*, ./timeout-* or ./oom-*. A corpus folder keeps what was found for the next run.
Exit code 1 on a finding.
"""

import argparse
import subprocess
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Ours, and what reads bytes for them; instrumenting torch and numpy whole would take minutes.
INSTRUMENTED = ["data_preprocess", "configs", "tardiff.guidance", "numpy.lib", "omegaconf"]
LIMITS = ("-timeout=10", "-rss_limit_mb=4096", "-max_len=65536")


def fuzz(name: str, seconds: int, corpus: Path) -> None:
    """Fuzzes one reader and ends the process with libFuzzer's exit code."""
    atheris: Any = import_module("atheris")
    with atheris.instrument_imports(include=INSTRUMENTED):
        readers = import_module("benchmarks.fuzz_readers")
    reader = readers.READERS[name]
    with tempfile.TemporaryDirectory(prefix="tardiff-fuzz-") as folder:
        path = Path(folder) / f"x{reader.suffix}"
        reader.write(path)
        corpus.mkdir(parents=True, exist_ok=True)
        (corpus / "valid").write_bytes(path.read_bytes())

        def one(raw: bytes) -> None:
            readers.answer(reader, path, raw)

        atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", *LIMITS, str(corpus)], one)
        atheris.Fuzz()


def main() -> int:
    """One reader: in this process; several: one process each, as libFuzzer ends its own."""
    parser = argparse.ArgumentParser(description="coverage-guided fuzzing of the readers")
    parser.add_argument("readers", nargs="*")
    parser.add_argument("--seconds", type=int, default=60, help="per reader")
    parser.add_argument("--corpus", type=Path)
    given = parser.parse_args()
    if find_spec("atheris") is None:
        sys.exit("atheris is not installed: pip install atheris (Linux, CPython)")
    corpus = given.corpus or Path(tempfile.mkdtemp(prefix="tardiff-corpus-"))
    if len(given.readers) == 1:
        fuzz(given.readers[0], given.seconds, corpus / given.readers[0])
    # -W error in front of the command holds for every process.
    warnings = [f"-W{option}" for option in sys.warnoptions]
    command = [sys.executable, *warnings, "-m", "benchmarks.fuzz", f"--seconds={given.seconds}"]
    names = given.readers or list(import_module("benchmarks.fuzz_readers").READERS)
    failed = [
        name
        for name in names
        if subprocess.run([*command, f"--corpus={corpus}", name], check=False).returncode
    ]
    sys.stdout.write(f"fuzzed {', '.join(names)}; findings: {', '.join(failed) or 'none'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
