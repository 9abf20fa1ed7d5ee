"""require_classifier: does a module keep the contract that influence needs of a classifier?

The probes run the module on tiny batches on the CPU and put its weights, buffers, mode and the
caller's random state back afterwards.
"""

import torch
from torch import Tensor, nn

from configs.runtime.errors import ConfigError

ROW_TOLERANCE = 1e-4  # float32 kernels may differ a little between batch sizes


def require_classifier(
    model: nn.Module, path: str, *, in_channels: int, length: int, num_outputs: int
) -> None:
    """Raises ConfigError unless `model` gives (batch, num_outputs) logits, row by row.

    A row must not change with its batch mates, neither in eval mode nor, given the same random
    numbers, in training mode (where BatchNorm would mix the batch).
    """
    was_training = model.training
    saved = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        _require_shape(model, path, (in_channels, length), num_outputs)
        _require_independent_rows(model, path, (in_channels, length), saved)
    model.load_state_dict(saved)
    model.train(was_training)


def _require_shape(
    model: nn.Module, path: str, series_shape: tuple[int, int], num_outputs: int
) -> None:
    model.eval()
    logits = model(torch.zeros(2, *series_shape))
    got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if got != (2, num_outputs):
        raise ConfigError(
            f"classifier.model={path!r}: for a batch of shape {(2, *series_shape)} it returned "
            f"{got}, expected logits of shape {(2, num_outputs)} (batch, num_outputs)"
        )
    if not torch.isfinite(logits).all():
        raise ConfigError(f"classifier.model={path!r}: a batch of zeros gives non-finite logits")


def _require_independent_rows(
    model: nn.Module, path: str, series_shape: tuple[int, int], saved: dict[str, Tensor]
) -> None:
    generator = torch.Generator().manual_seed(0)
    row, *mates = torch.randn(5, *series_shape, generator=generator).split([1, 2, 2])
    first, second = torch.cat([row, mates[0]]), torch.cat([row, mates[1]])
    for training, left, right in ((False, row, first), (True, first, second)):
        model.train(training)
        a, b = (_first_row(model, batch, saved) for batch in (left, right))
        if not torch.allclose(a, b, rtol=ROW_TOLERANCE, atol=ROW_TOLERANCE):
            raise ConfigError(
                f"classifier.model={path!r}: in {'training' if training else 'eval'} mode the "
                f"logits of a series change with the rest of its batch ({a.tolist()} against "
                f"{b.tolist()}). The influence of one series needs independent rows: replace "
                "BatchNorm and other batch statistics by GroupNorm or LayerNorm"
            )


def _first_row(model: nn.Module, batch: Tensor, saved: dict[str, Tensor]) -> Tensor:
    # Same weights, buffers and random numbers every time: only the batch mates may differ.
    model.load_state_dict(saved)
    torch.default_generator.manual_seed(0)
    return model(batch)[0]
