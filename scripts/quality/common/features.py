"""Summary statistics of series, and the leading axes of any features.

Nothing is trained, so a Frechet distance in this space does not depend on a network that happened
to fit one data set (unlike Context-FID), and two papers that use one seed use one metric.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from classifier.fixed_features import Standardiser


class PrincipalAxes:
    """Projection on the leading principal axes of standardised reference rows."""

    def __init__(self, reference: Float[np.ndarray, "n feature"], count: int) -> None:
        self.standardise = Standardiser(reference)
        rows = self.standardise(reference)
        _, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
        # eigh leaves each axis' sign open; distances do not depend on it.
        self.axes = vectors[:, ::-1][:, :count]

    def __call__(self, features: Float[np.ndarray, "m feature"]) -> Float[np.ndarray, "m axis"]:
        """Coordinates of `features`, in standard deviations of one reference feature."""
        return self.standardise(features) @ self.axes


def summary_features(x: Float[Tensor, "n channel time"]) -> Float[np.ndarray, "n feature"]:
    """Per channel level, spread, ends, extremes, trend and roughness; then channel correlations."""
    time = torch.linspace(-1, 1, x.shape[2], dtype=x.dtype)
    centred = x - x.mean(2, keepdim=True)
    spread = centred.square().mean(2).sqrt()
    steps = x.diff(dim=2).abs()
    parts = [
        x.mean(2),
        spread,
        x.amin(2),
        x.amax(2),
        x[:, :, 0],
        x[:, :, -1],
        (centred * time).mean(2) / time.square().mean(),
        steps.mean(2),
        steps.amax(2),
    ]
    unit = centred / spread.clamp(min=1e-6)[:, :, None]
    pairs = torch.triu_indices(x.shape[1], x.shape[1], offset=1)
    correlations = torch.einsum("nct,ndt->ncd", unit, unit) / x.shape[2]
    return torch.cat([*parts, correlations[:, pairs[0], pairs[1]]], 1).numpy()
