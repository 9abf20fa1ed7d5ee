"""Processes: independent pieces of work on one machine (loky) or on several (dask.distributed)."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

import joblib

from configs.runtime.device import one_thread
from configs.runtime.errors import ConfigError, UserError, optional

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Processes:
    """Where pieces of work run.

    Args:
        workers: processes; 0: one per core. On dask the cluster decides, and this is not read.
        backend: "loky", processes of this machine, or "dask", the workers of a cluster.
        scheduler: dask only: address of the scheduler, such as tcp://node1:8786; None: the one
            that the environment variable DASK_SCHEDULER_ADDRESS names.
    """

    workers: int = 1
    backend: str = "loky"
    scheduler: str | None = None

    def run(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> Iterator[tuple[Item, Result]]:
        """(item, function(item)) for every item, in the order in which they are done.

        Every call has one thread of its own wherever it runs, so results do not depend on the
        number of processes. What a call returns should be small: let it write its result to disk.

        Raises:
            UserError: dask is asked for and not installed, or its scheduler does not answer.
            Exception: whatever `function` raised.
        """
        if not items:
            return
        with ExitStack() as stack:
            if self.backend == "dask":
                stack.enter_context(_dask_client(self.scheduler))
                stack.enter_context(joblib.parallel_config(backend="dask"))
                workers = -1
            else:
                workers = min(self.workers or joblib.cpu_count(), len(items))
            # Unordered, so that progress moves when any worker is done; memory-mapped copies on
            # write, so that the processes of one machine share one copy of large arrays.
            pool = joblib.Parallel(n_jobs=workers, return_as="generator_unordered", mmap_mode="c")
            home = os.getpid() if self.backend == "loky" else None
            calls = (
                joblib.delayed(_call)(function, number, item, home)
                for number, item in enumerate(items)
            )
            with _ctrl_c_ignored():
                results: Any = pool(calls)  # starts the workers
            for number, result in results:
                yield items[number], result


@contextmanager
def _ctrl_c_ignored() -> Iterator[None]:
    """Processes started meanwhile inherit it: a terminal sends Ctrl-C to them too, and this one,
    which ends them, is to answer alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _call(
    function: Callable[[Any], Any], number: int, item: Any, home: int | None
) -> tuple[int, Any]:
    if home not in (None, os.getpid()):
        _end_with(home)
    with one_thread():
        return number, function(item)


@lru_cache(maxsize=1)
def _end_with(home: int) -> None:
    """Ends this worker, whatever it does, when process `home`, its parent, is gone: loky's own
    workers would wait five minutes for more work."""

    def watch() -> None:
        while os.getppid() == home:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _dask_client(scheduler: str | None) -> Any:
    address = scheduler or os.environ.get("DASK_SCHEDULER_ADDRESS")
    if address is None:
        raise ConfigError(
            "processes.backend=dask: no scheduler is named; set processes.scheduler to its "
            "address, such as tcp://node1:8786, or the variable DASK_SCHEDULER_ADDRESS"
        )
    distributed = optional("distributed", extra="cluster", needed_by="processes.backend=dask")
    try:
        return distributed.Client(address, timeout=30, set_as_default=True)
    except (OSError, ValueError) as error:
        raise UserError(
            f"processes.scheduler={address}: no dask scheduler answers there ({error}); start one "
            "with `dask scheduler` and workers with `dask worker ADDRESS --nthreads 1`"
        ) from error
