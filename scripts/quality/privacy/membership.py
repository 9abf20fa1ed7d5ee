"""Membership inference: can an attacker with the synthetic set tell who was in training?

Every attack gives each real series a score; training series are members, held-out series are not.
Reported as AUC and as the true-positive rate at 1 % false positives (Carlini et al. 2022): the F1
of an attack that calls everybody a member is 2/3, which has been published as privacy.
"""

from operator import itemgetter

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import hypergeom, norm
from sklearn.metrics import roc_auc_score
from torch import Tensor

from scripts.quality.common.comparison import Comparison, draw
from scripts.quality.common.metric_report import MetricReport, auc_interval, bounded
from scripts.quality.common.registry import CHANCE, PRIVACY, QualityFlag, metric, surely_above
from tardiff.privacy.memorisation import nearest

MAX_ROWS = 5000  # members, non-members and known series, each
MAX_SYNTHETIC = 20_000  # series that the attacker has
KDE_ROWS = 5000
FALSE_POSITIVE_RATE = 0.01
KDE_AXES = 8
CHUNK = 1024
TINY = 1e-6  # keeps the logarithm of a zero distance finite


def log_density(
    points: Float[Tensor, "n dim"], data: Float[Tensor, "m dim"], width: float
) -> Float[Tensor, " n"]:
    """Log density at `points` of a Gaussian kernel estimate on `data` with bandwidth `width`."""
    dim = data.shape[1]
    constant = np.log(len(data)) + dim * np.log(width) + 0.5 * dim * np.log(2 * np.pi)
    parts = []
    for start in range(0, len(points), CHUNK):
        squared = torch.cdist(points[start : start + CHUNK], data).square()
        parts.append(torch.logsumexp(squared / (-2 * width**2), dim=1) - constant)
    return torch.cat(parts)


def attack_scores(
    candidates: Float[Tensor, "n dim"],
    synthetic: Float[Tensor, "m dim"],
    known_real: Float[Tensor, "k dim"],
    *,
    seed: int = 0,
) -> dict[str, Float[np.ndarray, " n"]]:
    """Membership scores of three attacks; higher = more likely a member.

    `distance`: nearness to the closest synthetic series (Chen et al. 2020).
    `distance_ratio`: the same, relative to the closest of `known_real`, which are series of the
    population that the attacker has; so a series in a dense region is no suspect.
    `density_ratio`: log p_synthetic - log p_known_real (DOMIAS, van Breugel et al. 2023), kernel
    estimates on the leading principal axes: in all dimensions every point is far from every other.
    """
    to_synthetic = nearest(candidates, synthetic)[0][:, 0].double()
    to_known = nearest(candidates, known_real)[0][:, 0].double()
    ratio = torch.log(to_known + TINY) - torch.log(to_synthetic + TINY)
    sampled = synthetic[draw(len(synthetic), KDE_ROWS, seed)]
    points, data, known = _project(candidates, sampled, known_real)
    # Scott's bandwidth for whitened data: n^(-1 / (d + 4)).
    densities = [
        log_density(points, rows, len(rows) ** (-1 / (rows.shape[1] + 4))) for rows in (data, known)
    ]
    return {
        "distance": -to_synthetic.numpy(),
        "distance_ratio": ratio.numpy(),
        "density_ratio": (densities[0] - densities[1]).numpy(),
    }


def rate_at_false_positives(
    members: Float[np.ndarray, " n"],
    others: Float[np.ndarray, " m"],
    false_positive_rate: float = FALSE_POSITIVE_RATE,
) -> float:
    """Largest share of members above a threshold that at most that share of `others` exceeds."""
    allowed = int(np.floor(false_positive_rate * len(others)))
    threshold = np.sort(others)[len(others) - 1 - allowed]
    return float((members > threshold).mean())


def chance_of_rate(
    rate: float, size: int, false_positive_rate: float = FALSE_POSITIVE_RATE
) -> float:
    """P(a rate at least this high) for scores that know nothing, `size` members and others each.

    Exact for scores without ties: with r others allowed above the threshold, k or more members
    are above it if at least k of the top k + r of the shuffled pool are members.
    """
    allowed = int(np.floor(false_positive_rate * size))
    hits = round(rate * size)
    return float(hypergeom.sf(hits - 1, 2 * size, size, hits + allowed))


@metric(
    PRIVACY,
    surely_above("membership_auc", "an attacker can tell who was in train"),
    QualityFlag(
        "membership_tpr",
        "some training series can be named with certainty",
        f"p < {CHANCE:g}",
        lambda v: v["membership_tpr_p"] < CHANCE,
        itemgetter("membership_tpr_p"),
    ),
)
def membership_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """The three attacks; `membership_auc` and `membership_tpr` are those of the strongest; their
    interval and p-value are Bonferroni-corrected for that choice.

    The held-out series are split in two: one half is what the attacker knows, the other half are
    the non-members, against equally many training series.
    """
    order = np.random.default_rng(seed).permutation(len(comparison.holdout))
    size = min(MAX_ROWS, len(order) // 2, len(comparison.train))
    others = comparison.holdout.flat[order[:size]]
    known = comparison.holdout.flat[order[size : 2 * size]]
    members = comparison.train.draw(size, seed).flat
    synthetic = comparison.synthetic.draw(MAX_SYNTHETIC, seed).flat
    scores = attack_scores(torch.cat([members, others]), synthetic, known, seed=seed)
    is_member = np.r_[np.ones(size, int), np.zeros(size, int)]
    values: dict[str, float] = {}
    for name, score in scores.items():
        values[f"membership_auc/{name}"] = float(roc_auc_score(is_member, score))
        rate = rate_at_false_positives(score[:size], score[size:])
        values[f"membership_tpr/{name}"] = rate
        values[f"membership_tpr_p/{name}"] = chance_of_rate(rate, size)
    auc = max(values[f"membership_auc/{name}"] for name in scores)
    interval = auc_interval(auc, size, size, z=float(norm.ppf(1 - 0.025 / len(scores))))
    smallest_p = min(values[f"membership_tpr_p/{name}"] for name in scores)
    strongest = {
        **bounded("membership_auc", auc, interval, 0.5),
        "membership_members": float(size),
        "membership_tpr": max(values[f"membership_tpr/{name}"] for name in scores),
        "membership_tpr_p": min(1.0, len(scores) * smallest_p),
        "membership_tpr_reference": FALSE_POSITIVE_RATE,
    }
    return MetricReport(values=strongest | values)


def _project(
    candidates: Tensor, synthetic: Tensor, known_real: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """All three on the leading whitened principal axes of what the attacker has."""
    pooled = torch.cat([synthetic, known_real]).double()
    mean = pooled.mean(0)
    centred = pooled - mean
    values, vectors = torch.linalg.eigh(centred.T @ centred / len(pooled))
    count = min(KDE_AXES, int((values > TINY).sum()))
    axes = vectors[:, -count:] / values[-count:].sqrt()
    first, second, third = (
        (rows.double() - mean) @ axes for rows in (candidates, synthetic, known_real)
    )
    return first, second, third
