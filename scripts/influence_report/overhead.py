"""What guidance costs (paper table 8): seconds per series with and without it, and of G."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from scripts.influence_report.named_sets import RankedSet
from tardiff.diffusion.denoiser import Denoiser
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.generation.session import GenerationSession
from tardiff.guidance.direction_loader import DirectionLoader
from tardiff.guidance.directions import Direction
from tardiff.guidance.guided_denoiser import Guidance, Tilt, active_levels

ROUNDS = 3


Clock = Callable[[], float]


def take_turns(
    sides: dict[str, Callable[[], object]], rounds: int, clock: Clock = time.perf_counter
) -> dict[str, float]:
    """Fastest seconds of each side; the sides alternate so that a busy machine hits both."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, run in sides.items():
            start = clock()
            run()
            seconds[name].append(clock() - start)
    return {name: min(found) for name, found in seconds.items()}


def sampling_seconds(
    run: ReverseProcess,
    plain: Denoiser,
    direction: Direction,
    y: Tensor,
    *,
    scale: float,
    interval: tuple[float, float],
    rounds: int = ROUNDS,
    clock: Clock = time.perf_counter,
) -> dict[str, float]:
    """Seconds per series, "unguided" and "guided" (multiplier 1), from the same noise."""
    k = int(y.max()) + 1
    guidance = Guidance(
        direction=direction,
        gain=Tilt(torch.ones(k), torch.full((k,), scale)),
        active=active_levels(run.levels, interval),
        trust=1.0,
    )
    sides: dict[str, Callable[[], object]] = {
        "unguided": lambda: run.run(plain, y, range(len(y))),
        "guided": lambda: run.run(plain, y, range(len(y)), guidance),
    }
    return {name: value / len(y) for name, value in take_turns(sides, rounds, clock).items()}


def vector_seconds(inputs: DirectionLoader) -> float:
    """Seconds of G, computed anew, not read from the cache."""
    start = time.perf_counter()
    replace(inputs, cache=None).vector(inputs.classifier())
    return time.perf_counter() - start


def overhead(session: GenerationSession, direction: Direction, ranked: RankedSet) -> dict[str, Any]:
    """Seconds per series of one batch, unguided and guided."""
    rows = min(session.process.batch_size, 256)
    seconds = sampling_seconds(
        session.process,
        session.denoiser,
        direction,
        torch.arange(rows) % session.splits.train.num_classes,
        scale=float(ranked.influence.std()),
        interval=session.guidance.interval,
    )
    return {
        "unguided_seconds_per_series": seconds["unguided"],
        "guided_seconds_per_series": seconds["guided"],
        "ratio": seconds["guided"] / seconds["unguided"],
        "batch": rows,
        "device": str(session.process.device),
        "threads": torch.get_num_threads(),
    }
