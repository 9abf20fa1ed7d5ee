"""download: the open data sets of PhysioNet, verified, resumed file by file after an interruption.

    python -m data_preprocess.download physionet2012
    python -m data_preprocess.download physionet2019 [--sets B A]

writes data/raw/<name>/, where the configs look for it. The release's own SHA256SUMS.txt says which
files there are and what they hold; a file appears under its name only when it has its checksum.
"""

import argparse
import hashlib
import http.client
import logging
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from configs.cli import guarded, log_to_stdout
from configs.run_record import sha256_file
from configs.runtime.errors import DataError, UserError

SUMS = "SHA256SUMS.txt"
CONNECTIONS = 4
ATTEMPTS = 5
TIMEOUT_SECONDS = 60
FIRST_PAUSE_SECONDS = 1.0  # before the second attempt; doubled before every further one
_OFFLINE = (urllib.error.URLError, http.client.HTTPException, OSError)
log = logging.getLogger("tardiff.download")


@dataclass(frozen=True)
class Release:
    """An open data set on a server.

    Attributes:
        address: of the folder that holds SHA256SUMS.txt.
        sets: names of its parts; the first ones are the default.
        default: how many of them.
        pattern: matches the files of a set, whose name stands in place of SET.
        strip: leading folders that the local copy leaves out.
    """

    address: str
    sets: tuple[str, ...]
    default: int
    pattern: str
    strip: int


RELEASES = {
    "physionet2012": Release(
        "https://physionet.org/files/challenge-2012/1.0.0/",
        ("a", "b", "c"),
        2,
        r"(set-SET\.tar\.gz|Outcomes-SET\.txt)",
        0,
    ),
    "physionet2019": Release(
        "https://physionet.org/files/challenge-2019/1.0.0/",
        ("B", "A"),
        1,
        r"training/training_setSET/p[0-9]+\.psv",
        1,
    ),
}


def download(name: str, folder: Path, *, sets: Sequence[str], address: str | None = None) -> int:
    """Fetches the files of the named sets that are not there yet; returns how many it fetched.

    Args:
        name: a key of RELEASES.
        address: another server that holds the same files.

    Raises:
        UserError: the server does not answer or lacks the files.
        DataError: a file has another content than SHA256SUMS.txt says.
    """
    release = RELEASES[name]
    base = (address or release.address).rstrip("/") + "/"
    wanted = _wanted(_read(base + SUMS, 1), release, sets)
    if not wanted:
        raise UserError(f"{base}{SUMS} lists no file of set {', '.join(sets)} of {name}")
    missing = []
    for path, digest in tqdm(wanted.items(), desc="looking", unit="file", disable=None):
        target = folder.joinpath(*PurePosixPath(path).parts[release.strip :])
        if not (target.is_file() and sha256_file(target) == digest):
            missing.append((base + path, target, digest))
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        fetched = pool.map(lambda job: _fetch(*job), missing)
        try:
            for _ in tqdm(fetched, total=len(missing), desc=name, unit="file", disable=None):
                pass
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    return len(missing)


def _wanted(sums: bytes, release: Release, sets: Sequence[str]) -> dict[str, str]:
    """Path -> SHA-256 of the files of the sets."""
    patterns = [re.compile(release.pattern.replace("SET", re.escape(s))) for s in sets]
    found = re.findall(r"^([0-9a-f]{64})[ *]+(\S+)\s*$", sums.decode(), re.MULTILINE)
    return {path: sha for sha, path in found if any(p.fullmatch(path) for p in patterns)}


def _fetch(url: str, target: Path, digest: str) -> None:
    data = _read(url, ATTEMPTS)
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise DataError(
            f"{url}: its SHA-256 is {found}, {SUMS} says {digest}; nothing was kept - run the same "
            "command again, and if that does not help, the server's copy is damaged"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f"{target.name}.part")
    partial.write_bytes(data)
    partial.replace(target)


def _read(url: str, attempts: int) -> bytes:
    for attempt in range(attempts):
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:
                return answer.read()  # an answer that is cut short is an error of http.client
        except _OFFLINE as error:
            if attempt == attempts - 1 or isinstance(error, urllib.error.HTTPError):
                raise UserError(
                    f"{url}: {error}. Run the same command again to go on where it stopped; or "
                    "fetch the files with a browser and put them into the folder by hand "
                    "(docs/data.md)"
                ) from error
            time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
    raise AssertionError("at least one attempt")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line; the exit code is 2 after an error that a person can act on."""
    parser = argparse.ArgumentParser(
        prog="python -m data_preprocess.download",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", choices=sorted(RELEASES))
    parser.add_argument("--folder", type=Path, help="default: data/raw/<name>")
    parser.add_argument("--sets", nargs="+", metavar="SET", help="default: a b (2012), B (2019)")
    parser.add_argument("--address", help="of another server with the same files")
    given = parser.parse_args(arguments)
    log_to_stdout()
    release = RELEASES[given.name]
    folder = given.folder or Path("data/raw") / given.name
    sets = given.sets or release.sets[: release.default]

    def work() -> None:
        if unknown := set(sets) - set(release.sets):
            known = ", ".join(release.sets)
            raise UserError(f"--sets {' '.join(sorted(unknown))}: {given.name} has {known}")
        count = download(given.name, folder, sets=sets, address=given.address)
        log.info("%s: %d files fetched, all verified: %s", given.name, count, folder)

    return guarded(work)


if __name__ == "__main__":
    sys.exit(main())
