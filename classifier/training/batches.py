"""TensorBatches: batches of series that already lie on the device, and their checks at the door."""

from collections.abc import Iterator

import torch
from torch import Tensor

from configs.runtime.errors import DataError


class TensorBatches:
    """Iterates over (x, y) slices without touching single series.

    Args:
        data: tensors of equal length.
        batch_size: rows per slice; the last one may be shorter.
        generator: shuffles anew for every pass; None keeps the order.
    """

    def __init__(
        self,
        data: tuple[Tensor, Tensor],
        batch_size: int,
        generator: torch.Generator | None = None,
    ) -> None:
        self.data = data
        self.batch_size = batch_size
        self.generator = generator

    def __len__(self) -> int:
        return -(-len(self.data[1]) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        x, y = self.data
        if self.generator is None:
            yield from zip(x.split(self.batch_size), y.split(self.batch_size), strict=True)
            return
        order = torch.randperm(len(y), generator=self.generator).to(y.device)
        for rows in order.split(self.batch_size):
            yield x[rows], y[rows]


def require_series(where: str, x: Tensor, y: Tensor) -> None:
    """Raises DataError unless (x, y) are finite series and their labels on one device."""
    if x.ndim != 3 or y.ndim != 1 or len(x) != len(y) or not len(y):
        raise DataError(
            f"{where}: series of shape {tuple(x.shape)} and labels of shape {tuple(y.shape)}; "
            "expected (n, channel, time) and (n,) with n > 0"
        )
    if x.device != y.device:
        raise DataError(f"{where}: series are on {x.device} but labels on {y.device}")
    if not torch.isfinite(x).all():
        raise DataError(
            f"{where}: {int((~torch.isfinite(x)).sum())} NaN or infinite values; expected finite "
            "model-space series"
        )


def require_labels(where: str, y: Tensor, classes: int) -> None:
    """Raises DataError unless `y` holds integers in [0, classes) and each of them at least once."""
    if y.is_floating_point() or y.min() < 0 or y.max() >= classes:
        raise DataError(
            f"{where}: labels {y.dtype} span {y.min().item()}..{y.max().item()}; expected "
            f"integers in 0..{classes - 1}"
        )
    absent = [k for k, count in enumerate(torch.bincount(y, minlength=classes)) if not count]
    if absent:
        raise DataError(
            f"{where}: no series of class {', '.join(map(str, absent))} of {classes}; every class "
            "is needed to train and to score a classifier"
        )
