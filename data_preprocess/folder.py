"""fresh_folder: a folder appears under its final name only when all of it is written."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.atomic import flush, stale_siblings, temporary_sibling
from configs.errors import UserError


@contextmanager
def fresh_folder(final: Path) -> Iterator[Path]:
    """Yields an empty temporary sibling of `final`; on success it takes the place of `final`.

    On any error the temporary folder is removed and `final` is as it was.

    Raises:
        UserError: the parent folder cannot be made or written.
    """
    temporary = temporary_sibling(final)
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        for stale in stale_siblings(final):
            shutil.rmtree(stale, ignore_errors=True)
        temporary.mkdir()
    except OSError as error:
        raise UserError(
            f"cannot write {final}: {error.strerror} ({error.filename}); choose another folder or "
            "change its permissions"
        ) from error
    try:
        yield temporary
        _put_in_place(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _put_in_place(temporary: Path, final: Path) -> None:
    """Renames; an old folder is moved aside first, since rename cannot replace a full one."""
    if final.exists():
        old = temporary_sibling(final)
        os.rename(final, old)
        os.rename(temporary, final)
        shutil.rmtree(old)
    else:
        os.rename(temporary, final)
    flush(final.parent)
