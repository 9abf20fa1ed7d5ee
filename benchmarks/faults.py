"""Kills every stage at random moments and checks that the same command then ends as if it had not.

    python -m benchmarks.faults [--kills 50] [--seed 0] [--stages train,classifier,...]

All four stages run on a very small config in child processes forked after the imports, so that a
kill lands in the work and not in the start of Python. Per stage: a clean run sets the expected
artefacts and the processor time; then each trial starts from the folder as the stages before left
it, is killed with SIGKILL after a uniformly drawn part of that time (processor time, since on a
busy machine kills after seconds would all fall into the beginning), the files it left are read,
the same command runs again to its end, and every artefact is compared with the clean run's.
Prints a Markdown table; exit code 1 if anything differs.
"""

import argparse
import logging
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from benchmarks.faults_compare import differences, half_written, leftovers
from classifier.train import main as classifier
from configs import load_config
from configs.runtime.errors import explain
from configs.schema.experiment import ExperimentConfig
from scripts.evaluate import main as evaluate
from tardiff.generate import main as generate
from tardiff.train import main as train

STAGES: dict[str, Callable[[ExperimentConfig], None]] = {
    "train": train,
    "classifier": classifier,
    "generate": generate,
    "evaluate": evaluate,
}
SMALL = [
    "experiment=faults",
    "accelerator=cpu",
    "data.simulated.num_subjects=120",
    "diffusion.width=8",
    "diffusion.max_steps=24",
    "diffusion.val_every=4",
    "classifier.max_epochs=6",
    "classifier.patience=6",
    "influence.cg_iterations=3",
    "generation.counts=[30,18]",
    "sampler.batch_size=6",
    "evaluation.protocols=[TRTR,TSTR,TSRTR]",
    "evaluation.ratios=[0.5]",
    "evaluation.workers=1",
]


@dataclass
class Outcome:
    """What the trials of one stage showed."""

    seconds: float
    kills: int = 0
    too_late: int = 0  # the stage had ended before the kill; such a trial is drawn again
    half: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    resumed: int = 0  # the kill left something of the stage behind

    @property
    def is_clean(self) -> bool:
        """Nothing was lost, torn or changed."""
        return not (self.half or self.failed or self.different or self.left)


class Bench:
    """The folder of the trials; always the same one, since some artefacts name their own path."""

    def __init__(self, root: Path, config: Path) -> None:
        self.here = root / "trial"
        self.snapshots = root / "before"
        self.expected = root / "clean"
        self.config = config

    def start(self, stage: str) -> int:
        """Forks a child that runs the stage in `here`; its process id."""
        child = os.fork()
        if child:
            return child
        code = 1
        try:
            os.chdir(self.here)
            output = os.open(self.here.parent / "output", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            STAGES[stage](load_config([str(self.config), *SMALL]))
            code = 0
        except Exception as error:
            logging.getLogger("faults").exception("%s", explain(error))
        finally:
            os._exit(code)

    def run(self, stage: str) -> tuple[int, float]:
        """Runs the stage to its end; its exit code and the processor seconds it took."""
        _, status, usage = os.wait4(self.start(stage), 0)
        return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime

    def clean_run(self) -> dict[str, float]:
        """Runs all stages; keeps the folder before each of them and the end; seconds per stage."""
        seconds = {}
        self.here.mkdir()
        for stage in STAGES:
            shutil.copytree(self.here, self.snapshots / stage)
            code, seconds[stage] = self.run(stage)
            if code:
                raise SystemExit(f"{stage} failed: {(self.here.parent / 'output').read_text()}")
            shutil.copytree(self.here, self.expected / stage)
        return seconds

    def reset(self, stage: str) -> None:
        """The folder as it was before the stage."""
        shutil.rmtree(self.here)
        shutil.copytree(self.snapshots / stage, self.here)


def trial(bench: Bench, stage: str, delay: float, outcome: Outcome) -> None:
    """One kill after `delay` processor seconds and what came of it."""
    bench.reset(stage)
    child = bench.start(stage)
    while _worked(child) < delay:
        time.sleep(0.003)
        if os.waitpid(child, os.WNOHANG)[0]:
            outcome.too_late += 1
            return
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    outcome.kills += 1
    name = f"{stage} after {delay:.3f} s"
    outcome.half += [f"{name}: {path}" for path in half_written(bench.here)]
    outcome.resumed += _files(bench.here) != _files(bench.snapshots / stage)
    if code := bench.run(stage)[0]:
        outcome.failed.append(f"{name}: exit code {code}")
        return
    found = differences(bench.here, bench.expected / stage)
    outcome.different += [f"{name}: {text}" for text in found]
    outcome.left += [f"{name}: {path}" for path in leftovers(bench.here)]


def _worked(process: int) -> float:
    """Processor seconds so far, in steps of 0.01; known of an ended process until it is reaped."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def table(outcomes: dict[str, Outcome]) -> str:
    """The counts, Markdown."""
    heads = (
        "stage",
        "clean run (processor time)",
        "kills",
        "with work on disk at the kill",
        "half files under a final name",
        "re-runs that failed",
        "artefacts that differ",
        "temporary files left",
    )
    lines = [f"| {' | '.join(heads)} |", f"|{' --- |' * len(heads)}"]
    for stage, o in outcomes.items():
        counts = [o.kills, o.resumed, *map(len, (o.half, o.failed, o.different, o.left))]
        lines.append(f"| {stage} | {o.seconds:.1f} s | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def main() -> int:
    """Runs the trials; 0 if every stage came out clean."""
    parser = argparse.ArgumentParser(description="kill -9 at random moments of every stage")
    parser.add_argument("--kills", type=int, default=50, help="per stage")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", default=",".join(STAGES))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rng = np.random.default_rng(arguments.seed)
    outcomes = {}
    with tempfile.TemporaryDirectory(prefix="tardiff-faults-") as folder:
        bench = Bench(Path(folder), Path("configs/base/tiny.yaml").resolve())
        seconds = bench.clean_run()
        for stage in arguments.stages.split(","):
            outcome = outcomes[stage] = Outcome(seconds[stage])
            while outcome.kills < arguments.kills:
                trial(bench, stage, float(rng.uniform(0, outcome.seconds)), outcome)
                sys.stderr.write(f"\r{stage}: {outcome.kills}/{arguments.kills}")
            sys.stderr.write(f"{stage}: {outcome}\n")
    sys.stdout.write(table(outcomes) + "\n")
    return 0 if all(outcome.is_clean for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
