"""Nearest-neighbour adversarial accuracy (Yale et al. 2020) and the privacy loss."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from classifier.metrics import Z95
from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport, bounded
from scripts.quality.common.registry import PRIVACY, metric, surely_above
from tardiff.privacy.memorisation import nearest

MAX_ROWS = 10_000
SHIFTED = 0.6
# Neighbourhoods overlap, so the win of one row is not independent of the next one's; on equal
# distributions the variance of the loss is up to about this many times the binomial one
# (tests/unit/scripts/test_privacy_adversarial_accuracy.py measures it).
OVERLAP = 1.5


class Accuracy(NamedTuple):
    """Adversarial accuracy and its variance if rows were independent."""

    value: float
    variance: float


def adversarial_accuracy(
    real: Float[Tensor, "n dim"], synthetic: Float[Tensor, "n dim"]
) -> Accuracy:
    """1/2 (P[d_RS > d_RR] + P[d_SR > d_SS]) over equal-sized sets.

    d_AB: distance from a row of A to the nearest row of B, itself excluded when A is B. 0.5 for
    two samples of one distribution, 1 when a nearest neighbour gives the set away, 0 for copies.
    A tie counts as a half.
    """
    shares = []
    for own, other in ((real, synthetic), (synthetic, real)):
        across = nearest(own, other)[0][:, 0]
        within = nearest(own, own, exclude_self=True)[0][:, 0]
        wins = (across > within).double().mean() + 0.5 * (across == within).double().mean()
        shares.append(float(wins))
    variance = sum(share * (1 - share) / len(real) for share in shares) / 4
    return Accuracy(sum(shares) / 2, variance)


@metric(PRIVACY, surely_above("nnaa_loss", "training records are nearer than non-members"))
def adversarial_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """Accuracy against train and against held-out series, and their difference.

    `nnaa_loss` = held-out minus train, above 0 when synthetic series are closer to training than to
    held-out series.
    `nnaa_real` compares the two real sets; far from 0.5 they differ in distribution, and every
    comparison of train with held-out series on this page is then off.
    """
    part = comparison.matched(MAX_ROWS, seed)
    train, holdout, synthetic = (side.flat for side in part.sides.values())
    on_train = adversarial_accuracy(train, synthetic)
    on_holdout = adversarial_accuracy(holdout, synthetic)
    real = adversarial_accuracy(train, holdout)
    loss = on_holdout.value - on_train.value
    half = _half_width(on_holdout.variance + on_train.variance)
    remarks = []
    # Of 20 series every tenth accuracy is above the limit by chance.
    if real.value > max(SHIFTED, 0.5 + _half_width(real.variance)):
        remarks.append(
            f"train and held-out series differ in distribution (adversarial accuracy "
            f"{real.value:.2f}, 0.5 expected): read privacy comparisons between them with care"
        )
    values = {
        "nnaa_train": on_train.value,
        "nnaa_holdout": on_holdout.value,
        **bounded("nnaa_loss", loss, (loss - half, loss + half), 0.0),
        "nnaa_real": real.value,
    }
    return MetricReport(values=values, remarks=remarks)


def _half_width(variance: float) -> float:
    """Of the 95 % interval, from the variance if rows were independent."""
    return Z95 * (OVERLAP * variance) ** 0.5
