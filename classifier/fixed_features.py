"""Fixed features of series: random convolutions and summary statistics, and columns in standard
deviations or on their leading axes.

Nothing is trained, so a distance between sets in this space does not depend on a network that
happened to fit one data set (unlike Context-FID): the same seed gives the same features everywhere.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import conv1d

BATCH = 4096
KERNEL_LENGTHS = (3, 5, 7)


class KernelBank(NamedTuple):
    """Kernels of one length and dilation: weights (K, C, length), unit norm; biases (K,)."""

    dilation: int
    weights: Tensor
    biases: Tensor


def kernel_banks(kernels: Iterable[tuple[int, np.ndarray, float]]) -> list[KernelBank]:
    """(dilation, weights (C, length), bias) of single kernels, put together by length and dilation,
    in ascending order."""
    groups: dict[tuple[int, int], list[tuple[np.ndarray, float]]] = {}
    for dilation, weights, bias in kernels:
        groups.setdefault((weights.shape[1], dilation), []).append((weights, bias))
    return [
        KernelBank(
            dilation,
            torch.from_numpy(np.stack([weights for weights, _ in members])).float(),
            torch.tensor([bias for _, bias in members], dtype=torch.float32),
        )
        for (_, dilation), members in sorted(groups.items(), key=lambda item: item[0])
    ]


class RandomConvolutions:
    """ROCKET-type features (Dempster et al. 2020): fixed random kernels, two numbers each.

    Per kernel: the largest output, and the share of outputs above zero. A kernel sees a random
    subset of channels; half of the kernels are mean-free (shape only), half are not (level too).

    Args:
        num_channels, length: shape of a series.
        num_kernels: kernels; features are twice as many.
        seed: of the kernels.
    """

    def __init__(self, num_channels: int, length: int, *, num_kernels: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        kernels = []
        for number in range(num_kernels):
            size = int(rng.choice([s for s in KERNEL_LENGTHS if s <= length] or [length]))
            reach = (length - 1) / (size - 1) if size > 1 else 1  # one or two points: no dilation
            dilation = int(2 ** rng.uniform(0, np.log2(reach)))
            kernel = _random_kernel(rng, num_channels, size, mean_free=number % 2 == 0 and size > 1)
            kernels.append((dilation, kernel, rng.uniform(-1, 1)))
        self.banks = kernel_banks(kernels)

    def __call__(self, x: Float[Tensor, "n channel time"]) -> Float[np.ndarray, "n feature"]:
        """Features of model-space series, row by row."""
        parts = [self._features(x[start : start + BATCH]) for start in range(0, len(x), BATCH)]
        return torch.cat(parts).numpy()

    def _features(self, x: Tensor) -> Tensor:
        columns = []
        for bank in self.banks:
            output = conv1d(x, bank.weights, bank.biases, dilation=bank.dilation)
            columns += [output.amax(2), (output > 0).float().mean(2)]
        return torch.cat(columns, 1)


class Standardiser:
    """Column-wise z-score fitted on reference rows; a constant column becomes its offset."""

    def __init__(self, reference: Float[np.ndarray, "n feature"]) -> None:
        self.mean = reference.mean(0, dtype=np.float64)
        spread = reference.std(0, dtype=np.float64)
        self.scale = np.where(spread > 1e-6, spread, 1.0)

    def __call__(self, features: Float[np.ndarray, "m feature"]) -> Float[np.ndarray, "m feature"]:
        """`features` in standard deviations of the reference, float64."""
        return (features - self.mean) / self.scale


class PrincipalAxes:
    """Projection on the leading principal axes of standardised reference rows."""

    def __init__(self, reference: Float[np.ndarray, "n feature"], count: int) -> None:
        self.standardise = Standardiser(reference)
        rows = self.standardise(reference)
        _, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
        # eigh leaves each axis' sign open; distances do not depend on it.
        self.axes = vectors[:, ::-1][:, :count]

    def __call__(self, features: Float[np.ndarray, "m feature"]) -> Float[np.ndarray, "m axis"]:
        """Coordinates of `features`, in standard deviations of one reference feature."""
        return self.standardise(features) @ self.axes


def summary_features(x: Float[Tensor, "n channel time"]) -> Float[np.ndarray, "n feature"]:
    """Per channel level, spread, ends, extremes, trend and roughness; then channel correlations."""
    time = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype)
    centred = x - x.mean(2, keepdim=True)
    spread = centred.square().mean(2).sqrt()
    steps = x.diff(dim=2).abs()
    parts = [
        x.mean(2),
        spread,
        x.amin(2),
        x.amax(2),
        x[:, :, 0],
        x[:, :, -1],
        (centred * time).mean(2) / time.square().mean(),
        steps.mean(2),
        steps.amax(2),
    ]
    unit = centred / spread.clamp(min=1e-6)[:, :, None]
    pairs = torch.triu_indices(x.shape[1], x.shape[1], offset=1)
    correlations = torch.einsum("nct,ndt->ncd", unit, unit) / x.shape[2]
    return torch.cat([*parts, correlations[:, pairs[0], pairs[1]]], 1).numpy()


def _random_kernel(
    rng: np.random.Generator, num_channels: int, size: int, *, mean_free: bool
) -> np.ndarray:
    """(C, size) weights of unit norm on a random subset of channels; of several never all."""
    used = 2 ** rng.uniform(0, np.log2(num_channels)) if num_channels > 1 else 1
    channels = rng.choice(num_channels, size=int(used), replace=False)
    kernel = np.zeros((num_channels, size))
    kernel[channels] = rng.normal(size=(len(channels), size))
    if mean_free:
        kernel[channels] -= kernel[channels].mean(1, keepdims=True)
    return kernel / np.linalg.norm(kernel)
