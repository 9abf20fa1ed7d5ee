"""read_npz, read_npy: arrays from files of any origin, every bound checked before memory is taken.

numpy allocates what a header claims before it reads, and zip packs zeros a thousandfold: a file of
some kilobytes can ask for terabytes. Here a claim must fit the bytes that are there.
"""

import io
import math
import tokenize
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

# What numpy and zipfile raise on files that are empty, cut off, damaged or of another kind.
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    OverflowError,
    SyntaxError,
    RecursionError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
)
MAX_MEMBERS = 64
# Measured series pack 1.1- to 30-fold and masks some hundredfold, a bomb a thousandfold.
MAX_EXPANSION = 250
FREE_BYTES = 64 << 20


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name.

    Raises:
        One of UNREADABLE: not such a file, or it unpacks to more than its size allows.
    """
    with path.open("rb") as handle, zipfile.ZipFile(handle) as archive:
        members = archive.infolist()
        total = sum(member.file_size for member in members)
        allowed = FREE_BYTES + MAX_EXPANSION * path.stat().st_size
        if len(members) > MAX_MEMBERS or total > allowed:
            raise ValueError(
                f"{len(members)} arrays that claim to unpack to {total:,} bytes; at most "
                f"{MAX_MEMBERS} and {allowed:,} are taken from a file of this size - if it is "
                "yours, save it with numpy.savez, which does not compress"
            )
        return {
            member.filename.removesuffix(".npy"): _read_member(archive, member)
            for member in members
        }


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file; errors as in `read_npz`."""
    with path.open("rb") as handle:
        return _read_array(handle, path.stat().st_size)


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as handle:
        return _read_array(handle, member.file_size)


def _read_array(handle: Any, size: int) -> np.ndarray:
    """The array whose header and data are the `size` bytes of `handle`."""
    start = io.BytesIO(handle.read(min(size, 1 << 16)))
    version = npy.read_magic(start)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"unknown .npy version {version}")
    with warnings.catch_warnings():
        # "created on Python 2", an old name of a type: as good as any.
        warnings.simplefilter("ignore")
        shape, fortran, dtype = read_header(start)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, not numbers")
    wanted = math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or wanted != size - start.tell():
        raise ValueError(
            f"its header claims {dtype} {shape}, {wanted:,} bytes, but {size - start.tell():,} "
            "follow"
        )
    order = "F" if fortran else "C"
    return _fill(start.read(), handle, wanted).view(dtype).reshape(shape, order=order)


def _fill(begin: bytes, handle: Any, wanted: int) -> np.ndarray:
    """`wanted` bytes: `begin`, then what `handle` still holds."""
    raw = np.empty(wanted, np.uint8)
    raw[: len(begin)] = np.frombuffer(begin, np.uint8)
    filled = len(begin)
    while filled < wanted and (count := handle.readinto(raw.data[filled:])):
        filled += count
    if filled < wanted:
        raise EOFError(f"cut off after {filled:,} of {wanted:,} bytes")
    return raw
