"""load_array_pickle: reads a pickle that holds numpy arrays, and refuses to run anything else.

`pickle.load` calls whatever the file names. Here a file may name only what numpy itself writes for
arrays, data types and scalars, and even those names stand for small classes of this module: numpy's
own rebuilding code, which trusts shapes and field offsets, never sees a file's numbers.
"""

import io
import math
import pickle
import pickletools
import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from configs.runtime.errors import UNREADABLE, DataError, MissingInputError

MAX_OPCODES = 1_000_000
# Opcodes that number memo slots: the unpickler makes room for the number, whatever it is.
_MEMO = ("PUT", "BINPUT", "LONG_BINPUT")


class _Dtype:
    """A plain type of numbers: no fields, no shape, no objects."""

    def __init__(self, code: Any, *_: Any) -> None:
        is_number = isinstance(code, str) and re.fullmatch(r"[biuf](1|2|4|8|16)", code)
        self.dtype = np.dtype(code) if is_number else None

    def __setstate__(self, state: Any) -> None:
        order, fields = state[1], state[2:5]
        if self.dtype is None or any(fields) or order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError("a data type that is no plain type of numbers")
        self.dtype = self.dtype.newbyteorder(order)

    def read(self, raw: Any, shape: Any, order: str) -> np.ndarray:
        """The array of `shape` in the bytes `raw`."""
        if self.dtype is None or self.dtype.kind not in "biuf" or not self.dtype.itemsize:
            raise pickle.UnpicklingError(f"arrays of {self.dtype}, expected numbers")
        if not isinstance(raw, (bytes, bytearray)) or not isinstance(shape, tuple):
            raise pickle.UnpicklingError("an array without bytes or shape")
        if any(not isinstance(n, int) or n < 0 for n in shape):
            raise pickle.UnpicklingError(f"an array of shape {shape}")
        if math.prod(shape) * self.dtype.itemsize != len(raw):
            raise pickle.UnpicklingError(f"{len(raw)} bytes for an array {shape} of {self.dtype}")
        native = np.frombuffer(raw, self.dtype).astype(self.dtype.newbyteorder("="))
        return native.reshape(shape, order="F" if order == "F" else "C")


class _Rebuilt:
    """An array under construction: `_reconstruct(ndarray, (0,), b'b')`, then its state."""

    def __init__(self, *_: Any) -> None:
        self.array: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, raw = state
        self.array = dtype.read(raw, shape, "F" if fortran else "C")


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any) -> _Rebuilt:
    rebuilt = _Rebuilt()
    rebuilt.array = dtype.read(raw, shape, order)
    return rebuilt


def _latin1(text: str, encoding: str) -> bytes:
    """How old pickle protocols write bytes; the general codec call is not let through."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"refuses encoding {encoding!r}")
    return text.encode("latin1")


# Their module moved between releases (numpy.core, numpy._core).
_NUMPY = {
    "multiarray._reconstruct": _Rebuilt,
    "multiarray.scalar": lambda dtype, raw: dtype.read(raw, (), "C")[()],
    "numeric._frombuffer": _from_buffer,
}
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): None,  # named in every array, and nothing that a file can call
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _latin1,
    **{
        (f"numpy.{core}.{path.split('.')[0]}", path.split(".")[1]): stand_in
        for core in ("core", "_core")
        for path, stand_in in _NUMPY.items()
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
    """The content of a pickle of a numpy array, or of a tuple or list of arrays.

    Raises:
        MissingInputError: no such file.
        DataError: not a pickle, or it refers to anything but numpy arrays; nothing was run.
    """
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist")
    try:
        raw = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about texts, which are no arrays
            _require_bounded(raw)
            content = _ArrayUnpickler(io.BytesIO(raw)).load()
        if type(content) in (tuple, list):
            return type(content)(map(_finished, content))
        return _finished(content)
    except UNREADABLE as error:  # what unpickling garbage ends in
        raise DataError(
            f"{path}: refused as a pickle of numpy arrays ({error or type(error).__name__}). Save "
            "the arrays with numpy.save as x.npy and x_labels.npy instead"
        ) from error


def _finished(item: Any) -> Any:
    if isinstance(item, _Rebuilt):
        if item.array is None:
            raise pickle.UnpicklingError("an array without content")
        return item.array
    return item


def _require_bounded(raw: bytes) -> None:
    """Refuses what would make the unpickler take memory that the file does not fill."""
    for count, (opcode, argument, _) in enumerate(pickletools.genops(raw)):
        too_far = opcode.name in _MEMO and int(argument or 0) > count
        if too_far or count > MAX_OPCODES:
            raise pickle.UnpicklingError(f"opcode {opcode.name} {argument} at number {count}")
