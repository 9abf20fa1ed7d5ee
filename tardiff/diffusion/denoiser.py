"""Denoiser: (x_t, log_snr, y) -> x0_hat in model space; the only contract samplers know."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tardiff.diffusion.noise_schedule import Labels, Levels, Series, alpha_sigma

PREDICTIONS = ("v", "eps", "x0")


# (x_t, log_snr, y) -> x0_hat, the estimate E[x_0 | x_t, y] of the clean series; row i depends on
# row i of the inputs only.
Denoiser = Callable[[Series, Levels, Labels], Series]


class NetworkDenoiser:
    """Wraps a network and its parametrisation into a Denoiser.

    Args:
        network: (x_t, log_snr, y) -> prediction; `network.null_label` is its null label.
        prediction: what the network predicts: "v" (v = alpha eps - sigma x_0), "eps" or "x0".
        cfg_scale: classifier-free guidance; 1 uses the conditional estimate alone, larger values
            extrapolate from the unconditional one (Ho & Salimans 2022, in x_0 form).
    """

    def __init__(self, network: nn.Module, *, prediction: str, cfg_scale: float = 1.0) -> None:
        if prediction not in PREDICTIONS:
            raise ValueError(f"prediction={prediction!r}, expected one of {PREDICTIONS}")
        self.network = network
        self.prediction = prediction
        self.cfg_scale = cfg_scale

    @torch.no_grad()
    def __call__(self, x_t: Series, log_snr: Levels, y: Labels) -> Series:
        """x0_hat for every row."""
        conditional = self._estimate(x_t, log_snr, y)
        if self.cfg_scale == 1.0:
            return conditional
        null = torch.full_like(y, int(self.network.null_label))  # type: ignore[arg-type]
        unconditional = self._estimate(x_t, log_snr, null)
        return unconditional + self.cfg_scale * (conditional - unconditional)

    def _estimate(self, x_t: Tensor, log_snr: Tensor, y: Tensor) -> Tensor:
        return to_x0(self.network(x_t, log_snr, y), x_t, log_snr, self.prediction)


def to_x0(prediction: Series, x_t: Series, log_snr: Levels, kind: str) -> Series:
    """x0_hat from the network's output; v from Salimans & Ho 2022, eps from DDPM eq. 9."""
    alpha, sigma = alpha_sigma(log_snr[:, None, None])
    if kind == "v":
        return alpha * x_t - sigma * prediction
    if kind == "eps":
        return (x_t - sigma * prediction) / alpha
    return prediction


def training_target(x_0: Series, eps: Series, log_snr: Levels, kind: str) -> Series:
    """What a network of this kind is trained to output for (x_0, eps) at these levels."""
    alpha, sigma = alpha_sigma(log_snr[:, None, None])
    if kind == "v":
        return alpha * eps - sigma * x_0
    return eps if kind == "eps" else x_0
