"""configs.freed_memory: freed blocks are used again, in this process and those that it starts."""

import ctypes
import os
import subprocess
import sys

import pytest

from configs import freed_memory
from configs.freed_memory import MAPPED, TRIMMED, keep_freed_memory

NAMES = (MAPPED[1], TRIMMED[1])

# Prints the page faults of taking and freeing 64 MiB thirty times: 16,384 pages each if new.
FAULTS = """
import resource
import numpy as np
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(30):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
KEEP = "from configs.freed_memory import keep_freed_memory\nprint(keep_freed_memory())\n"
CHILD = (
    f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', '''{FAULTS}'''], check=True)"
)
glibc = pytest.mark.skipif(
    not (sys.platform == "linux" and hasattr(ctypes.CDLL(None), "mallopt")),
    reason="the allocator is not glibc's",
)


def lines(code: str, **limits: str) -> list[str]:
    own = {name: value for name, value in os.environ.items() if name not in NAMES}
    # numpy asks for huge pages, which would hide most faults.
    own |= {"NUMPY_MADVISE_HUGEPAGE": "0", **limits}
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=own, check=True, capture_output=True, text=True
    ).stdout.split()


@glibc
@pytest.mark.parametrize("where", [FAULTS, CHILD], ids=["own", "child"])
def test_freed_blocks_are_not_cleared_anew(where):
    plain = int(lines(where)[0])
    taken, kept = lines(KEEP + where)
    assert taken == "True" and plain > 10 * int(kept)


@pytest.mark.parametrize(
    ("name", "value"),
    [*((name, "131072") for name in NAMES), ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=9999")],
)
def test_the_users_own_limit_stays(name, value):
    code = KEEP + f"import os\nprint(*[os.environ.get(name) for name in {NAMES}])"
    taken, *found = lines(code, **{name: value})
    assert taken == "False"
    assert found == [value if name == own else "None" for own in NAMES]


@pytest.mark.parametrize(
    ("largest", "calls"),
    [
        (1 << 30, [(-3, 1 << 30), (-1, 1 << 30)]),
        (1 << 25, [(-3, 1 << 30), (-3, 1 << 25), (-1, 1 << 25)]),  # glibc before 2.35
        (0, [(-3, 1 << 30), (-3, 1 << 25)]),
    ],
)
def test_an_older_glibc_gets_what_it_takes(largest, calls, monkeypatch):
    seen = []

    class Library:
        @staticmethod
        def mallopt(number, size):
            seen.append((number, size))
            return int(number != -3 or size <= largest)

    for name in (*NAMES, "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)
    own = dict(os.environ)
    monkeypatch.setattr(freed_memory.os, "environ", own)
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda _: Library)
    assert keep_freed_memory() == (largest > 0)
    assert seen == calls
    assert [own.get(name) for name in NAMES] == [str(largest) if largest else None] * 2
