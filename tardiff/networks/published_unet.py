"""PublishedUNet: the U-Net of the TarDiff paper, kept as the reference of speed and quality."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tardiff.diffusion.noise_schedule import Labels, Levels, Series
from tardiff.networks.blocks import LevelEmbedding
from tardiff.networks.published_blocks import (
    Attention1D,
    Down1D,
    ResBlock1D,
    Strip,
    StripConv,
    Up1D,
    to_strip,
)
from tardiff.networks.registry import network

# Wider networks spend their time in products whose library has an order of its own.
WIDEST_CHANNELS_LAST = 64


@network("published_unet")
class PublishedUNet(nn.Module):
    """A 1D U-Net over time with the noise level and the label added to one embedding.

    Any length works: the series is padded at its end to a multiple of 2^(levels - 1) by repeating
    the last value, and the output is cropped.

    Args:
        in_channels: channels of the series.
        num_classes: labels are 0..num_classes-1; `num_classes` itself is the null label of
            classifier-free guidance.
        width: channels of the first level, a multiple of 8.
        multipliers: width per level.
        blocks_per_level: residual blocks on the way down; one more on the way up.
        attention_levels: indices of levels with self-attention.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 32,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks_per_level: int = 2,
        attention_levels: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.null_label = num_classes
        self.channels_last = width <= WIDEST_CHANNELS_LAST
        self.stride = 2 ** (len(multipliers) - 1)
        embed = 4 * width
        self.embed_level = LevelEmbedding(width, embed)
        self.embed_label = nn.Embedding(num_classes + 1, embed)
        self.conv_in = StripConv(in_channels, width, 3, padding=1)

        self.down = nn.ModuleList()
        skips, channels = [width], width
        for level, multiplier in enumerate(multipliers):
            for _ in range(blocks_per_level):
                self.down.append(
                    _Stage(channels, width * multiplier, embed, level in attention_levels)
                )
                channels = width * multiplier
                skips.append(channels)
            if level < len(multipliers) - 1:
                self.down.append(Down1D(channels))
                skips.append(channels)

        self.middle = _Stage(channels, channels, embed, bool(attention_levels))

        self.up = nn.ModuleList()
        for level, multiplier in reversed(list(enumerate(multipliers))):
            for _ in range(blocks_per_level + 1):
                out = width * multiplier
                self.up.append(
                    _Stage(channels + skips.pop(), out, embed, level in attention_levels)
                )
                channels = out
            if level > 0:
                self.up.append(Up1D(channels))

        self.norm_out = nn.GroupNorm(8, channels)
        self.conv_out = StripConv(channels, in_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x_t: Series, log_snr: Levels, y: Labels) -> Float[Tensor, "batch out time"]:
        """The network's raw prediction (v, eps or x_0, as it was trained)."""
        length = x_t.shape[-1]
        padded = functional.pad(x_t, (0, -length % self.stride), mode="replicate")
        h = self.conv_in(to_strip(padded, channels_last=self.channels_last))
        embedding = functional.silu(self.embed_level(log_snr) + self.embed_label(y))
        skips = [h]
        for module in self.down:
            h = module(h, embedding) if isinstance(module, _Stage) else module(h)
            skips.append(h)
        h = self.middle(h, embedding)
        for module in self.up:
            if isinstance(module, _Stage):
                h = module(torch.cat([h, skips.pop()], dim=1), embedding)
            else:
                h = module(h)
        return self.conv_out(functional.silu(self.norm_out(h)))[:, :, 0, :length]


class _Stage(nn.Module):
    """A residual block, with attention behind it where the level asks for it."""

    def __init__(self, in_channels: int, out_channels: int, embed: int, attend: bool) -> None:
        super().__init__()
        self.block = ResBlock1D(in_channels, out_channels, embed)
        self.attention = Attention1D(out_channels) if attend else nn.Identity()

    def forward(self, h: Strip, embedding: Tensor) -> Float[Tensor, "batch out 1 time"]:
        return self.attention(self.block(h, embedding))
