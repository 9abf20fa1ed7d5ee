"""The errors a user can cause, told from defects of the program, and what to say about them."""

import errno
from collections.abc import Iterable
from importlib import import_module
from typing import Any

# Causes outside the program, and what to do.
OUTSIDE = {
    errno.ENOSPC: "the disk is full; free some space",
    errno.EDQUOT: "the disk quota is used up; free some space",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission denied; change the permissions or choose another folder",
    errno.EPERM: "permission denied; change the permissions or choose another folder",
    errno.EFBIG: "the file system, or `ulimit -f`, does not take files this large; raise the limit "
    "or choose another folder",
}
# What numpy, torch, pickle, zipfile and json raise on files that are empty, damaged or of another
# kind: classes of nearly every module, without a common base.
UNREADABLE = Exception


class UserError(Exception):
    """Something outside the program is wrong; the message says what arrived, what was expected
    and what to do. Entry points print it without a traceback."""


class ConfigError(UserError, ValueError):
    """A key, type or value of the configuration is wrong."""


class DataError(UserError, ValueError):
    """An array, table or file does not keep its contract."""


class MissingInputError(UserError, FileNotFoundError):
    """A file that an earlier stage should have made is not there."""


class MismatchError(UserError, ValueError):
    """Two artefacts do not belong together (other channels, normaliser, data or task)."""


def few(names: Iterable[object], most: int = 8) -> str:
    """The first names for a message, and how many there are."""
    shown = [str(name) for name in names]
    more = f", ... ({len(shown)})" if len(shown) > most else ""
    return ", ".join(shown[:most]) + more


def optional(module: str, *, extra: str, needed_by: str) -> Any:
    """A module of an optional package.

    Args:
        extra: of pyproject.toml, which installs it.
        needed_by: what asks for it, for the message.

    Raises:
        UserError: it is not installed.
    """
    package = module.split(".")[0]
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != package:
            raise  # one of its own dependencies
        raise UserError(
            f"{needed_by} needs the package {package}, which is not installed: "
            f"pip install -c constraints.txt -e '.[{extra}]'"
        ) from error


def explain(error: Exception) -> str | None:
    """What to tell the user about `error`; None if it is a defect of the program."""
    if isinstance(error, (UserError, FloatingPointError)):
        return str(error)
    if isinstance(error, OSError) and error.errno in OUTSIDE:
        return f"{error.filename or 'a file'}: {OUTSIDE[error.errno]}"
    if isinstance(error, FileNotFoundError) and "No usable temporary" in str(error):  # tempfile's
        return f"{error.strerror}; free some space, or name a folder in TMPDIR"
    if is_out_of_memory(error):
        return (
            f"out of memory ({first_line(error)[:200]}); "
            "lower diffusion.micro_batch (stage 1), classifier.batch_size (stage 2: of these, the "
            "only one that changes the result), sampler.batch_size (stage 3) or evaluation.workers "
            "(stage 4), or use fewer series"
        )
    return None


def first_line(error: BaseException) -> str:
    """The first line of what an error says, for a message; its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def is_out_of_memory(error: BaseException) -> bool:
    """True for Python's, numpy's and torch's ways to say so, on CPU and GPU."""
    text = str(error)
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in text or "can't allocate memory" in text)
    )
