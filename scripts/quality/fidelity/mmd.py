"""Maximum mean discrepancy with a Gaussian kernel, with its permutation distribution."""

from operator import itemgetter

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from scripts.quality.common.comparison import Comparison
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import FIDELITY, QualityFlag, metric

MAX_ROWS = 2000  # the kernel matrix holds (2 MAX_ROWS)^2 entries
PERMUTATIONS = 200
# What moving every channel by a tenth of its standard deviation makes, on real and simulated stays
# (tests/unit/scripts/test_fidelity_mmd.py); the flag of the marginals begins at that shift too.
SMALLEST_EFFECT = 0.003


def median_distance(rows: Float[Tensor, "n dim"]) -> float:
    """Median Euclidean distance of distinct rows: the usual kernel width."""
    return float(torch.pdist(rows.double()).median())


def mmd_squared(
    first: Float[Tensor, "n dim"],
    second: Float[Tensor, "m dim"],
    *,
    width: float,
    permutations: int,
    seed: int,
) -> tuple[float, Float[np.ndarray, " permutation"]]:
    """Unbiased squared MMD (Gretton et al. 2012, eq. 3), and its values under random relabelling.

    Kernel exp(-d^2 / (2 width^2)). The estimate is around 0, and may be below, for equal
    distributions.
    """
    pooled = torch.cat([first, second]).double()
    kernel = torch.cdist(pooled, pooled).square_().div_(-2 * width**2).exp_()
    kernel.fill_diagonal_(0)
    n, m = len(first), len(second)
    generator = torch.Generator().manual_seed(seed)
    orders = [torch.arange(n + m)]
    orders += [torch.randperm(n + m, generator=generator) for _ in range(permutations)]
    member = torch.zeros(n + m, permutations + 1, dtype=torch.float64)
    for column, order in enumerate(orders):
        member[order[:n], column] = 1
    towards = kernel @ member
    within_first = (member * towards).sum(0)
    across = ((1 - member) * towards).sum(0)
    within_second = kernel.sum() - within_first - 2 * across
    values = within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * across / (n * m)
    return float(values[0]), values[1:].numpy()


@metric(
    FIDELITY,
    QualityFlag(
        "mmd2",
        "the two samples are not of one distribution",
        f"> 2 x real, > {SMALLEST_EFFECT} and p < 0.01",
        lambda v: v["mmd2"] > max(SMALLEST_EFFECT, 2 * v["mmd2_reference"]) and v["mmd_p"] < 0.01,
        itemgetter("mmd_p"),
    ),
)
def mmd_report(comparison: Comparison, *, seed: int) -> MetricReport:
    """MMD^2 of held-out and synthetic series in model space, every entry one dimension.

    `mmd_p` is the permutation p-value; the reference is train against held-out. The p-value alone
    is no flag: with thousands of series it is small for any difference, also between two sets of
    real patients.
    """
    part = comparison.matched(MAX_ROWS, seed)
    train, holdout, synthetic = (side.flat for side in part.sides.values())
    # The width comes from train alone, so that one kernel measures every synthetic set. A set that
    # is mostly one repeated series has median distance 0 and no kernel.
    width = median_distance(train)
    if width == 0:
        return MetricReport(remarks=["MMD: most training series are equal, no kernel width"])
    found, permuted = mmd_squared(
        holdout, synthetic, width=width, permutations=PERMUTATIONS, seed=seed
    )
    reference, _ = mmd_squared(holdout, train, width=width, permutations=1, seed=seed)
    values = {
        "mmd2": found,
        "mmd2_reference": reference,
        "mmd_p": float((1 + (permuted >= found).sum()) / (1 + PERMUTATIONS)),
    }
    return MetricReport(values=values)
