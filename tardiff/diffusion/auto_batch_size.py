"""How many series at a time fit into memory, known before any is run.

What grows with the batch is counted, not guessed: the bytes that autograd keeps of a forward pass.
The whole memory of the device is the measure, not what happens to be free: the answer is then the
same at every start on one machine, and so are the roundings that it decides.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from configs.runtime.device import total_memory

# Of the memory, for the batch; the rest is for gradients on their way, weights, series and others.
SHARE = 0.25
# Sampled at a time; 512 gain a CPU little (benchmarks/results.md), and a crash costs a batch.
CPU_ROWS, GPU_ROWS = 256, 4096


def saved_bytes(forward: Callable[[], object]) -> int:
    """Bytes that autograd keeps of `forward` for its backward pass; a storage counts once."""
    storages: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor),
        torch.enable_grad(),
    ):
        kept = forward()  # alive until all is counted: a freed address could be used twice
    del kept
    return sum(storages.values())


def bytes_per_series(network: nn.Module, channels: int, length: int) -> int:
    """Of one forward and backward pass of a denoising network, without weights."""

    def bytes_of(rows: int) -> int:
        parameter = next(network.parameters())
        x = torch.zeros(rows, channels, length, device=parameter.device)
        levels, y = torch.zeros_like(x[:, 0, 0]), torch.zeros_like(x[:, 0, 0], dtype=torch.long)
        return saved_bytes(lambda: network(x, levels, y))

    return max(1, (bytes_of(4) - bytes_of(2)) // 2)


def rows_that_fit(per_series: int, device: torch.device, *, largest: int) -> int:
    """`largest`, or the largest power of two below it that fits into the device's memory."""
    fitting = int(SHARE * total_memory(device)) // per_series
    if fitting >= largest:
        return largest
    return 1 << max(0, fitting.bit_length() - 1)


def sampling_rows(
    network: nn.Module, channels: int, length: int, *, asked: int | str = "auto"
) -> int:
    """sampler.batch_size as a number: series per denoiser call, on the network's device.

    What training would keep of a series is far more than sampling does: it leaves room for the
    guide's passes.

    Args:
        asked: the setting, a number or "auto".
    """
    if asked != "auto":
        return int(asked)
    device = next(network.parameters()).device
    largest = CPU_ROWS if device.type == "cpu" else GPU_ROWS
    return rows_that_fit(bytes_per_series(network, channels, length), device, largest=largest)
