"""The parts of the published U-Net: residual blocks, attention, resampling.

B batch, C channel, T time, E embedding width. Inside the network a batch of series is a "strip",
(B, C, 1, T), since only tensors of four axes can lie in memory with their channels last: a small
network is faster so, on a CPU by a fifth (benchmarks/results.md).
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tardiff.diffusion.noise_schedule import Series
from tardiff.networks.blocks import zeroed

Strip = Float[Tensor, "batch channel 1 time"]
GROUPS = 8


def to_strip(x: Series, *, channels_last: bool) -> Strip:
    """The series as (B, C, 1, T); every layer keeps the order in memory that is chosen here."""
    order = torch.channels_last if channels_last else torch.contiguous_format
    return x[:, :, None].contiguous(memory_format=order)


class StripConv(nn.Conv1d):
    """A Conv1d, weights included, that maps a strip to a strip."""

    def forward(self, input: Strip) -> Float[Tensor, "batch out 1 other"]:
        """The convolution over time."""
        stride, padding = (1, self.stride[0]), (0, int(self.padding[0]))
        return functional.conv2d(input, self.weight[:, :, None], self.bias, stride, padding)


class ResBlock1D(nn.Module):
    """Strip of C_in, (B, E) -> strip of C_out; the embedding scales and shifts the second norm."""

    def __init__(self, in_channels: int, out_channels: int, embed: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(GROUPS, in_channels)
        self.conv_in = StripConv(in_channels, out_channels, 3, padding=1)
        self.modulate = nn.Linear(embed, 2 * out_channels)
        self.norm_out = nn.GroupNorm(GROUPS, out_channels)
        self.conv_out = zeroed(StripConv(out_channels, out_channels, 3, padding=1))
        same = in_channels == out_channels
        self.skip = nn.Identity() if same else StripConv(in_channels, out_channels, 1)

    def forward(
        self, h: Strip, embedding: Float[Tensor, "batch embed"]
    ) -> Float[Tensor, "batch out 1 time"]:
        """The block's output; at initialisation equal to its skip path."""
        scale, shift = self.modulate(embedding)[..., None, None].chunk(2, dim=1)
        out = self.conv_in(functional.silu(self.norm_in(h)))
        out = torch.addcmul(shift, self.norm_out(out), 1 + scale)
        return self.skip(h) + self.conv_out(functional.silu(out))


class Attention1D(nn.Module):
    """Strip -> strip: residual multi-head self-attention over time."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.to_qkv = StripConv(channels, 3 * channels, 1)
        self.to_out = zeroed(StripConv(channels, channels, 1))

    def forward(self, h: Strip) -> Strip:
        """`h` plus what attention adds to it."""
        qkv = rearrange(self.to_qkv(self.norm(h)), "b (n g d) 1 t -> n b g t d", n=3, g=self.heads)
        mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return h + self.to_out(rearrange(mixed, "b g t d -> b (g d) 1 t"))


class Down1D(nn.Module):
    """Strip -> strip of half the length, by a strided convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = StripConv(channels, channels, 4, stride=2, padding=1)

    def forward(self, h: Strip) -> Float[Tensor, "batch channel 1 half"]:
        """`h` at half the length."""
        return self.conv(h)


class Up1D(nn.Module):
    """Strip -> strip of twice the length: nearest neighbour, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = StripConv(channels, channels, 3, padding=1)

    def forward(self, h: Strip) -> Float[Tensor, "batch channel 1 double"]:
        """`h` at twice the length."""
        return self.conv(functional.interpolate(h, scale_factor=(1, 2), mode="nearest"))
