"""Long series of which a tenth carries a short shape: what a classifier must see, wherever it is.

In the manner of the UCR set Wafer (152 points of a process sensor, a tenth abnormal): the classes
have the same level, spread and trend, or nearly so, and differ in fewer than twenty points.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PREVALENCE = 0.1
EncodedSeries = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Kind:
    """One simulated task.

    Attributes:
        length, channels: shape of a series.
        background: "process" (plateaus with jittered edges), "white" or "walk" (autocorrelated).
        shape: "bump", "wiggle" (one sine period, mean 0) or "ramp" (rises slowly, falls at once).
        size: height of the shape in standard deviations of the background's noise.
        width: points that the shape spans.
        where: first and last possible start of the shape, as proportions of the length.
        mirrored: the other class carries the shape reversed in time, so only its order tells.
    """

    length: int
    background: str
    shape: str
    size: float
    width: int = 16
    channels: int = 1
    where: tuple[float, float] = (0.0, 1.0)
    mirrored: bool = False


KINDS = {
    "wafer_152": Kind(152, "process", "wiggle", 4.0, width=10, where=(0.2, 0.8)),
    "bump_100": Kind(100, "white", "bump", 3.0, width=12),
    "wiggle_300": Kind(300, "white", "wiggle", 3.0, width=16),
    "early_300": Kind(300, "walk", "wiggle", 4.0, width=12, where=(0.0, 0.1)),
    "mirrored_200x2": Kind(200, "white", "ramp", 5.0, width=16, channels=2, mirrored=True),
}


def local_shapes(kind: Kind, count: int, seed: int) -> EncodedSeries:
    """`count` series (n, channel, time) of unit variance, a tenth of them of class 1, shuffled."""
    rng = np.random.default_rng(seed)
    y = np.zeros(count, np.int64)
    y[rng.permutation(count)[: round(PREVALENCE * count)]] = 1
    x = _background(kind, count, rng)
    shape = _shape(kind)
    first, last = (place * (kind.length - kind.width) for place in kind.where)
    for row in range(count):
        carried = shape if y[row] else shape[::-1]
        if y[row] or kind.mirrored:
            start = int(rng.uniform(first, last))
            x[row, rng.integers(kind.channels), start : start + kind.width] += carried
    x = (x - x.mean((0, 2), keepdims=True)) / x.std((0, 2), keepdims=True)
    return torch.from_numpy(x).float(), torch.from_numpy(y)


def _shape(kind: Kind) -> np.ndarray:
    t = (np.arange(kind.width) + 0.5) / kind.width
    forms = {"bump": np.sin(np.pi * t), "wiggle": np.sin(2 * np.pi * t), "ramp": t}
    return kind.size * forms[kind.shape]


def _background(kind: Kind, count: int, rng: np.random.Generator) -> np.ndarray:
    """Noise of standard deviation 1; for "process" on top of three plateaus."""
    noise = rng.normal(size=(count, kind.channels, kind.length))
    if kind.background == "walk":
        for step in range(1, kind.length):
            noise[..., step] = 0.9 * noise[..., step - 1] + 0.19**0.5 * noise[..., step]
    if kind.background != "process":
        return noise
    edges = np.array([0.15, 0.4, 0.85]) + rng.normal(scale=0.02, size=(count, 1, 1, 3))
    time = np.linspace(0, 1, kind.length)[:, None]
    return noise + ((time > edges) * np.array([10.0, -4.0, -9.0])).sum(-1)
