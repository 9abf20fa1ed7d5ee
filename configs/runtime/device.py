"""The device of every stage, its memory, its threads."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from configs.runtime.errors import ConfigError

CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def pick_device(accelerator: str) -> torch.device:
    """The first CUDA GPU where there is one and `accelerator` is not "cpu", else the CPU.

    Never the GPU of a Mac (mps): it has no double precision, which every stage sums in.

    Raises:
        ConfigError: a GPU is asked for ("gpu" or "cuda") and none is there.
    """
    available = torch.cuda.is_available()
    if accelerator in ("cuda", "gpu") and not available:
        raise ConfigError(
            f"accelerator={accelerator}: no CUDA GPU is available to this process; use "
            "accelerator=auto or accelerator=cpu"
        )
    return torch.device("cuda", 0) if available and accelerator != "cpu" else torch.device("cpu")


def total_memory(device: torch.device) -> int:
    """Bytes of the GPU, or of the machine as far as its control group lets a process have them."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in CGROUP_LIMITS:
        text = path.read_text(encoding="ascii").strip() if path.is_file() else ""
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch inside: sums, hence results, depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
