"""An environment of its own for every peer: its requirements are not those of the project."""

import hashlib
import logging
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from configs.runtime.errors import UserError

READY = "ready"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Peer:
    """What a generator of others needs.

    Attributes:
        origin: the repository that the user's folder is a clone of.
        marker: a file of it, by which a wrong folder is noticed.
        requirements: installed into the environment.
        shares: whether the packages of this interpreter (torch, scipy) are visible in it.
    """

    origin: str
    marker: str
    requirements: tuple[str, ...]
    shares: bool


def interpreter(name: str, peer: Peer, cache: Path) -> Path:
    """The Python of the peer's environment below `cache`, made at first use.

    Raises:
        UserError: the requirements cannot be installed.
    """
    digest = hashlib.sha256("\n".join((sys.version, *peer.requirements)).encode()).hexdigest()
    folder = cache.expanduser().absolute() / f"{name}-{digest[:12]}"
    python = folder / "bin" / "python"
    if (folder / READY).is_file():
        return python
    log.info("making an environment for %s: %s", name, folder)
    venv.create(folder, with_pip=True, clear=True)
    if peer.shares:
        site = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
        (site / "site-packages" / "shared.pth").write_text(sysconfig.get_path("purelib"))
    command = [str(python), "-m", "pip", "install", "-q", *peer.requirements]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        last = made.stderr.strip().splitlines()[-1:] or ["no message"]
        raise UserError(f"{name}: {' '.join(peer.requirements)} cannot be installed: {last[0]}")
    (folder / READY).touch()
    return python
