"""Files and folders that appear under their final name only when they are whole."""

import os
import re
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from zlib import crc32

from configs.runtime.errors import OUTSIDE, UserError

# Process ids mean nothing on another host that shares the folder.
_HOST = f"{crc32(socket.gethostname().encode()):08x}"


@contextmanager
def atomic_path(final: Path) -> Iterator[Path]:
    """Yields a temporary path beside `final`; on success it is flushed to disk and renamed.

    The temporary name keeps the suffix, since numpy and matplotlib choose formats by it. On any
    error nothing is left under the temporary name, and `final` is as it was.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    make_writable(final.parent)
    for stale in stale_siblings(final):
        stale.unlink(missing_ok=True)
    temporary = temporary_sibling(final)
    try:
        yield temporary
        flush(temporary)
        temporary.replace(final)
        flush(final.parent)
    except OSError as error:
        if error.errno not in OUTSIDE or isinstance(error, UserError):
            raise
        raise UserError(
            f"cannot write {final}: {OUTSIDE[error.errno]} and run the same command again"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def make_writable(folder: Path) -> None:
    """Makes `folder` where it does not exist; a stage calls it before work that takes long.

    Raises:
        UserError: it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make folder {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK):
        raise UserError(f"folder {folder} is not writable")


def write_text(final: Path, text: str) -> None:
    """Writes `text` (UTF-8) to `final`, whole or not at all."""
    with atomic_path(final) as temporary:
        temporary.write_text(text, encoding="utf-8")


def temporary_sibling(final: Path) -> Path:
    """A fresh hidden name beside `final` that says which process uses it."""
    token = f"{_HOST}-{os.getpid()}-{secrets.token_hex(4)}"
    return final.with_name(f".{final.stem}.{token}.partial{final.suffix}")


def stale_siblings(final: Path) -> list[Path]:
    """Temporary names of `final` whose process, of this host, is no more."""
    pattern = re.compile(
        rf"\.{re.escape(final.stem)}\.{_HOST}-(\d+)-[0-9a-f]+\.partial{re.escape(final.suffix)}"
    )
    try:
        names = [name for name in os.listdir(final.parent) if name.startswith(".")]
    except FileNotFoundError:
        return []
    found = [(pattern.fullmatch(name), final.with_name(name)) for name in names]
    return [path for match, path in found if match and not _is_running(int(match[1]))]


def _is_running(process: int) -> bool:
    if os.name != "posix":
        return True  # signal 0 is no mere question elsewhere
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def flush(path: Path) -> None:
    """fsync of a file or, where the system knows that, of a folder: of the renames in it."""
    if path.is_dir() and os.name != "posix":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def fresh_folder(final: Path) -> Iterator[Path]:
    """Yields an empty temporary sibling of `final`; on success it takes the place of `final`.

    A symbolic link stays one: the folder that it names is replaced. On any error the temporary
    folder is removed and `final` is as it was.

    Raises:
        UserError: the parent folder cannot be made or written.
    """
    final = final.resolve()
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
        old = temporary_sibling(final)
        if final.exists():  # moved aside first, since rename cannot replace a full folder
            os.rename(final, old)
        try:
            os.rename(temporary, final)
        except OSError:
            if old.exists():
                os.rename(old, final)
            raise
        shutil.rmtree(old, ignore_errors=True)
        flush(final.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Waits until no other process is inside for the same folder; the lock ends with the process.

    Where the system or file system knows no such lock, nothing is waited for.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a network file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
