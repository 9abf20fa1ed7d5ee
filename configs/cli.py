"""What every `main()` shares: logging, arguments -> config, and errors a person can act on."""

import logging
import os
import sys
from collections.abc import Callable

from configs import load_config
from configs.runtime.atomic_files import OUTSIDE
from configs.runtime.errors import UserError
from configs.schema.experiment import ExperimentConfig

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def run_stage(main: Callable[[ExperimentConfig], None]) -> None:
    """Runs `main` on the config that the command line describes, and exits.

    A `UserError`, a value that is not finite, a full disk and exhausted memory are printed as one
    message with exit code 2; set TARDIFF_DEBUG=1 for the traceback. Anything else is a defect and
    keeps its traceback.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)
    for noisy in ("pytorch_lightning", "lightning.pytorch", "matplotlib"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    sys.exit(_guarded(main))


def _guarded(main: Callable[[ExperimentConfig], None]) -> int:
    try:
        main(load_config(sys.argv[1:]))
    except KeyboardInterrupt:
        logging.getLogger("tardiff").error("interrupted; run the same command again to go on")
        return EXIT_INTERRUPTED
    except Exception as error:
        message = explain(error)
        if message is None or os.environ.get("TARDIFF_DEBUG"):
            raise
        logging.getLogger("tardiff").error("error: %s", message)
        return EXIT_USER_ERROR
    return 0


def explain(error: Exception) -> str | None:
    """What to tell the user about `error`; None if it is a defect of the program."""
    if isinstance(error, (UserError, FloatingPointError)):
        return str(error)
    if isinstance(error, OSError) and error.errno in OUTSIDE:
        return f"{error.filename or 'a file'}: {OUTSIDE[error.errno]}"
    if is_out_of_memory(error):
        return (
            f"out of memory ({str(error).strip().splitlines()[0][:200] or 'allocation failed'}); "
            "lower diffusion.micro_batch (stage 1), classifier.batch_size (stage 2: of these, the "
            "only one that changes the result), sampler.batch_size (stage 3) or evaluation.workers "
            "(stage 4), or use fewer series"
        )
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """True for Python's, numpy's and torch's ways to say so, on CPU and GPU."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "can't allocate memory" in text)
    )
