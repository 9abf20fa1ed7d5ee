"""UNet1D: the label-conditional denoising network, (x_t, log_snr, y) -> prediction."""

from collections.abc import Sequence
from itertools import pairwise

from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tardiff.diffusion.noise_schedule import Labels, Levels, Series
from tardiff.networks.blocks import (
    GatedFeedForward,
    GatedResidual,
    LevelEmbedding,
    SelfAttention,
    Tokens,
    positions,
    zeroed,
)
from tardiff.networks.registry import network


@network("unet")
class UNet1D(nn.Module):
    """A U-Net over tokens of `patch` grid points; a level's token is two of the level above.

    A block is self-attention over the tokens of its level, then a gated feed-forward layer (as in
    Hoogeboom et al. 2023, there at the coarsest level only). What a level hands down is added to
    what comes back from below. Noise level and label modulate every layer token by token
    (GatedResidual): a norm over time would hide the level of a series. With one level the network
    is a diffusion transformer (Peebles & Xie 2023).

    Any length works: the series is padded at its end to whole tokens of the coarsest level by
    repeating the last value, and the output is cropped. The untrained network predicts zero.

    Args:
        in_channels: channels of the series.
        num_classes: labels are 0..num_classes-1; `num_classes` itself is the null label of
            classifier-free guidance.
        width: times a multiplier: of the tokens of a level; even.
        multipliers: of the levels, finest first.
        blocks_per_level: on the way down, and as many on the way up; at the coarsest level once.
        heads: of the attention; divides every width.
        patch: grid points per token of the finest level.

    Raises:
        ValueError: no level, a number below 1, an odd width, or one that `heads` does not divide.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 32,
        multipliers: Sequence[int] = (2, 3),
        blocks_per_level: int = 1,
        heads: int = 4,
        patch: int = 2,
    ) -> None:
        super().__init__()
        widths = [width * multiplier for multiplier in multipliers]
        smallest = min(blocks_per_level, heads, patch, len(widths), *widths)
        if smallest < 1 or width % 2 or width % heads:
            raise ValueError(
                f"width={width}, multipliers={multipliers}, blocks_per_level={blocks_per_level}, "
                f"heads={heads}, patch={patch}"
            )
        self.null_label = num_classes
        self.patch = patch
        self.stride = patch * 2 ** (len(widths) - 1)
        finest, embed = widths[0], widths[-1]
        self.embed_level = LevelEmbedding(finest, embed)
        self.embed_label = nn.Embedding(num_classes + 1, embed)
        self.tokens_in = nn.Linear(in_channels * patch, finest)

        def blocks(size: int) -> nn.ModuleList:
            inner: list[nn.Module] = []
            for _ in range(blocks_per_level):
                inner += [SelfAttention(size, heads), GatedFeedForward(size)]
            return nn.ModuleList(GatedResidual(size, embed, part) for part in inner)

        self.down = nn.ModuleList(blocks(size) for size in widths[:-1])
        self.fold = nn.ModuleList(nn.Linear(2 * fine, coarse) for fine, coarse in pairwise(widths))
        self.middle = blocks(widths[-1])
        self.unfold = nn.ModuleList(
            nn.Linear(coarse, 2 * fine) for fine, coarse in pairwise(widths)
        )
        self.up = nn.ModuleList(blocks(size) for size in widths[:-1])
        self.norm_out = nn.LayerNorm(finest)
        self.tokens_out = zeroed(nn.Linear(finest, in_channels * patch))

    def forward(self, x_t: Series, log_snr: Levels, y: Labels) -> Float[Tensor, "batch out time"]:
        """The network's raw prediction (v, eps or x_0, as it was trained)."""
        length = x_t.shape[-1]
        x = functional.pad(x_t, (0, -length % self.stride), mode="replicate")
        h = self.tokens_in(rearrange(x, "b c (l p) -> b l (c p)", p=self.patch))
        h = h + positions(h)
        embedding = functional.silu(self.embed_level(log_snr) + self.embed_label(y))
        skips = []
        for level, fold in zip(self.down, self.fold, strict=True):
            h = _through(level, h, embedding)
            skips.append(h)
            h = fold(rearrange(h, "b (l two) d -> b l (two d)", two=2))
        h = _through(self.middle, h, embedding)
        for level, unfold in zip(reversed(self.up), reversed(self.unfold), strict=True):
            h = skips.pop() + rearrange(unfold(h), "b l (two d) -> b (l two) d", two=2)
            h = _through(level, h, embedding)
        out = self.tokens_out(self.norm_out(h))
        return rearrange(out, "b l (c p) -> b c (l p)", p=self.patch)[..., :length]


def _through(layers: nn.Module, h: Tokens, embedding: Tensor) -> Tokens:
    for layer in layers.children():
        h = layer(h, embedding)
    return h
