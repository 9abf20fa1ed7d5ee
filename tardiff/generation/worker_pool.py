"""spread: pieces of work, made one after the other in this process and in helpers beside it.

Every process takes the next piece that nobody has claimed. So this one has begun while the helpers
still start (2 to 3 seconds of imports each), none waits for another, and n workers hold the memory
of n processes.
"""

import os
import pickle
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import cloudpickle
import torch
from joblib.externals.loky import ProcessPoolExecutor

from configs.runtime.device import one_thread

_IDLE_SECONDS = 300  # that helpers wait for the next call: from one set of a run to the next
_WORK, _DONE = "work.pickle", ".done"

Piece = TypeVar("Piece")
_waiting: dict[int, ProcessPoolExecutor] = {}  # by their number; at most one


def spread(
    make: Callable[[Piece], object], pieces: Sequence[Piece], *, workers: int, folder: Path
) -> Iterator[Piece]:
    """Calls `make` once for every piece; yields each when it is known to be made, in any order.

    Args:
        workers: processes, this one among them; where there are several, each has one thread.
        folder: where they meet; a folder inside it is made and removed again.

    Raises:
        Exception: whatever `make` raised in any process; the helpers are stopped.
    """
    if workers == 1 or not pieces:
        for piece in pieces:
            make(piece)
            yield piece
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".job-", dir=folder) as own, one_thread():
        meeting = Path(own)
        # Handed over once, not with every piece.
        (meeting / _WORK).write_bytes(cloudpickle.dumps((make, pieces)))
        number = min(workers, len(pieces)) - 1
        try:
            futures = [_helpers(number).submit(_help, meeting) for _ in range(number)]
            yield from (pieces[index] for index in _work_along(meeting, make, pieces, futures))
        except BaseException:
            release_helpers(kill=True)
            raise


def release_helpers(*, kill: bool = False) -> None:
    """Ends the helpers that wait for another call; `kill`: in the middle of their work."""
    while _waiting:
        _waiting.popitem()[1].shutdown(kill_workers=kill)


def _helpers(number: int) -> ProcessPoolExecutor:
    # Not loky's reusable executor: joblib.Parallel, which stage 4 uses, takes that for its own.
    if number not in _waiting:
        release_helpers()
        _waiting[number] = ProcessPoolExecutor(
            max_workers=number,
            timeout=_IDLE_SECONDS,
            initializer=_end_with,
            initargs=(os.getpid(),),
        )
    return _waiting[number]


def _work_along(
    meeting: Path,
    make: Callable[[Piece], object],
    pieces: Sequence[Piece],
    helpers: Sequence[Future[None]],
) -> Iterator[int]:
    known: set[int] = set()
    for _ in _work(meeting, make, pieces):
        for helper in helpers:
            if helper.done():
                helper.result()
        yield from _news(meeting, known)
    for helper in helpers:
        helper.result()
    yield from _news(meeting, known)
    assert len(known) == len(pieces), f"{len(pieces) - len(known)} pieces of work were not made"


def _end_with(home: int) -> None:
    """Ends this helper, whatever it does, when process `home`, its parent, is gone."""

    def watch() -> None:
        while os.getppid() == home:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _help(meeting: Path) -> None:
    """What a helper does."""
    torch.set_num_threads(1)
    make, pieces = pickle.loads((meeting / _WORK).read_bytes())
    for _ in _work(meeting, make, pieces):
        pass


def _work(
    meeting: Path, make: Callable[[Piece], object], pieces: Sequence[Piece]
) -> Iterator[None]:
    """Makes every piece that nobody has claimed."""
    for index, piece in enumerate(pieces):
        try:
            (meeting / str(index)).touch(exist_ok=False)
        except FileExistsError:
            continue
        make(piece)
        (meeting / f"{index}{_DONE}").touch()
        yield


def _news(meeting: Path, known: set[int]) -> Iterator[int]:
    """The pieces made since the last call, by whomever; adds them to `known`."""
    for path in sorted(meeting.glob(f"*{_DONE}")):
        index = int(path.stem)
        if index not in known:
            known.add(index)
            yield index
