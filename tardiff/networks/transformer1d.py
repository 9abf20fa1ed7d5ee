"""Transformer1D: a diffusion transformer over time, (x_t, log_snr, y) -> prediction."""

import math

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tardiff.diffusion.noise_schedule import Labels, Levels, Series
from tardiff.networks.blocks import GatedResidual, LevelEmbedding, zeroed


class Transformer1D(nn.Module):
    """Self-attention over patches of time (DiT, Peebles & Xie 2023, in one dimension).

    Any length works: the series is padded at its end to a multiple of `patch` by repeating the
    last value, and the output is cropped. The untrained network predicts zero.

    Args:
        in_channels: channels of the series.
        num_classes: labels are 0..num_classes-1; `num_classes` itself is the null label of
            classifier-free guidance.
        width: of a token, an even multiple of `heads`.
        depth: pairs of attention and feed-forward layer.
        heads: of the attention.
        patch: grid points per token.
        out_channels: channels of the prediction; None: as many as the series has.

    Raises:
        ValueError: `depth` or `patch` below 1, or a width that `heads` does not divide.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 64,
        depth: int = 4,
        heads: int = 4,
        patch: int = 1,
        dropout: float = 0.0,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        if min(depth, heads, patch) < 1 or width % heads or width % 2:
            raise ValueError(f"width={width}, depth={depth}, heads={heads}, patch={patch}")
        self.null_label = num_classes
        self.patch = patch
        self.embed_level = LevelEmbedding(width, width)
        self.embed_label = nn.Embedding(num_classes + 1, width)
        self.tokens_in = nn.Linear(in_channels * patch, width)
        self.layers = nn.ModuleList()
        for _ in range(depth):
            for inner in (_Attention(width, heads), _feed_forward(width)):
                self.layers.append(GatedResidual(width, width, inner, dropout))
        self.norm_out = nn.LayerNorm(width)
        self.tokens_out = zeroed(nn.Linear(width, (out_channels or in_channels) * patch))

    def forward(self, x_t: Series, log_snr: Levels, y: Labels) -> Float[Tensor, "batch out time"]:
        """The network's raw prediction (v, eps or x_0, as it was trained)."""
        length = x_t.shape[-1]
        x = functional.pad(x_t, (0, -length % self.patch), mode="replicate")
        h = self.tokens_in(rearrange(x, "b c (l p) -> b l (c p)", p=self.patch))
        h = h + positions(h)
        embedding = functional.silu(self.embed_level(log_snr) + self.embed_label(y))
        for layer in self.layers:
            h = layer(h, embedding)
        out = self.tokens_out(self.norm_out(h))
        return rearrange(out, "b l (c p) -> b c (l p)", p=self.patch)[..., :length]


def positions(h: Float[Tensor, "batch token width"]) -> Float[Tensor, "token width"]:
    """Sinusoids of the token number (Vaswani et al. 2017), which any length has."""
    tokens, half = h.shape[1], h.shape[2] // 2
    rates = torch.exp(torch.arange(half, device=h.device) * (-math.log(1e4) / half))
    phases = torch.arange(tokens, device=h.device)[:, None] * rates
    return torch.cat([phases.sin(), phases.cos()], dim=1).to(h)


class _Attention(nn.Module):
    """(B, L, D) -> (B, L, D): multi-head self-attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)

    def forward(self, h: Float[Tensor, "batch token width"]) -> Float[Tensor, "batch token width"]:
        qkv = rearrange(self.to_qkv(h), "b l (n g d) -> n b g l d", n=3, g=self.heads)
        mixed = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        return self.to_out(rearrange(mixed, "b g l d -> b l (g d)"))


def _feed_forward(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
