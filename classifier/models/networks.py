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
POOLS = ("mean", "max", "mean_max", "last", "attention")


class RNNClassifier(nn.Module):
    """Recurrent network, pooled over time, with a linear head.

    Args:
        in_channels: channels of a series.
        length: grid points of a series (not used: the network takes any length).
        num_outputs: logits.
        cell: "gru" or "lstm".
        hidden: state size per direction.
        layers: stacked recurrent layers.
        bidirectional: also read the series backwards.
        pool: how states over time become one vector: "mean", "max", "mean_max" (both side by side:
            a short shape is a small part of a mean), "attention" (learnt softmax weights), or
            "last", the state of each direction after it has read the whole series.
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
        pool: str = "mean_max",
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        _require_choice("cell", cell, tuple(CELLS))
        _require_choice("pool", pool, POOLS)
        _require_positive(hidden=hidden, layers=layers)
        _require_share(dropout)
        self.pool = pool
        self.rnn = CELLS[cell](
            in_channels,
            hidden,
            num_layers=layers,
            bidirectional=bidirectional,
            dropout=dropout if layers > 1 else 0.0,  # torch warns about one layer
            batch_first=True,
        )
        width = hidden * (2 if bidirectional else 1)
        self.attention = nn.Linear(width, 1) if pool == "attention" else None
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * width if pool == "mean_max" else width, num_outputs)

    def forward(self, x: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch out"]:
        """Logits of the series."""
        states, final = self.rnn(x.transpose(1, 2))  # (B, T, width)
        return self.head(self.dropout(self._pooled(states, final)))

    def _pooled(self, states: Tensor, final: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        if self.pool == "mean":
            return states.mean(dim=1)
        if self.pool == "max":
            return states.amax(dim=1)
        if self.pool == "mean_max":
            return torch.cat([states.mean(dim=1), states.amax(dim=1)], dim=1)
        if self.attention is not None:
            return (torch.softmax(self.attention(states), dim=1) * states).sum(dim=1)
        # states[:, -1] would hold a backward state that has read one step only; the final states
        # of the top layer have read the whole series in both directions.
        hidden = final[0] if isinstance(final, tuple) else final  # (layers * directions, B, hidden)
        directions = 2 if self.rnn.bidirectional else 1
        return torch.cat(tuple(hidden[-directions:]), dim=1)


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
        _require_positive(width=width, blocks=blocks, kernel=kernel)
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
        pooled = torch.cat([features.mean(dim=2), features.amax(dim=2)], dim=1)
        return self.head(self.dropout(pooled))


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


def _require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ConfigError(
            f"classifier.model_args.{name}={value!r}: expected one of {', '.join(choices)}"
        )


def _require_positive(**values: int) -> None:
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"classifier.model_args.{name}={value!r}: expected an integer >= 1")


def _require_share(dropout: float) -> None:
    if not 0.0 <= dropout < 1.0:
        raise ConfigError(f"classifier.model_args.dropout={dropout!r}: expected a share in [0, 1)")
