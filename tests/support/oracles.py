"""Closed forms that the tests compare with: exact denoisers and tiny classifiers."""

import torch
from torch import Tensor, nn

from tardiff.diffusion.noise_schedule import alpha_sigma


def gaussian_denoiser(mean: float, sd: float):
    """E[x_0 | x_t] for independent N(mean, sd^2) entries."""

    def denoise(x_t: Tensor, log_snr: Tensor, y: Tensor) -> Tensor:
        alpha, sigma = alpha_sigma(log_snr[:, None, None])
        gain = alpha * sd**2 / (alpha**2 * sd**2 + sigma**2)
        return mean + gain * (x_t - alpha * mean)

    return denoise


class KernelDenoiser:
    """E[x_0 | x_t, y] when the data are Gaussian kernels of width `width` on given rows."""

    def __init__(self, rows: Tensor, labels: Tensor, width: float) -> None:
        self.rows, self.labels, self.width = rows, labels, width

    def __call__(self, x_t: Tensor, log_snr: Tensor, y: Tensor) -> Tensor:
        alpha, sigma = (part.to(x_t) for part in alpha_sigma(log_snr[:, None, None]))
        out = torch.empty_like(x_t)
        for label in y.unique():
            mine, rows = y == label, self.rows[self.labels == label]
            noisy, a, s = x_t[mine], alpha[mine], sigma[mine]
            variance = a**2 * self.width**2 + s**2
            gap = noisy[:, None] - a[:, None] * rows[None]
            weights = torch.softmax(-(gap**2).sum((2, 3)) / (2 * variance[:, :, 0]), 1)
            centre = torch.einsum("bk,kct->bct", weights, rows)
            out[mine] = centre + a * self.width**2 / variance * (noisy - a * centre)
        return out


class Recurrent(nn.Module):
    """A small recurrent classifier; `cell` is nn.GRU or nn.LSTM."""

    def __init__(self, cell, channels: int, hidden: int, out: int) -> None:
        super().__init__()
        self.rnn = cell(channels, hidden, 2, batch_first=True, bidirectional=True)
        self.head = nn.Linear(2 * hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x.transpose(1, 2))[0].mean(1))


class Convolutional(nn.Module):
    def __init__(self, channels: int, hidden: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, hidden, 3, padding=1)
        self.head = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(x)).mean(2))


class Attentive(nn.Module):
    def __init__(self, channels: int, hidden: int, out: int) -> None:
        super().__init__()
        self.project = nn.Conv1d(channels, hidden, 1)
        self.qkv = nn.Linear(hidden, 3 * hidden)
        self.head = nn.Linear(hidden, out)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.project(x).transpose(1, 2)).chunk(3, -1)
        return self.head(nn.functional.scaled_dot_product_attention(q, k, v).mean(1))


class Logistic(nn.Module):
    """f = w . flatten(x) + b."""

    def __init__(self, features: int, out: int = 1) -> None:
        super().__init__()
        self.head = nn.Linear(features, out)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.flatten(1))


def random_direction(model: nn.Module, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(p.shape, generator=generator, dtype=p.dtype)
        for name, p in model.named_parameters()
    }


def double_backward(model: nn.Module, loss, g: dict[str, Tensor]):
    """(x, y) -> (I, J), one series after the other, as <G, grad_phi loss> is written down."""

    def of_one(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        leaf = x[None].detach().requires_grad_()
        parameters = dict(model.named_parameters())
        value = loss(model(leaf), y[None]).sum()
        parts = torch.autograd.grad(value, [parameters[name] for name in g], create_graph=True)
        score = torch.stack(
            [(g[name] * part).sum() for name, part in zip(g, parts, strict=True)]
        ).sum()
        return score.detach(), torch.autograd.grad(score, leaf)[0][0]

    def compute(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        # cuDNN's recurrent layers have no second derivative.
        with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
            pairs = [of_one(*pair) for pair in zip(x, y, strict=True)]
        return torch.stack([score for score, _ in pairs]), torch.stack([j for _, j in pairs])

    return compute
