"""How fast and how large: raw CHARTEVENTS.csv.gz -> splits, against reading the same bytes.

    python -m tests.support.simulated_release --format mimic3 --out /tmp/raw30 \
        --stays 60000 --rows 30000000
    python -m benchmarks.extraction /tmp/raw30 [more folders]

For every folder, in turn and `--repeats` times: `zcat | wc -l` of the chart table, then the whole
build command. Wall and CPU seconds and the peak resident memory of each child are measured by the
kernel (wait4). Prints a Markdown table; the last column is what the project promises.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
CHARTS = {"mimic3": "CHARTEVENTS.csv.gz", "eicu": "vitalPeriodic.csv.gz"}
CONFIGS = {"mimic3": "mimic_mortality", "eicu": "eicu_mortality"}
BOUND_RATIO, BOUND_SECONDS, BOUND_GIB = 2.5, 20.0, 2.0


class Usage(NamedTuple):
    """What one child process took: seconds, CPU seconds (both kinds), peak memory in GiB."""

    wall: float
    cpu: float
    gib: float


def measure(command: Sequence[str]) -> Usage:
    """Runs `command` and returns what it and its children took."""
    start = time.perf_counter()
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.perf_counter() - start
    if status:
        raise SystemExit(f"failed with status {status}: {' '.join(command)}")
    return Usage(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20)


def measure_folder(folder: Path, extra: Sequence[str]) -> tuple[int, Usage, Usage]:
    """Rows of the chart table, and what reading its bytes and building from it took."""
    layout = next(name for name, chart in CHARTS.items() if (folder / chart).is_file())
    chart = folder / CHARTS[layout]
    reading = measure(["bash", "-c", f"zcat '{chart}' | wc -l"])
    with tempfile.TemporaryDirectory(prefix="tardiff-benchmark-") as scratch:
        config = f"configs/base/{CONFIGS[layout]}.yaml"
        command = [sys.executable, "-m", "data_preprocess.build", config]
        command += [f"data.{layout}.folder={folder}", f"data.dir={scratch}/data", *extra]
        building = measure(command)
    rows = json.loads((folder / "faults.json").read_text())["rows"]
    return rows, reading, building


def main() -> None:
    """Measures every folder and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], help="overrides of the build, key=value")
    given = parser.parse_args()
    print(
        "| rows (M) | zcat, wc: s (CPU s) | build: s (CPU s) | bound s | peak GiB | load | kept |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for _ in range(given.repeats):
        for folder in given.folders:
            rows, reading, building = measure_folder(folder.resolve(), given.set)
            bound = BOUND_RATIO * reading.wall + BOUND_SECONDS
            kept = building.wall <= bound and building.gib <= BOUND_GIB
            print(
                f"| {rows / 1e6:.1f} | {reading.wall:.1f} ({reading.cpu:.1f}) "
                f"| {building.wall:.1f} ({building.cpu:.1f}) | {bound:.1f} | {building.gib:.2f} "
                f"| {os.getloadavg()[0]:.1f} | {'yes' if kept else 'no'} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
