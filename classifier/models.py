"""The classifiers that come with the project, and `build_model`, which finds any other by path.

Every classifier is `Class(in_channels, length, num_outputs, **model_args)` and maps model-space
series (batch, channel, time) to logits (batch, num_outputs). Rows must be independent: the
influence of a series is a statement about that series, so no layer may mix a batch (BatchNorm).
"""

import importlib
import inspect
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from classifier.probe import require_classifier
from configs.errors import ConfigError

SHORT_NAMES = {
    "rnn": "classifier.models:RNNClassifier",
    "conv": "classifier.models:ConvClassifier",
    "timesnet": "classifier.timesnet:TimesNetClassifier",
}
CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}
POOLS = ("mean", "max", "last", "attention")


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
        pool: how states over time become one vector: "mean", "max", "attention" (learnt softmax
            weights), or "last", the state of each direction after it has read the whole series.
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
        pool: str = "mean",
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
        self.head = nn.Linear(width, num_outputs)

    def forward(self, x: Float[Tensor, "batch channel time"]) -> Float[Tensor, "batch out"]:
        """Logits of the series."""
        states, final = self.rnn(x.transpose(1, 2))  # (B, T, width)
        return self.head(self.dropout(self._pooled(states, final)))

    def _pooled(self, states: Tensor, final: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        if self.pool == "mean":
            return states.mean(dim=1)
        if self.pool == "max":
            return states.amax(dim=1)
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


def build_model(
    path: str, model_args: dict[str, Any], *, in_channels: int, length: int, num_outputs: int
) -> nn.Module:
    """A fresh classifier, checked to keep the contract at the top of this file.

    Args:
        path: "rnn", "conv" or "package.module:Class"; the module is imported from Python's path,
            which holds the folder the program was started in.
        model_args: keyword arguments of the class beyond the three of every classifier.

    Raises:
        ConfigError: no such module or class, an argument the class does not take, logits of
            another shape, or rows that depend on the rest of their batch.
    """
    cls = resolve(path)
    shape = {"in_channels": in_channels, "length": length, "num_outputs": num_outputs}
    require_arguments(path, cls, shape, model_args)
    model = cls(**shape, **model_args)
    require_classifier(model, path, **shape)
    return model


def resolve(path: str) -> type[nn.Module]:
    """The class that `path` names; imports its module. Raises ConfigError if there is none."""
    module_name, _, class_name = SHORT_NAMES.get(path, path).partition(":")
    if not module_name or not class_name:
        raise ConfigError(
            f"classifier.model={path!r}: expected {', '.join(SHORT_NAMES)} or package.module:Class"
        )
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise ConfigError(
            f"classifier.model={path!r}: cannot import {module_name} ({error}); it must be "
            "importable from the repository root"
        ) from error
    found = getattr(module, class_name, None)
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        known = [name for name, item in vars(module).items() if _is_own_module(item, module_name)]
        raise ConfigError(
            f"classifier.model={path!r}: {module_name} has no nn.Module class {class_name!r}; "
            f"it has {', '.join(known) or 'none'}"
        )
    return found


def _is_own_module(item: Any, module_name: str) -> bool:
    is_class = inspect.isclass(item) and issubclass(item, nn.Module)
    return is_class and item.__module__ == module_name and not item.__name__.startswith("_")


def require_arguments(
    path: str, cls: type[nn.Module], shape: dict[str, int], model_args: dict[str, Any]
) -> None:
    """Raises ConfigError unless the class takes these arguments."""
    signature = inspect.signature(cls)
    accepted = [name for name in signature.parameters if name not in shape]
    try:
        signature.bind(**shape, **model_args)
    except TypeError as error:
        raise ConfigError(
            f"classifier.model={path!r}, classifier.model_args={model_args}: {error}; besides "
            f"{', '.join(shape)} the class accepts {', '.join(accepted) or 'nothing'}"
        ) from error


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
