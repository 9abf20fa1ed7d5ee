"""What every `main()` shares: logging, arguments -> config, and errors a person can act on."""

import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from configs import load_config
from configs.arguments import DEFAULT_CONFIG, is_override
from configs.runtime.errors import explain
from configs.schema.experiment import ExperimentConfig

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


def run_stage(
    main: Callable[[ExperimentConfig], None], arguments: Sequence[str] | None = None
) -> None:
    """Runs `main` on the config that the command line describes, and exits.

    A `UserError`, a value that is not finite, a full disk and exhausted memory are printed as one
    message with exit code 2; set TARDIFF_DEBUG=1 for the traceback. Anything else is a defect and
    keeps its traceback.

    Args:
        arguments: of the config; None: all of the command line.
    """
    log_to_stdout(force=True)
    given = list(sys.argv[1:] if arguments is None else arguments)
    answer_help(given)
    sys.exit(_guarded(main, given))


def answer_help(arguments: Sequence[str]) -> None:
    """Prints what the program does, as its file says, and exits, if its arguments ask for that."""
    if {"-h", "--help"}.intersection(arguments):
        about = sys.modules["__main__"].__doc__ or ""
        sys.stdout.write(f"{about.strip()}\n\nEvery key: configs/schema/; the stages: README.md.\n")
        sys.exit(0)


def log_to_stdout(*, force: bool = False) -> None:
    """Logs from INFO on go to stdout, which may be closed or end while the work goes on.

    Args:
        force: in place of the handlers that are there; else nothing is changed where there are any.
    """
    sys.stdout = sys.stdout or _nowhere()  # None where the shell closed it: `>&-`
    sys.stderr = sys.stderr or _nowhere()
    handler = _PatientHandler(sys.stdout)
    handler.addFilter(_matters)
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler], force=force)


class _PatientHandler(logging.StreamHandler[TextIO]):
    """Goes on in silence where the reader of the pipe has left, as `| head -3` does."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not isinstance(sys.exc_info()[1], BrokenPipeError):
            super().handleError(record)
            return
        with _nowhere() as nowhere:
            os.dup2(nowhere.fileno(), self.stream.fileno())


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")


def _matters(record: logging.LogRecord) -> bool:
    """False for remarks of the libraries below a warning. (Their loggers set their own level when
    they are imported, which is after this.)"""
    noisy = ("pytorch_lightning", "lightning", "matplotlib")
    return record.levelno >= logging.WARNING or not record.name.startswith(noisy)


def guarded(work: Callable[[], object], hint: str = "") -> int:
    """The exit code of `work`; what a person can act on is logged, with `hint` behind it."""
    try:
        with _sigterm_as_ctrl_c():
            work()
    except KeyboardInterrupt:
        logging.getLogger("tardiff").error("interrupted; run the same command again to go on")
        return EXIT_INTERRUPTED
    except Exception as error:
        message = explain(error)
        if message is None or os.environ.get("TARDIFF_DEBUG"):
            raise
        logging.getLogger("tardiff").error("error: %s%s", message, hint)
        return EXIT_USER_ERROR
    return 0


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """`kill`, `timeout` and schedulers of clusters send SIGTERM: scratch files go then too."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _guarded(main: Callable[[ExperimentConfig], None], arguments: list[str]) -> int:
    return guarded(lambda: main(load_config(arguments)), _hint(arguments))


def _hint(arguments: list[str]) -> str:
    """What to add to an error where no config was named: the default one needs MIMIC-III."""
    if not all(map(is_override, arguments)):  # a config, or what was meant as one
        return ""
    return (
        f"\nNo config was named, so {DEFAULT_CONFIG} was taken, which needs MIMIC-III."
        "\nTry the demo, which needs nothing: bash scripts/quickstart.sh"
        "\nOr name a config: bash train.sh configs/base/demo.yaml (docs/data.md lists them)"
    )
