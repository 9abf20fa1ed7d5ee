"""Seconds and ceilings of a device: CPU seconds on a CPU, finished work on a GPU."""

import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from scripts.influence_report.overhead import Clock, take_turns


def clock_of(device: torch.device) -> Clock:
    """CPU seconds of this process, since wall time on a shared machine says little; on a GPU wall
    seconds after all queued work is done."""
    if device.type == "cpu":
        return time.process_time

    def finished() -> float:
        torch.cuda.synchronize(device)
        return time.perf_counter()

    return finished


def fastest(run: Callable[[], object], rounds: int, device: torch.device) -> float:
    """Seconds of the fastest of `rounds` runs, after one that does not count."""
    run()
    return take_turns({"one": run}, rounds, clock_of(device))["one"]


def flops(run: Callable[[], object]) -> int:
    """Floating-point operations of the matrix products and convolutions of `run`."""
    counter = FlopCounterMode(display=False)
    with counter:
        run()
    return counter.get_total_flops()


@dataclass(frozen=True)
class Ceilings:
    """What the machine does at best: FLOP/s of a large product by type, bytes/s of a copy."""

    flops: dict[str, float]
    bytes: float


def ceilings(device: torch.device, rounds: int) -> Ceilings:
    """Measured now, on `device`, with the threads torch has."""
    size = 1024 if device.type == "cpu" else 8192
    types = {"float32": torch.float32}
    if device.type == "cuda":
        types["bfloat16"] = torch.bfloat16
    found = {}
    for name, dtype in types.items():
        a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
        found[name] = 2 * size**3 / fastest(lambda a=a, b=b: a @ b, 2 * rounds, device)
    source = torch.ones(2**26, device=device)
    target = torch.empty_like(source)
    moved = 2 * source.numel() * source.element_size()
    return Ceilings(found, moved / fastest(lambda: target.copy_(source), 2 * rounds, device))


def peak_memory(device: torch.device) -> float:
    """MiB at most held so far: allocated on a GPU, resident in this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
