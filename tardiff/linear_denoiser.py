"""The closed-form denoiser of Gaussians with the training series' means and covariances.

For x_0 ~ N(mu_y, C_y) the best estimate is linear (a Wiener filter). In the eigenvectors of C_y,
with u = x_t - alpha mu_y:

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
SHARES = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FOLDS = 4
MOST_EXACT = 2048  # entries of a series up to which the covariance is decomposed exactly


@dataclass(frozen=True)
class Gaussian:
    """A mean and the leading part of a covariance per label; the last is the null label's.

    Attributes:
        mean: (classes + 1, channel, time).
        basis: (classes + 1, channel * time, rank), orthonormal columns.
        variance: (classes + 1, rank), of the basis directions.
        rest: variance of every direction outside the basis.
        pooling: per class, the share of the covariance of all classes in its own.
    """

    mean: Float[Tensor, "label channel time"]
    basis: Float[Tensor, "label entry rank"]
    variance: Float[Tensor, "label rank"]
    rest: float
    pooling: tuple[float, ...]


def fit_gaussian(x: Series, y: Labels, *, num_classes: int, rank: int) -> Gaussian:
    """Mean and covariance of every class, and of a label that is not given.

    The covariance within all classes is shrunk towards a multiple of the identity as far as the
    number of series asks for (Ledoit & Wolf 2004); that of a class is mixed with it in the
    proportion under which series of the class that were left out are likeliest. A shared one alone
    would lose that the sick vary more, which is much of what a classifier lives on.

    Args:
        rank: directions kept, at most channel * time; the others share their mean variance.
    """
    x = x.cpu().double()
    y = y.cpu()
    known = [x[y == label].mean(dim=0) for label in range(num_classes)]
    mean = torch.stack([*known, torch.stack(known).mean(dim=0)])
    centred = (x - mean[y]).flatten(1)
    size = centred.shape[1]
    shrinkage = float(ledoit_wolf_shrinkage(centred.numpy(), assume_centered=True))
    even = float(centred.square().mean())
    variance, basis = _leading(centred, rank)
    rest = (even * size - float(variance.sum())) / (size - rank) if size > rank else 0.0
    pooled = _shrunk(variance, shrinkage, even).diag()
    along = centred @ basis
    shares = [choose_pooling(along[y == label], pooled) for label in range(num_classes)]
    covariances = [
        share * pooled + (1 - share) * _covariance(along[y == label])
        for label, share in enumerate(shares)
    ]
    decomposed = [torch.linalg.eigh(covariance) for covariance in (*covariances, pooled)]
    return Gaussian(
        mean=mean.float(),
        basis=torch.stack([basis @ vectors for _, vectors in decomposed]).float(),
        variance=torch.stack([values for values, _ in decomposed]).clamp(LEAST_VARIANCE).float(),
        rest=float(_shrunk(torch.tensor(rest), shrinkage, even)),
        pooling=tuple(shares),
    )


def choose_pooling(along: Float[Tensor, "n rank"], pooled: Float[Tensor, "rank rank"]) -> float:
    """The share of `pooled` in a class's covariance with the largest likelihood of left-out series.

    Args:
        along: centred series of the class in the basis of `pooled`.
    """
    if len(along) < FOLDS:
        return 1.0
    fold = torch.arange(len(along)) % FOLDS

    def log_likelihood(share: float) -> float:
        total = 0.0
        for left_out in range(FOLDS):
            covariance = share * pooled + (1 - share) * _covariance(along[fold != left_out])
            factor = torch.linalg.cholesky(covariance)
            white = torch.linalg.solve_triangular(factor, along[fold == left_out].T, upper=False)
            total -= 0.5 * float(white.square().sum())
            total -= int((fold == left_out).sum()) * float(factor.diagonal().log().sum())
        return total

    return max(SHARES, key=log_likelihood)


def _covariance(centred: Tensor) -> Tensor:
    return centred.T @ centred / len(centred)


def _leading(centred: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """Largest eigenvalues of the covariance, ascending, and their eigenvectors."""
    size = centred.shape[1]
    if size <= MOST_EXACT:
        values, vectors = torch.linalg.eigh(_covariance(centred))
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
        self.register_buffer("basis", torch.zeros(num_classes + 1, channels * length, rank))
        self.register_buffer("variance", torch.ones(num_classes + 1, rank))
        self.register_buffer("rest", torch.ones(()))

    def fit(self, x: Series, y: Labels) -> None:
        """Takes mean and covariance from the training series."""
        rank, num_classes = self.variance.shape[1], int(self.null_label)
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
        variance = self.variance[y]
        along = self._by_label(u, y, self.basis)
        kept = 1 / (alpha**2 * variance + sigma**2)
        rest = 1 / (alpha**2 * self.rest + sigma**2)

        def filtered(kept: Tensor, rest: Tensor) -> Tensor:
            """u with each direction multiplied by its own factor."""
            return rest * u + self._by_label((kept - rest) * along, y, self.basis.transpose(1, 2))

        x0_hat = mean + filtered(alpha * variance * kept, alpha * self.rest * rest)
        if self.prediction == "v":
            factors = alpha * sigma * (1 - variance) * kept
            linear = filtered(factors, alpha * sigma * (1 - self.rest) * rest) - sigma * mean
        elif self.prediction == "eps":
            linear = filtered(sigma * kept, sigma * rest)
        else:
            linear = x0_hat
        return x0_hat.view_as(x_t), linear.view_as(x_t)

    def _by_label(self, rows: Tensor, y: Labels, matrices: Tensor) -> Tensor:
        """rows[i] @ matrices[y[i]]: one product per label, never a matrix per row."""
        result = rows.new_zeros(len(rows), matrices.shape[2])
        for label, matrix in enumerate(matrices):
            own = y == label
            if own.any():
                result[own] = rows[own] @ matrix
        return result
