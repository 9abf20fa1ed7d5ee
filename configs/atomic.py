"""atomic_path: a file appears under its final name only when it is whole."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import UserError


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yields a temporary path beside `final`; on success it is flushed to disk and renamed.

    The temporary name keeps the suffix, since numpy and matplotlib choose formats by it. On any
    error nothing is left under either name.

    Raises:
        UserError: the folder cannot be made or written.
    """
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make folder {final.parent}: {error.strerror}") from error
    if not os.access(final.parent, os.W_OK):
        raise UserError(f"cannot write {final}: folder {final.parent} is not writable")
    temporary = final.with_name(f".{final.stem}.{secrets.token_hex(4)}.partial{final.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(final: Path, text: str) -> None:
    """Writes `text` (UTF-8) to `final`, whole or not at all."""
    with atomic_path(final) as temporary:
        temporary.write_text(text, encoding="utf-8")
