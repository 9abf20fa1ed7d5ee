"""configs.freed_memory: freed blocks are used again, in this process and those that it starts."""

import ctypes
import os
import subprocess
import sys

import pytest

from configs.freed_memory import KEPT, LIMITS

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
    own = {name: value for name, value in os.environ.items() if name not in LIMITS.values()}
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


@pytest.mark.parametrize("name", LIMITS.values())
def test_the_users_own_limit_stays(name):
    code = KEEP + "import os\nprint(*[os.environ.get(n) for n in " + repr([*LIMITS.values()]) + "])"
    found = lines(code, **{name: "131072"})
    assert found[0] == "False" and sorted(found[1:]) == ["131072", "None"]
    assert KEPT > 131072
