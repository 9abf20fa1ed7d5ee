"""Support coverage: precision, recall, density, coverage, and repeated series."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from classifier.fixed_features import PrincipalAxes, RandomConvolutions
from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import FIDELITY, below, metric
from tardiff.privacy.memorisation import nearest

MAX_ROWS = 4000
NUM_KERNELS = 128
NUM_AXES = 32
NEIGHBOURS = 5


def support_scores(
    real: Float[Tensor, "n dim"], other: Float[Tensor, "m dim"], *, neighbours: int = NEIGHBOURS
) -> dict[str, float]:
    """The four scores of how two point clouds overlap; sizes should be equal.

    With balls reaching to each point's k-th neighbour in its own set: `precision` = share of
    `other` inside a ball of `real`, `recall` = the reverse (Kynkaanniemi et al. 2019); `density` =
    balls of `real` around a point of `other` / k, `coverage` = share of balls of `real` holding a
    point of `other` (Naeem et al. 2020). Two samples of one distribution score about 1, and
    coverage 1 - 2^-k.
    """
    real_radius = nearest(real, real, k=neighbours, exclude_self=True)[0][:, -1]
    other_radius = nearest(other, other, k=neighbours, exclude_self=True)[0][:, -1]
    distance = torch.cdist(real, other)
    hit = distance < real_radius[:, None]
    return {
        "precision": float(hit.any(0).float().mean()),
        "recall": float((distance < other_radius).any(1).float().mean()),
        "density": float(hit.sum(0).float().mean()) / neighbours,
        "coverage": float(hit.any(1).float().mean()),
    }


def unique_share(values: Float[np.ndarray, "n channel time"]) -> float:
    """Share of series that differ from every earlier one in at least one entry."""
    return len({row.tobytes() for row in values}) / len(values)


@metric(
    FIDELITY,
    below("precision", 0.15, "series lie where no real one does"),
    below("recall", 0.15, "kinds of real series are never generated"),
    below("coverage", 0.15, "real series without a synthetic one nearby"),
    below("unique_share", 0.02, "the same series again and again"),
)
def coverage_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Overlap with held-out series on random-convolution features; the reference is train.

    The features are projected on their leading principal axes in train: nearest neighbours mean
    little in hundreds of dimensions.
    """
    part = comparison.matched(MAX_ROWS, seed)
    encoder = RandomConvolutions(*part.train.x.shape[1:], num_kernels=NUM_KERNELS, seed=seed)
    features = [encoder(side.x) for side in part.sides.values()]
    axes = PrincipalAxes(features[0], NUM_AXES)
    train, holdout, synthetic = (torch.from_numpy(axes(f)).float() for f in features)
    values = support_scores(holdout, synthetic)
    reference = support_scores(holdout, train)
    values |= {f"{name}_reference": value for name, value in reference.items()}
    values["unique_share"] = unique_share(comparison.synthetic.data.values)
    values["unique_share_reference"] = unique_share(comparison.train.data.values)
    return MetricReport(values=values)
