"""Runs a stage: `python -m configs STAGE [config.yaml] [key=value ...]`, as the shell scripts do.

The config is read before the stage and its libraries are imported (some seconds), so that a
mistyped key, or Ctrl-C, is answered at once.
"""

import gc
import logging
import sys
from importlib import import_module

from configs.cli import run_stage
from configs.schema.experiment import ExperimentConfig

TITLES = {
    "data_preprocess.build": "data set",
    "tardiff.train": "stage 1 of 4, diffusion model",
    "classifier.train": "stage 2 of 4, task classifier",
    "tardiff.generate": "stage 3 of 4, synthetic sets",
    "scripts.evaluate": "stage 4 of 4, evaluation",
    "scripts.tune": "tuning of the strength",
    "scripts.matrix": "matrix of sets and baselines",
    "scripts.influence_report.__main__": "influence report",
}

log = logging.getLogger("tardiff")


def main() -> None:
    """Says what begins, then imports the stage and runs it."""
    if len(sys.argv) < 2 or sys.argv[1] not in TITLES:
        sys.exit("usage: bash train.sh --help (of every stage); configs/schema/ has every key")
    # Left as they are: with several devices Lightning starts further processes by them.
    stage, *arguments = sys.argv[1:]

    def run(config: ExperimentConfig) -> None:
        log.info("%s of experiment %s ...", TITLES[stage], config.experiment)
        module = import_module(stage)
        # The libraries stay until the end: the garbage collector, which also runs at the end of a
        # process, need not go through their objects each time (0.6 to 0.9 s a stage).
        gc.freeze()
        module.main(config)

    run_stage(run, arguments)


if __name__ == "__main__":
    main()
