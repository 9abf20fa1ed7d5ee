"""read_npz, read_npy: arrays from files of any origin, every bound checked before memory is taken.

numpy allocates what a header claims before it reads, and zip packs zeros a thousandfold: a file of
some kilobytes can ask for terabytes. Here a claim must fit the bytes that are there.
"""

import io
import math
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

MAX_MEMBERS = 64
# Measured series pack 1.1- to 30-fold and masks some hundredfold, a bomb a thousandfold.
MAX_EXPANSION = 250
FREE_BYTES = 64 << 20


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz by name.

    Raises:
        One of errors.UNREADABLE: not such a file, or it unpacks to more than its size allows.
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
        arrays = {}
        for member in members:
            with archive.open(member) as handle:
                arrays[member.filename.removesuffix(".npy")] = _read(handle, member.file_size)
        return arrays


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file; errors as in `read_npz`."""
    with path.open("rb") as handle:
        return _read(handle, path.stat().st_size)


def _read(handle: Any, size: int) -> np.ndarray:
    """The array whose header and data are the `size` bytes of a file."""
    with warnings.catch_warnings():
        # "created on Python 2", an old name of a type: as good as any.
        warnings.simplefilter("ignore")
        _require_fitting(handle, size)
        handle.seek(0)
        return npy.read_array(handle, allow_pickle=False)


def _require_fitting(handle: Any, size: int) -> None:
    """Refuses a header that claims anything but the bytes that follow it."""
    start = io.BytesIO(handle.read(min(size, 1 << 16)))
    version = npy.read_magic(start)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"unknown .npy version {version}")
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(start)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, not numbers")
    wanted = math.prod(shape) * dtype.itemsize
    if any(side < 0 for side in shape) or wanted != size - start.tell():
        raise ValueError(
            f"its header claims {dtype} {shape}, {wanted:,} bytes, but {size - start.tell():,} "
            "follow"
        )
