"""Nearest-neighbour adversarial accuracy (Yale et al. 2020) and the privacy loss."""

from jaxtyping import Float
from torch import Tensor

from scripts.metric_report import MetricReport
from scripts.neighbours import nearest
from scripts.trio import Trio, draw

MAX_ROWS = 10_000
SHIFTED = 0.6


def adversarial_accuracy(real: Float[Tensor, "n dim"], synthetic: Float[Tensor, "n dim"]) -> float:
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
    return sum(shares) / 2


def adversarial_report(trio: Trio, *, seed: int, max_rows: int = MAX_ROWS) -> MetricReport:
    """Accuracy against train and against held-out stays, and their difference.

    `nnaa_loss` = held-out minus train, above 0 when synthetic series hug their train stays.
    `nnaa_real` compares the two real sets; far from 0.5 they differ in distribution, and every
    comparison of train with held-out stays on this page is then off.
    """
    size = min(max_rows, trio.matched_size)
    train, holdout, synthetic = (
        x[draw(len(x), size, seed)].flatten(1)
        for x in (trio.x_train, trio.x_holdout, trio.x_synthetic)
    )
    on_train = adversarial_accuracy(train, synthetic)
    on_holdout = adversarial_accuracy(holdout, synthetic)
    real = adversarial_accuracy(train, holdout)
    flags = []
    if real > SHIFTED:
        flags.append(
            f"train and held-out stays differ in distribution (adversarial accuracy {real:.2f}, "
            "0.5 expected): read privacy comparisons between them with care"
        )
    values = {
        "nnaa_train": on_train,
        "nnaa_holdout": on_holdout,
        "nnaa_loss": on_holdout - on_train,
        "nnaa_loss_reference": 0.0,
        "nnaa_real": real,
    }
    return MetricReport(values=values, flags=flags)
