"""Coverage-guided fuzzing of one reader: inputs that reach new lines are kept and mutated further.

    pip install atheris        # Linux; no part of the project's own environment
    python -m benchmarks.fuzz_guided READER [--seconds 60] [--corpus FOLDER]

READER as in benchmarks/fuzz.py. Allowed are a valid result and a UserError; anything else ends the
run with the input in ./crash-*. A corpus folder keeps what was found for the next run.
"""

import argparse
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

# Ours, and what reads bytes for them; instrumenting torch and numpy whole would take minutes.
INSTRUMENTED = [
    "data_preprocess",
    "configs.runtime.torch_files",
    "configs",
    "numpy.lib",
    "omegaconf",
]


def main() -> None:
    """Fuzzes until the time is up; the exit code is libFuzzer's."""
    parser = argparse.ArgumentParser(description="coverage-guided fuzzing of one reader")
    parser.add_argument("reader")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path)
    given = parser.parse_args()
    try:
        atheris: Any = import_module("atheris")
    except ModuleNotFoundError:
        sys.exit("atheris is not installed: pip install atheris (Linux, CPython)")
    with atheris.instrument_imports(include=INSTRUMENTED):
        fuzz = import_module("benchmarks.fuzz")
        user_error = import_module("configs.runtime.errors").UserError
    reader = fuzz.READERS[given.reader]
    with tempfile.TemporaryDirectory(prefix="tardiff-fuzz-") as folder:
        path = Path(folder) / f"x{reader.suffix}"
        corpus = given.corpus or Path(folder) / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        reader.write(path)
        (corpus / "valid").write_bytes(path.read_bytes())

        def one(raw: bytes) -> None:
            path.write_bytes(raw)
            try:
                reader.read(path)
            except user_error:
                pass

        options = [f"-max_total_time={given.seconds}", "-timeout=10", "-rss_limit_mb=4096"]
        atheris.Setup([sys.argv[0], *options, "-max_len=65536", str(corpus)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
