"""load_plain: reads what torch.save wrote of tensors and built-in types, and nothing else."""

import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from configs.errors import DataError


def load_plain(path: Path, what: str) -> Any:
    """The content of `path` on the CPU; a pickle that would run code is refused.

    Args:
        what: the kind of file expected, for the error message, e.g. "classifier checkpoint".

    Raises:
        DataError: damaged, or not tensors and built-in types.
    """
    try:
        with warnings.catch_warnings():
            # About foreign pickles, which are refused below in words of our own.
            warnings.filterwarnings("ignore", message="Detected pickle protocol")
            return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{path}: not a {what} of this project ({reason[0]})") from error
