"""keep_freed_memory: blocks that a tensor leaves are used again, not given back to the system.

glibc gives every freed block above a limit back at once and has a new one cleared by the system,
page by page at its first use. Networks free and ask for the same few megabytes at every layer: that
costs sampling about 5 % of its time, training less (`python -m benchmarks.freed_memory`). The
price: a process holds what it held at its peak until it ends.
"""

import ctypes
import os

# The two limits: mallopt's numbers (malloc.h), and what glibc calls them in the environment. The
# first may be refused; the second alone would switch off that glibc raises the first by itself.
MAPPED, TRIMMED = (-3, "MALLOC_MMAP_THRESHOLD_"), (-1, "MALLOC_TRIM_THRESHOLD_")
# Bytes up to which blocks are kept; before 2.35 glibc took no more than 32 MiB.
KEPT = (1 << 30, 1 << 25)


def keep_freed_memory() -> bool:
    """For this process and those that it starts, unless the user has set any limit of glibc's.

    Returns:
        whether a limit was set by this call: False also if an earlier one, or one in the process
        that started this one, did so.
    """
    names = [name for _, name in (MAPPED, TRIMMED)]
    tuned = "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", "")
    if tuned or any(name in os.environ for name in names):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # musl and macOS have none, Windows no such library
    for size in KEPT:
        if mallopt(MAPPED[0], size) == 1:
            mallopt(TRIMMED[0], size)
            os.environ.update(dict.fromkeys(names, str(size)))
            return True
    return False
