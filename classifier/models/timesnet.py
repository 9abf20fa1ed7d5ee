"""TimesNet as a classifier: series folded by their own periods, read by 2D convolutions.

Wu et al. 2023, "TimesNet: Temporal 2D-Variation Modeling for General Time Series Analysis". One
difference is needed here: the published code picks the strongest frequencies of the batch mean,
which makes a row depend on its batch mates. Here every series picks its own, and the series that
share a period are folded together, so rows are independent and the influence of one is defined.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from classifier.models.networks import require_positive
from configs.runtime.errors import ConfigError


class TimesNetClassifier(nn.Module):
    """Embedding, residual blocks over the strongest periods, and a linear head over all steps.

    Args:
        in_channels: channels of a series.
        length: grid points of a series, at least 4.
        num_outputs: logits.
        width: channels of the embedding.
        layers: blocks.
        top_k: periods that each series is folded by.
        kernels: 2D kernels per convolution, of sizes 1, 3, 5, ...
        dropout: share of units dropped after the embedding and before the head, in training.

    Raises:
        ConfigError: an argument is outside its range.
    """

    def __init__(
        self,
        in_channels: int,
        length: int,
        num_outputs: int,
        *,
        width: int = 16,
        layers: int = 2,
        top_k: int = 3,
        kernels: int = 3,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if length < 4:
            raise ConfigError(f"TimesNet needs series of at least 4 grid points, got {length}")
        require_positive(width=width, layers=layers, top_k=top_k, kernels=kernels)
        self.embed = nn.Conv1d(
            in_channels, width, 3, padding=1, padding_mode="circular", bias=False
        )
        self.position = nn.Parameter(0.02 * torch.randn(width, length))
        self.blocks = nn.ModuleList(
            TimesBlock(width, length, top_k=top_k, kernels=kernels) for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(layers))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width * length, num_outputs)

    def forward(self, x: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch out"]:
        """Logits of the series."""
        h = self.dropout(self.embed(x) + self.position)
        for block, norm in zip(self.blocks, self.norms, strict=True):
            h = norm(block(h).transpose(1, 2)).transpose(1, 2)
        return self.head(self.dropout(F.gelu(h).flatten(1)))


class TimesBlock(nn.Module):
    """x + sum over the top_k periods of softmax(amplitude) * convolutions of x folded by period.

    Args:
        width: channels in and out.
        length: grid points.
        top_k: periods per series.
        kernels: 2D kernels per convolution.
    """

    def __init__(self, width: int, length: int, *, top_k: int, kernels: int) -> None:
        super().__init__()
        self.length = length
        self.top_k = min(top_k, length // 2)
        self.convolve = nn.Sequential(
            Inception(width, kernels), nn.GELU(), Inception(width, kernels)
        )

    def forward(self, x: Float[Tensor, "batch width time"]) -> Float[Tensor, "batch width time"]:
        """The series with what was found along and across their periods added."""
        amplitudes = torch.fft.rfft(x, dim=2).abs().mean(1)[:, 1:]  # (B, T // 2), without the mean
        strongest, index = amplitudes.topk(self.top_k, dim=1)
        # The choice of frequencies is not differentiable; the amplitudes that weigh them are.
        # Frequencies that share a whole period are folded once, with their weights added.
        periods = self.length // (index + 1)
        weights = x.new_zeros(len(x), self.length + 1)
        weights = weights.scatter_add(1, periods, torch.softmax(strongest, dim=1))
        result = x
        for period in periods.unique().tolist():
            rows = (periods == period).any(dim=1).nonzero()[:, 0]
            found = self._fold(x[rows], period) * weights[rows, period, None, None]
            result = result.index_add(0, rows, found)
        return result

    def _fold(self, x: Tensor, period: int) -> Tensor:
        cycles = -(-self.length // period)
        padded = F.pad(x, (0, cycles * period - self.length))
        grid = padded.reshape(*x.shape[:2], cycles, period)  # (B, W, cycles, period)
        return self.convolve(grid).flatten(2)[:, :, : self.length]


class Inception(nn.Module):
    """Mean of 2D convolutions with kernels of sizes 1, 3, 5, ..."""

    def __init__(self, width: int, kernels: int) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(
            nn.Conv2d(width, width, 2 * size + 1, padding=size) for size in range(kernels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width, cycles, period) -> the same shape."""
        # A mean of convolutions is one convolution with the mean of the kernels, padded to the
        # largest: a third of the time on small grids.
        reach = len(self.convolutions) - 1
        kernels = [
            F.pad(convolve.get_parameter("weight"), [reach - size] * 4)
            for size, convolve in enumerate(self.convolutions)
        ]
        biases: list[Tensor] = [c.get_parameter("bias") for c in self.convolutions]
        weight, bias = torch.stack(kernels).mean(0), torch.stack(biases).mean(0)
        return F.conv2d(x, weight, bias, padding=reach)
