"""Safe saving and loading of tensors."""

import errno
import io
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch

from configs.runtime.atomic_files import atomic_path
from configs.runtime.errors import UNREADABLE, DataError, MissingInputError, first_line

Parsed = TypeVar("Parsed")

# torch.save stores tensors as they are; a file that unpacks to more than itself is a bomb.
_SLACK_BYTES = 1 << 20


def save_plain(path: Path, content: Any) -> None:
    """Writes `content`, made of tensors and built-in types, whole or not at all.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    packed = io.BytesIO()  # torch's own file writer hides why a write failed
    torch.save(content, packed)
    with atomic_path(path) as temporary:
        temporary.write_bytes(packed.getbuffer())


def load_plain(path: Path, what: str) -> Any:
    """The content of `path` on the CPU; a pickle that would run code is refused.

    Args:
        what: the kind of file expected, for the error message, e.g. "classifier checkpoint".

    Raises:
        DataError: damaged, packed beyond its size, or not tensors and built-in types.
    """
    try:
        _require_stored(path)
        with warnings.catch_warnings():
            # About foreign and damaged pickles, which are refused below in words of our own.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        # Of the system's errors only the one that a damaged table of contents ends in: a seek to
        # before the start. The others are about the disk.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise DataError(f"{path}: not a {what} of this project ({first_line(error)})") from error


def load_marked(
    path: Path,
    what: str,
    marks: Mapping[str, Any],
    parse: Callable[[dict[str, Any]], Parsed],
    *,
    made_by: str,
) -> Parsed:
    """What `parse` makes of the content of a file that says what it is.

    Args:
        what: as of `load_plain`.
        marks: keys of the content with the values that they must have.
        made_by: the command that makes such a file, for the message.

    Raises:
        MissingInputError: no such file.
        DataError: as in `load_plain`, other marks, or content that `parse` does not take.
    """
    if not path.is_file():
        raise MissingInputError(f"{path} does not exist; make it with: {made_by}")
    content = load_plain(path, what)
    found = {key: content.get(key) for key in marks} if isinstance(content, dict) else {}
    if found != marks:
        raise DataError(
            f"{path}: not a {what} of this version, which is marked {marks} and not {found}; if "
            f"another one wrote it, remove it and make it again with: {made_by}"
        )
    try:
        return parse(content)
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, IndexError) as error:
        if isinstance(error, DataError) and str(path) in str(error):
            raise
        raise DataError(f"{path}: a damaged {what} ({type(error).__name__}: {error})") from error


def _require_stored(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        total = sum(member.file_size for member in archive.infolist())
    size = path.stat().st_size
    if total > size + _SLACK_BYTES:
        raise ValueError(f"{size:,} bytes that claim to unpack to {total:,}")
