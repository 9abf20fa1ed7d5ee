"""pick_device: the one device of the stages that run in a single process (2 and 3); one_thread."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from configs.runtime.errors import ConfigError

log = logging.getLogger("tardiff.device")


def pick_device(accelerator: str) -> torch.device:
    """The first CUDA GPU if there is one and `accelerator` allows it, else the CPU.

    Raises:
        ConfigError: a GPU is asked for by name and none is there, or the name is not known.
    """
    if accelerator in ("cuda", "gpu"):
        if not torch.cuda.is_available():
            raise ConfigError(
                f"accelerator={accelerator}: no CUDA GPU is available to this process; use "
                "accelerator=auto or accelerator=cpu"
            )
        return torch.device("cuda", 0)
    if accelerator not in ("auto", "cpu", "mps"):
        raise ConfigError(
            f"accelerator={accelerator!r}: stages 2 and 3 know auto, cpu, cuda, gpu and mps"
        )
    if accelerator == "mps":
        log.info("classifier and generation run on the CPU, not on mps")
    use_gpu = accelerator == "auto" and torch.cuda.is_available()
    return torch.device("cuda", 0) if use_gpu else torch.device("cpu")


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch inside: sums, hence results, depend on the number."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
