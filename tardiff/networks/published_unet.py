"""PublishedUNet: the U-Net of the TarDiff paper, kept as the reference of speed and quality.

B batch, C channel, T time, E embedding width.
"""

from collections import OrderedDict
from collections.abc import Sequence

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tardiff.diffusion.noise_schedule import Labels, Levels, Series
from tardiff.networks.blocks import LevelEmbedding, zeroed
from tardiff.networks.registry import network

GROUPS = 8


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
        self.stride = 2 ** (len(multipliers) - 1)
        embed = 4 * width
        self.embed_level = LevelEmbedding(width, embed)
        self.embed_label = nn.Embedding(num_classes + 1, embed)
        self.conv_in = nn.Conv1d(in_channels, width, 3, padding=1)

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
                halving = nn.Conv1d(channels, channels, 4, stride=2, padding=1)
                self.down.append(nn.Sequential(OrderedDict(conv=halving)))
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
                conv = nn.Conv1d(channels, channels, 3, padding=1)
                self.up.append(
                    nn.Sequential(OrderedDict(nearest=nn.Upsample(scale_factor=2), conv=conv))
                )

        self.norm_out = nn.GroupNorm(GROUPS, channels)
        self.conv_out = nn.Conv1d(channels, in_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x_t: Series, log_snr: Levels, y: Labels) -> Float[Tensor, "batch out time"]:
        """The network's raw prediction (v, eps or x_0, as it was trained)."""
        length = x_t.shape[-1]
        h = self.conv_in(functional.pad(x_t, (0, -length % self.stride), mode="replicate"))
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
        return self.conv_out(functional.silu(self.norm_out(h)))[..., :length]


class _Stage(nn.Module):
    """A residual block, with attention behind it where the level asks for it."""

    def __init__(self, in_channels: int, out_channels: int, embed: int, attend: bool) -> None:
        super().__init__()
        self.block = ResBlock1D(in_channels, out_channels, embed)
        self.attention = Attention1D(out_channels) if attend else nn.Identity()

    def forward(self, h: Series, embedding: Tensor) -> Float[Tensor, "batch out time"]:
        return self.attention(self.block(h, embedding))


class ResBlock1D(nn.Module):
    """(B, C_in, T), (B, E) -> (B, C_out, T); the embedding scales and shifts the second norm."""

    def __init__(self, in_channels: int, out_channels: int, embed: int) -> None:
        super().__init__()
        self.norm_in = nn.GroupNorm(GROUPS, in_channels)
        self.conv_in = nn.Conv1d(in_channels, out_channels, 3, padding=1)
        self.modulate = nn.Linear(embed, 2 * out_channels)
        self.norm_out = nn.GroupNorm(GROUPS, out_channels)
        self.conv_out = zeroed(nn.Conv1d(out_channels, out_channels, 3, padding=1))
        same = in_channels == out_channels
        self.skip = nn.Identity() if same else nn.Conv1d(in_channels, out_channels, 1)

    def forward(
        self, h: Series, embedding: Float[Tensor, "batch embed"]
    ) -> Float[Tensor, "batch out time"]:
        """The block's output; at initialisation equal to its skip path."""
        scale, shift = self.modulate(embedding)[..., None].chunk(2, dim=1)
        out = self.conv_in(functional.silu(self.norm_in(h)))
        out = torch.addcmul(shift, self.norm_out(out), 1 + scale)
        return self.skip(h) + self.conv_out(functional.silu(out))


class Attention1D(nn.Module):
    """(B, C, T) -> (B, C, T): residual multi-head self-attention over time."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.to_qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.to_out = zeroed(nn.Conv1d(channels, channels, 1))

    def forward(self, h: Series) -> Series:
        """`h` plus what attention adds to it."""
        qkv = rearrange(self.to_qkv(self.norm(h)), "b (n g d) t -> n b g t d", n=3, g=self.heads)
        mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return h + self.to_out(rearrange(mixed, "b g t d -> b (g d) t"))
