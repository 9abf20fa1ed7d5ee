"""Runs a stage: `python -m configs STAGE [config.yaml] [key=value ...]`, as the shell scripts do.

The config is read before the stage and its libraries are imported (some seconds), so that a
mistyped key, or Ctrl-C, is answered at once.
"""

import sys
from importlib import import_module

from configs.cli import EXIT_INTERRUPTED, _guarded, run_stage, set_up_logging
from configs.schema.experiment import ExperimentConfig

TITLES = {
    "tardiff.train": "stage 1 of 4, diffusion model",
    "classifier.train": "stage 2 of 4, task classifier",
    "tardiff.generate": "stage 3 of 4, synthetic sets",
    "scripts.evaluate": "stage 4 of 4, evaluation",
}


def main() -> None:
    """Checks the config, says what begins, then imports and runs the stage."""
    set_up_logging()
    stage = sys.argv.pop(1)

    def announce(config: ExperimentConfig) -> None:
        sys.stdout.write(f"{TITLES.get(stage, stage)} of experiment {config.experiment} ...\n")
        sys.stdout.flush()

    code = _guarded(announce)
    if code:
        sys.exit(code)
    try:
        module = import_module(stage)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    run_stage(module.main)


if __name__ == "__main__":
    main()
