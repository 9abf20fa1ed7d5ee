"""load_array_pickle: reads a pickle that holds numpy arrays, and refuses to run anything else.

`pickle.load` calls whatever the file names. Here a file may name only what numpy itself needs to
rebuild arrays, data types and scalars.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import DataError, MissingInputError


def _latin1(text: str, encoding: str) -> bytes:
    """How old pickle protocols write bytes; the general codec call is not let through."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"refuses encoding {encoding!r}")
    return text.encode("latin1")


# numpy's own rebuilding functions, taken from what numpy writes: their module moved between
# releases (numpy.core, numpy._core), their objects are the same.
_NUMPY = {
    "multiarray._reconstruct": np.zeros(1).__reduce__()[0],
    "multiarray.scalar": np.float64(0).__reduce__()[0],
    "numeric._frombuffer": np.zeros(1).__reduce_ex__(5)[0],
}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): _latin1,
    **{
        (f"numpy.{core}.{path.split('.')[0]}", path.split(".")[1]): function
        for core in ("core", "_core")
        for path, function in _NUMPY.items()
    },
}


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Only what `_ALLOWED` lists; a name is never looked up in a module."""
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it refers to {module_name}.{global_name}, which is no numpy array"
            ) from None


def load_array_pickle(path: Path) -> Any:
    """The content of a pickle made of numpy arrays, scalars and built-in containers.

    Raises:
        MissingInputError: no such file.
        DataError: not a pickle, or it refers to anything but numpy arrays; nothing was run.
    """
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist")
    try:
        with path.open("rb") as handle:
            return _ArrayUnpickler(handle).load()
    except (pickle.UnpicklingError, EOFError, ImportError, MemoryError, OverflowError) as error:
        raise _refused(path, error) from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
        raise _refused(path, error) from error  # what unpickling garbage ends in


def _refused(path: Path, error: Exception) -> DataError:
    return DataError(
        f"{path}: refused as a pickle of numpy arrays ({error or type(error).__name__}). Save the "
        "arrays with numpy.save as x.npy and x_labels.npy instead"
    )
