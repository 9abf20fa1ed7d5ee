"""GRUDenoiser: stacked bidirectional GRUs over time, (x_t, log_snr, y) -> prediction."""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from tardiff.diffusion.noise_schedule import Labels, Levels, Series
from tardiff.networks.blocks import GatedResidual, LevelEmbedding, zeroed


class GRUDenoiser(nn.Module):
    """Residual bidirectional GRUs, each modulated by noise level and label.

    Any length works. The untrained network predicts zero.

    Args:
        in_channels: channels of the series.
        num_classes: labels are 0..num_classes-1; `num_classes` itself is the null label of
            classifier-free guidance.
        width: of the state over both directions, an even number.
        depth: stacked GRUs.
        out_channels: channels of the prediction; None: as many as the series has.

    Raises:
        ValueError: `depth` below 1, or an odd width.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        *,
        width: int = 64,
        depth: int = 2,
        dropout: float = 0.0,
        out_channels: int | None = None,
    ) -> None:
        super().__init__()
        if depth < 1 or width % 2:
            raise ValueError(f"width={width}, depth={depth}")
        self.null_label = num_classes
        self.embed_level = LevelEmbedding(width, width)
        self.embed_label = nn.Embedding(num_classes + 1, width)
        self.steps_in = nn.Linear(in_channels, width)
        self.layers = nn.ModuleList(
            GatedResidual(width, width, _BothWays(width), dropout) for _ in range(depth)
        )
        self.norm_out = nn.LayerNorm(width)
        self.steps_out = zeroed(nn.Linear(width, out_channels or in_channels))

    def forward(self, x_t: Series, log_snr: Levels, y: Labels) -> Float[Tensor, "batch out time"]:
        """The network's raw prediction (v, eps or x_0, as it was trained)."""
        h = self.steps_in(x_t.transpose(1, 2))  # (B, T, D)
        embedding = functional.silu(self.embed_level(log_snr) + self.embed_label(y))
        for layer in self.layers:
            h = layer(h, embedding)
        return self.steps_out(self.norm_out(h)).transpose(1, 2)


class _BothWays(nn.Module):
    """(B, T, D) -> (B, T, D): half of the output from the past, half from the future."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width // 2, bidirectional=True, batch_first=True)

    def forward(self, h: Float[Tensor, "batch time width"]) -> Float[Tensor, "batch time width"]:
        return self.gru(h)[0]
