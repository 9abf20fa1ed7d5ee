"""SeriesFeatures: fixed features of series that are smooth in the series, for the convex guide.

Random convolutions as in ROCKET (Dempster et al. 2020), but with a soft maximum and a soft share
of positive outputs, and smooth summaries of every channel. Nothing is trained; columns are
standardised on reference rows. Smooth, because guidance needs the derivative of each feature.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from classifier.fixed_features import KERNEL_LENGTHS, KernelBank, kernel_banks

SHARPNESS = 4.0  # of soft maxima and soft signs, per model-space unit
CHUNK = 1024
# Spread of a feature up to which it counts as constant, such as the soft maximum of the mask of a
# channel that every reference series has; of values alone none is below 0.02.
CONSTANT = 1e-3
FLOOR = 1e-4  # under square roots: no infinite slope where a channel is constant

View = Callable[[Tensor], Tensor]


class SeriesFeatures(nn.Module):
    """Model-space series (n, channel, time) -> standardised features (n, feature).

    Args:
        groups: random convolutions; two features a kernel.
        view: what of a series is seen, such as its values without its masks; differentiable.
        mean, scale: of every feature on the reference series.
    """

    def __init__(
        self, groups: Sequence[KernelBank], *, view: View, mean: Tensor, scale: Tensor
    ) -> None:
        super().__init__()
        self.view = view
        self.dilations = [dilation for dilation, _, _ in groups]
        for number, (_, weights, biases) in enumerate(groups):
            self.register_buffer(f"weights_{number}", weights)
            self.register_buffer(f"biases_{number}", biases)
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    @classmethod
    def from_plain(cls, plain: dict[str, Any], *, view: View) -> "SeriesFeatures":
        """The features that `to_plain` was called on."""
        groups = [KernelBank(int(dilation), *parts) for dilation, *parts in plain["groups"]]
        return cls(groups, view=view, mean=plain["mean"], scale=plain["scale"])

    def to_plain(self) -> dict[str, Any]:
        """All but the view, as tensors and built-in types."""
        groups = [
            [dilation, *(getattr(self, f"{part}_{number}").cpu() for part in ("weights", "biases"))]
            for number, dilation in enumerate(self.dilations)
        ]
        return {"groups": groups, "mean": self.mean.cpu(), "scale": self.scale.cpu()}

    def forward(self, x: Float[Tensor, "n channel time"]) -> Float[Tensor, "n feature"]:
        """Features in standard deviations of the reference; row i depends on row i only."""
        return (self._raw(x) - self.mean) / self.scale

    def _raw(self, x: Tensor) -> Tensor:
        seen = self.view(x)
        columns = [_summaries(seen)]
        for number, dilation in enumerate(self.dilations):
            weights, biases = (getattr(self, f"{part}_{number}") for part in ("weights", "biases"))
            output = functional.conv1d(seen, weights, biases, dilation=dilation)
            columns += [_soft_max(output), torch.sigmoid(SHARPNESS * output).mean(2)]
        return torch.cat(columns, 1)


def fit_features(
    reference: Float[Tensor, "n channel time"], *, view: View, kernels: int, seed: int
) -> SeriesFeatures:
    """Features that have mean 0 and standard deviation 1 on the reference series.

    Args:
        view: as in `SeriesFeatures`.
        kernels: random convolutions.
        seed: of the kernels.
    """
    _, num_channels, length = view(reference[:1]).shape
    groups = _kernels(num_channels, length, kernels, seed)
    plain = SeriesFeatures(groups, view=view, mean=torch.zeros(1), scale=torch.ones(1))
    raw = torch.cat([plain(rows) for rows in reference.split(CHUNK)]).double()
    spread = raw.std(0)
    # A column that hardly varies says nothing; divided by its spread, that of other series would
    # be huge.
    scale = torch.where(spread > CONSTANT, spread, 1.0).float()
    return SeriesFeatures(groups, view=view, mean=raw.mean(0).float(), scale=scale)


def _summaries(x: Float[Tensor, "n channel time"]) -> Float[Tensor, "n summary"]:
    """Per channel: level, spread, soft extremes, first and last quarter, trend, roughness."""
    time = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype, device=x.device)
    level = x.mean(2)
    centred = x - level[:, :, None]
    quarter = max(1, x.shape[2] // 4)
    parts = [
        level,
        (centred.square().mean(2) + FLOOR).sqrt(),
        _soft_max(x),
        -_soft_max(-x),
        x[:, :, :quarter].mean(2),
        x[:, :, -quarter:].mean(2),
        (centred * time).mean(2) / time.square().mean(),
        (x.diff(dim=2).square() + FLOOR).sqrt().mean(2),
    ]
    return torch.cat(parts, 1)


def _soft_max(x: Float[Tensor, "n row time"]) -> Float[Tensor, "n row"]:
    return (torch.softmax(SHARPNESS * x, 2) * x).sum(2)


def _kernels(num_channels: int, length: int, count: int, seed: int) -> list[KernelBank]:
    """Random kernels. Each has unit norm and sees a random subset of channels, of several never
    all; every second one is mean-free.
    """
    rng = np.random.default_rng(seed)
    kernels = []
    sizes = [size for size in KERNEL_LENGTHS if size <= length]
    for number in range(count if sizes else 0):
        size = int(rng.choice(sizes))
        dilation = int(2 ** rng.uniform(0, np.log2(max(1, (length - 1) / (size - 1)))))
        used = rng.permutation(num_channels)[: int(2 ** rng.uniform(0, np.log2(num_channels)))]
        kernel = np.zeros((num_channels, size))
        kernel[used] = rng.normal(size=(len(used), size))
        if number % 2 == 0:
            kernel[used] -= kernel[used].mean(1, keepdims=True)
        kernel /= np.linalg.norm(kernel)
        kernels.append((dilation, kernel, rng.uniform(-1, 1)))
    return kernel_banks(kernels)
