"""keep_freed_memory: blocks that a tensor leaves are used again, not given back to the system.

glibc gives every freed block above a limit back at once and has a new one cleared by the system,
page by page at its first use. Networks free and ask for the same few megabytes at every layer: that
costs some up to a fifth of their time (`python -m benchmarks.freed_memory`). The price: what a
process held at its peak it holds until it ends.
"""

import ctypes
import os

# mallopt's numbers of the two limits (malloc.h), and what glibc calls them in the environment.
LIMITS = {-1: "MALLOC_TRIM_THRESHOLD_", -3: "MALLOC_MMAP_THRESHOLD_"}
KEPT = 1 << 30  # bytes: below, a block is kept


def keep_freed_memory() -> bool:
    """For this process, and for those that it starts; leaves settings of the user's alone.

    Returns:
        whether the allocator took it; False where it is not glibc's or the user has set a limit.
    """
    if any(name in os.environ for name in LIMITS.values()):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False  # musl and macOS have none, Windows no such library
    taken = [mallopt(number, KEPT) == 1 for number in LIMITS]
    os.environ.update({name: str(KEPT) for name in LIMITS.values()})
    return all(taken)
