"""The recurrent and the convolutional classifier.

Every classifier is `Class(in_channels, length, num_outputs, **model_args)` and maps model-space
series (batch, channel, time) to logits (batch, num_outputs). Rows must be independent: the
influence of a series is a statement about that series, so no layer may mix a batch (BatchNorm).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from configs.runtime.errors import ConfigError

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


class RNNClassifier(nn.Module):
    """Recurrent network, mean and maximum of its states over time, a linear head.

    A short shape is a small part of a mean, hence the maximum beside it.

    Args:
        in_channels: channels of a series.
        length: grid points of a series (not used: the network takes any length).
        num_outputs: logits.
        cell: "gru" or "lstm".
        hidden: state size per direction.
        layers: stacked recurrent layers.
        bidirectional: also read the series backwards.
        dropout: share of units dropped between layers and before the head, in training.

    Raises:
        ConfigError: an argument is outside its choices.
    """

    def __init__(
        self,
        in_channels: int,
        length: int,
        num_outputs: int,
        *,
        cell: str = "gru",
        hidden: int = 32,
        layers: int = 2,
        bidirectional: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if cell not in CELLS:
            raise ConfigError(
                f"classifier.model_args.cell={cell!r}: expected one of {', '.join(CELLS)}"
            )
        require_positive(hidden=hidden, layers=layers)
        _require_share(dropout)
        self.rnn = CELLS[cell](
            in_channels,
            hidden,
            num_layers=layers,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,  # torch warns about one layer
            batch_first=True,
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * hidden * (2 if bidirectional else 1), num_outputs)

    def forward(self, x: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch out"]:
        """Logits of the series."""
        states, _ = self.rnn(x.transpose(1, 2))  # (B, T, width)
        return self.head(self.dropout(_mean_and_max(states, 1)))


class ConvClassifier(nn.Module):
    """Residual 1D convolutions with growing dilation, mean and max over time, a linear head.

    Args:
        in_channels: channels of a series.
        length: grid points of a series (not used: the network takes any length).
        num_outputs: logits.
        width: channels of every layer, a multiple of 8.
        blocks: residual blocks; block i has dilation 2^i.
        kernel: odd filter length in grid points.
        dropout: share of units dropped before the head, in training.

    Raises:
        ConfigError: an argument is outside its choices.
    """

    def __init__(
        self,
        in_channels: int,
        length: int,
        num_outputs: int,
        *,
        width: int = 32,
        blocks: int = 3,
        kernel: int = 5,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        require_positive(width=width, blocks=blocks, kernel=kernel)
        _require_share(dropout)
        if width % 8 or kernel % 2 == 0:
            raise ConfigError(
                f"classifier.model_args: width={width} must be a multiple of 8 and "
                f"kernel={kernel} odd"
            )
        self.stem = nn.Conv1d(in_channels, width, kernel, padding="same")
        self.blocks = nn.Sequential(*(_ResidualBlock(width, kernel, 2**i) for i in range(blocks)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width, num_outputs)

    def forward(self, x: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch out"]:
        """Logits of the series."""
        features = self.blocks(self.stem(x))  # (B, width, T)
        return self.head(self.dropout(_mean_and_max(features, 2)))


class _ResidualBlock(nn.Module):
    def __init__(self, width: int, kernel: int, dilation: int) -> None:
        super().__init__()
        # GroupNorm takes its statistics within one series, so rows stay independent.
        self.layers = nn.Sequential(
            nn.GroupNorm(width // 8, width),
            nn.SiLU(),
            nn.Conv1d(width, width, kernel, padding="same", dilation=dilation),
            nn.GroupNorm(width // 8, width),
            nn.SiLU(),
            nn.Conv1d(width, width, kernel, padding="same"),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


def require_positive(**values: int) -> None:
    """Raises ConfigError unless each argument of a network is an integer of at least 1."""
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"classifier.model_args.{name}={value!r}: expected an integer >= 1")


def _require_share(dropout: float) -> None:
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(f"classifier.model_args.dropout={dropout!r}: expected a share in [0, 1)")


def _mean_and_max(states: Tensor, time: int) -> Tensor:
    return torch.cat([states.mean(dim=time), states.amax(dim=time)], dim=1)
