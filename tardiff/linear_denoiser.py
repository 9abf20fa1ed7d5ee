"""The closed-form denoiser of a Gaussian with the training series' mean and covariance.

For x_0 ~ N(mu_y, C) the best estimate is linear (a Wiener filter). In the eigenvectors of C, with
u = x_t - alpha mu_y:

    x0_hat = mu_y + alpha lambda / (alpha^2 lambda + sigma^2) u

It knows from thousands of series what a small network learns slowly: which level a stay keeps over
its hours, and which channels go together. `LinearSkip` hands the estimate to a network and lets it
learn the rest. Learned denoisers are close to this one at high and middle noise anyway (Wang &
Vastola 2024, "The unreasonable effectiveness of Gaussian score approximation").
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.utils.extmath import randomized_svd
from torch import Tensor, nn

from tardiff.schedule import Levels, Series, alpha_sigma
from tardiff.unet1d import Labels

# A direction in which the series hardly vary: below it, noise is told from signal anyway.
LEAST_VARIANCE = 1e-4
MOST_EXACT = 2048  # entries of a series up to which the covariance is decomposed exactly


@dataclass(frozen=True)
class Gaussian:
    """Mean per class and the leading part of the covariance all classes share.

    Attributes:
        mean: (classes + 1, channel, time); the last row is that of the null label.
        basis: (channel * time, rank), orthonormal columns.
        variance: (rank,), of the basis directions.
        rest: variance of every direction outside the basis.
    """

    mean: Float[Tensor, "label channel time"]
    basis: Float[Tensor, "entry rank"]
    variance: Float[Tensor, " rank"]
    rest: float


def fit_gaussian(x: Series, y: Labels, *, num_classes: int, rank: int) -> Gaussian:
    """Class means, and the covariance within classes, shrunk towards a multiple of the identity
    as far as the number of series asks for (Ledoit & Wolf 2004).

    Args:
        rank: directions kept, at most channel * time; the others share their mean variance.
    """
    x = x.cpu().double()
    known = [x[y == label].mean(dim=0) for label in range(num_classes)]
    mean = torch.stack([*known, torch.stack(known).mean(dim=0)])
    centred = (x - mean[y]).flatten(1)
    size = centred.shape[1]
    shrinkage = float(ledoit_wolf_shrinkage(centred.numpy(), assume_centered=True))
    even = float(centred.square().mean())
    variance, basis = _leading(centred, rank)
    left = even * size - float(variance.sum())
    rest = left / (size - rank) if size > rank else 0.0
    return Gaussian(
        mean=mean.float(),
        basis=basis.float(),
        variance=_shrunk(variance, shrinkage, even).float(),
        rest=float(_shrunk(torch.tensor(rest), shrinkage, even)),
    )


def _leading(centred: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Largest eigenvalues of the covariance, ascending, and their eigenvectors."""
    size = centred.shape[1]
    if size <= MOST_EXACT:
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        return values[size - rank :], vectors[:, size - rank :]
    # randomised: an exact decomposition grows with the cube of the size
    _, singular, vectors = randomized_svd(centred.numpy(), rank, random_state=0)
    values = torch.from_numpy(singular.copy()).square() / len(centred)
    return values.flip(0), torch.from_numpy(vectors.copy()).T.flip(1)


def _shrunk(variance: Tensor, shrinkage: float, even: float) -> Tensor:
    return ((1 - shrinkage) * variance + shrinkage * even).clamp(min=LEAST_VARIANCE)


class LinearSkip(nn.Module):
    """(x_t, log_snr, y) -> prediction: the linear denoiser's plus what `network` adds.

    Args:
        network: takes (x_t beside the linear x0_hat, log_snr, y), 2 C channels to C.
        channels, length, num_classes: of the series.
        rank: directions of the covariance that are kept, at most channels * length.
        prediction: what is predicted: "v", "eps" or "x0".
    """

    mean: Tensor
    basis: Tensor
    variance: Tensor
    rest: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        channels: int,
        length: int,
        num_classes: int,
        rank: int,
        prediction: str,
    ) -> None:
        super().__init__()
        self.network = network
        self.null_label = num_classes
        self.prediction = prediction
        self.register_buffer("mean", torch.zeros(num_classes + 1, channels, length))
        self.register_buffer("basis", torch.zeros(channels * length, rank))
        self.register_buffer("variance", torch.ones(rank))
        self.register_buffer("rest", torch.ones(()))

    def fit(self, x: Series, y: Labels) -> None:
        """Takes mean and covariance from the training series."""
        rank, num_classes = len(self.variance), int(self.null_label)
        gaussian = fit_gaussian(x, y, num_classes=num_classes, rank=rank)
        self.mean.copy_(gaussian.mean)
        self.basis.copy_(gaussian.basis)
        self.variance.copy_(gaussian.variance)
        self.rest.fill_(gaussian.rest)

    def forward(self, x_t: Series, log_snr: Levels, y: Labels) -> Series:
        """The prediction."""
        # Half precision would lose the small variances.
        with torch.autocast(x_t.device.type, enabled=False):
            x0_hat, linear = self.linear(x_t.float(), log_snr.float(), y)
        return linear + self.network(torch.cat([x_t, x0_hat], dim=1), log_snr, y)

    def linear(self, x_t: Series, log_snr: Levels, y: Labels) -> tuple[Series, Series]:
        """x0_hat of the linear denoiser, and the same as a prediction.

        Written so that nothing is divided by a vanishing sigma or alpha: with
        s = 1 / (alpha^2 lambda + sigma^2), eps = sigma s u and
        v = alpha sigma (1 - lambda) s u - sigma mu.
        """
        alpha, sigma = alpha_sigma(log_snr[:, None])
        mean = self.mean[y].flatten(1)
        u = x_t.flatten(1) - alpha * mean
        along = u @ self.basis  # (B, rank)

        def filtered(kept: Tensor, rest: Tensor) -> Tensor:
            """u with each direction multiplied by its own factor."""
            return rest * u + ((kept - rest) * along) @ self.basis.T

        kept = 1 / (alpha**2 * self.variance + sigma**2)
        rest = 1 / (alpha**2 * self.rest + sigma**2)
        x0_hat = mean + filtered(alpha * self.variance * kept, alpha * self.rest * rest)
        if self.prediction == "v":
            factors = alpha * sigma * (1 - self.variance) * kept
            linear = filtered(factors, alpha * sigma * (1 - self.rest) * rest) - sigma * mean
        elif self.prediction == "eps":
            linear = filtered(sigma * kept, sigma * rest)
        else:
            linear = x0_hat
        return x0_hat.view_as(x_t), linear.view_as(x_t)
