"""CompiledNetwork: a denoising network through torch.compile, for sampling."""

import torch
from torch import nn

from tardiff.schedule import Levels, Series
from tardiff.unet1d import Labels


class CompiledNetwork(nn.Module):
    """The same outputs up to rounding; on a GPU each call replays one CUDA graph.

    Compiled at the first call, and again for a last batch of another size: minutes.

    Args:
        network: (x_t, log_snr, y) -> prediction, on the device it will run on.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.null_label = network.null_label
        self.network = network
        on_gpu = next(network.parameters()).device.type == "cuda"
        # In place: the network is still itself to whoever looks for its weights.
        network.compile(mode="reduce-overhead" if on_gpu else "default")

    def forward(self, x_t: Series, log_snr: Levels, y: Labels) -> Series:
        """The prediction of the network."""
        torch.compiler.cudagraph_mark_step_begin()
        # The next call of a CUDA graph writes over the output of this one.
        return self.network(x_t, log_snr, y).clone()
