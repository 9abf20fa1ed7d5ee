"""The parts of the denoising networks: level embedding, attention, feed-forward, gated residuals.

B batch, C channel, T time, E embedding width, L tokens, D token width.
"""

import math
from typing import TypeVar

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tardiff.diffusion.noise_schedule import Levels

Tokens = Float[Tensor, "batch token width"]


class LevelEmbedding(nn.Module):
    """(B,) log-SNR -> (B, E): sinusoids of the noise angle, then two linear layers."""

    frequencies: Tensor

    def __init__(self, width: int, embed: int) -> None:
        super().__init__()
        # On the CPU also where only shapes are wanted: on the meta device, the first such operation
        # loads a second of libraries.
        frequencies = torch.exp(torch.linspace(0.0, math.log(200.0), width // 2, device="cpu"))
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.project = nn.Sequential(nn.Linear(width, embed), nn.SiLU(), nn.Linear(embed, embed))

    def forward(self, log_snr: Levels) -> Float[Tensor, "batch embed"]:
        """The embedding of each level."""
        # atan(sigma / alpha) spreads the levels evenly over (0, pi / 2) for any schedule.
        angle = torch.atan(torch.exp(-log_snr / 2))
        phases = angle[:, None] * self.frequencies.to(angle.dtype)
        return self.project(torch.cat([phases.sin(), phases.cos()], dim=1))


def positions(h: Tokens) -> Float[Tensor, "token width"]:
    """Sinusoids of the token number (Vaswani et al. 2017), which any length has."""
    tokens, half = h.shape[1], h.shape[2] // 2
    rates = torch.exp(torch.arange(half, device=h.device) * (-math.log(1e4) / half))
    phases = torch.arange(tokens, device=h.device)[:, None] * rates
    return torch.cat([phases.sin(), phases.cos()], dim=1).to(h)


class SelfAttention(nn.Module):
    """(B, L, D) -> (B, L, D): multi-head self-attention over the tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)

    def forward(self, h: Tokens) -> Tokens:
        """What every token takes from all."""
        qkv = rearrange(self.to_qkv(h), "b l (n g d) -> n b g l d", n=3, g=self.heads)
        # unbind, not qkv[0]: the gradient of an index is a copy of all three, mostly zeros.
        mixed = functional.scaled_dot_product_attention(*qkv.unbind())
        return self.to_out(rearrange(mixed, "b g l d -> b l (g d)"))


class GatedFeedForward(nn.Module):
    """(B, L, D) -> (B, L, D), token by token: out(value(h) * SiLU(gate(h))) (GLU, Shazeer 2020),
    twice as wide inside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value_and_gate = nn.Linear(width, 4 * width)
        self.out = nn.Linear(2 * width, width)

    def forward(self, h: Tokens) -> Tokens:
        """The gated layer."""
        value, gate = self.value_and_gate(h).chunk(2, dim=2)
        return self.out(value * functional.silu(gate))


class GatedResidual(nn.Module):
    """(B, L, D), (B, E) -> (B, L, D): h + (1 + gate) * inner(norm(h) * (1 + scale) + shift).

    Gate, scale and shift come from the embedding and start at zero (adaLN, Peebles & Xie 2023). The
    gate starts open: closed, as in adaLN-zero, a short training comes less far
    (docs/earlier_results.md).
    """

    def __init__(self, width: int, embed: int, inner: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = zeroed(nn.Linear(embed, 3 * width))
        self.inner = inner

    def forward(self, h: Tokens, embedding: Float[Tensor, "batch embed"]) -> Tokens:
        """`h` plus what the layer adds to it."""
        scale, shift, gate = self.modulate(embedding)[:, None].chunk(3, dim=2)
        modulated = torch.addcmul(shift, self.norm(h), 1 + scale)
        return torch.addcmul(h, self.inner(modulated), 1 + gate)


_Linear = TypeVar("_Linear", nn.Conv1d, nn.Linear)


def zeroed(layer: _Linear) -> _Linear:
    """`layer` with all weights zero: a residual branch that ends with it starts as nothing."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
