"""Intervals and paired differences of scores: what the test series and the seeds can tell apart.

Resampling. Patients of the test split are drawn with replacement, all series of a patient
together, without stratification: the prevalence varies as it would in another cohort of this
size, which AUPRC depends on. A resample that misses a class is drawn again. All models share the
same resamples, so differences are paired.

Two sources of chance. The interval of a score covers the test series only, for these fitted
models: scores are averaged over seeds inside every resample, and `sd` tells how much seeds vary.
A difference must not come out "significant" because one set met the luckier initial weights, so
its interval and p-value cover both: to every resampled difference is added a draw of the error of
a mean over seeds, s/sqrt(S) times Student's t with S - 1 degrees of freedom, s being the standard
deviation of the difference over the S paired seeds. (Resampling three seeds would understate it.)
As s also holds how the fits of different seeds disagree about single series, that part is taken
out of the resampled differences first: they are shrunk to the variance that all seeds share.
The expected calibration error is a mean of absolute values, which resampling raises: its draws
are moved to have the score on the test set as their mean (scripts/utility/summary.py).
What no interval here covers is that another run of the same generator gives another set: the
statement is about these sets.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from configs.runtime.errors import DataError
from scripts.quality.common.metric_report import interval_text

ROUNDING = 1e-5  # resamples are scored in single precision
MAX_REDRAWS = 100  # a resample
CONFIDENCE = 0.95  # of every interval; the verdicts are rules on these
CORRECTED_LEVEL = 0.05  # of a p-value after Holm's correction
LARGEST_LOSS = 0.02  # of AUROC: a substitute for real data may surely lose no more


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean paired difference to a reference, over the same series and seeds.

    Attributes:
        mean: of the seed-averaged scores.
        low, high, p: interval and two-sided p-value over test series and seeds; over test series
            alone if there is one seed.
        p_holm: p-value corrected for the family of comparisons it belongs to, None outside one.
        p_lost: two-sided p-value against a loss of LARGEST_LOSS in place of 0, corrected as
            `p_holm` is inside a family.
        test_low, test_high: interval over test series alone, for these fitted models.
    """

    mean: float
    low: float
    high: float
    p: float
    test_low: float
    test_high: float
    p_lost: float = 1.0
    p_holm: float | None = None

    def __str__(self) -> str:
        """ "+0.010 [-0.005, +0.024]"."""
        return interval_text(self.mean, self.low, self.high, "+")

    @property
    def corrected_p(self) -> float:
        """`p_holm`, or the p-value itself outside a family."""
        return self.p if self.p_holm is None else self.p_holm

    @property
    def survives_correction(self) -> bool:
        """Whether it stands beside all other comparisons of its family."""
        return self.corrected_p < CORRECTED_LEVEL

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero."""
        return self.low > 0 or self.high < 0


def resample_counts(
    subjects: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"], *, resamples: int, seed: int
) -> Float[np.ndarray, "resamples n"]:
    """How often each row is in each bootstrap resample of the patients.

    Raises:
        DataError: a class has so few patients that resamples keep missing it.
    """
    patients, member = np.unique(subjects, return_inverse=True)
    present = np.unique(labels)
    rng = np.random.default_rng(seed)
    counts = np.empty((resamples, len(labels)), np.float32)
    redraws = 0
    for resample in counts:
        while True:
            drawn = rng.integers(len(patients), size=len(patients))
            resample[:] = np.bincount(drawn, minlength=len(patients))[member]
            if np.bincount(labels, resample)[present].all():
                break
            redraws += 1
            if redraws > MAX_REDRAWS * resamples:
                raise DataError(
                    f"bootstrap: resamples of the test split keep missing a class (series per "
                    f"class: {np.bincount(labels).tolist()}); use a larger test split"
                )
    return np.asfortranarray(counts)  # by row of the test set, as metrics read it


def fewest_patients(subjects: Int[np.ndarray, " n"], labels: Int[np.ndarray, " n"]) -> int:
    """Patients in the class that has fewest."""
    return min(len(np.unique(subjects[labels == label])) for label in np.unique(labels))


def compare(
    scores: Float[np.ndarray, "seeds resamples"],
    reference: Float[np.ndarray, "seeds resamples"],
    points: Float[np.ndarray, " seeds"],
    reference_points: Float[np.ndarray, " seeds"],
    *,
    seed: int = 0,
) -> Difference:
    """The paired difference of two seed-by-resample tables of one metric.

    Args:
        scores, reference: values per seed and resample; both tables share seeds and resamples.
        points, reference_points: values per seed on the test set as it is.
        seed: of the order in which seed errors meet resamples.
    """
    per_seed = points - reference_points
    difference = scores - reference
    difference = np.where(np.abs(difference) < ROUNDING, 0.0, difference)
    over_test = difference.mean(axis=0)
    both = _shared_by_seeds(difference) + _seed_errors(per_seed, len(over_test), seed)
    low, high = interval(both)
    test_low, test_high = interval(over_test)
    return Difference(
        mean=float(per_seed.mean()),
        low=low,
        high=high,
        p=two_sided_p(both),
        p_lost=two_sided_p(both + LARGEST_LOSS),
        test_low=test_low,
        test_high=test_high,
    )


def enough_resamples(asked: int, sets: int) -> int:
    """`asked`, or as many as let the smallest p-value, 2 / (resamples + 1), survive Holm's
    correction for `sets`."""
    return max(asked, math.ceil(2 * sets / CORRECTED_LEVEL))


def interval(draws: Float[np.ndarray, " resamples"]) -> tuple[float, float]:
    """The central percentile interval of bootstrap draws."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def two_sided_p(draws: Float[np.ndarray, " resamples"]) -> float:
    """Twice the smaller share of draws on either side of 0, counting the observed sample once."""
    below, above = int((draws <= 0).sum()), int((draws >= 0).sum())
    return min(1.0, 2 * (1 + min(below, above)) / (1 + len(draws)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction (1979): the chance of any false claim in the family stays below
    a level if claims are made where the corrected value does."""
    order = np.argsort(p_values, kind="stable")
    factors = len(p_values) - np.arange(len(p_values))
    stepped = np.maximum.accumulate(np.asarray(p_values)[order] * factors)
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1.0)
    return corrected.tolist()


def _shared_by_seeds(difference: np.ndarray) -> np.ndarray:
    """The seed-averaged draws, shrunk about their mean to the covariance between two seeds.

    A resample that no seed's models differ on stays at 0: moved off it, all that are so would stand
    on one side and look like evidence.
    """
    mean = difference.mean(axis=0)
    num_seeds, variance = len(difference), mean.var()
    if num_seeds == 1 or variance == 0:
        return mean
    own = (difference - mean).var(axis=1).sum() / (num_seeds - 1)  # of one seed, not shared
    shared = max(0.0, 1 - own / num_seeds / variance)
    shrunk = mean.mean() + (mean - mean.mean()) * np.sqrt(shared)
    return np.where((difference == 0).all(axis=0), 0.0, shrunk)


def _seed_errors(per_seed: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Errors of the mean over seeds, one per resample: evenly spaced quantiles, shuffled."""
    num_seeds = len(per_seed)
    if num_seeds == 1:
        return np.zeros(resamples)
    quantiles = stats.t.ppf((np.arange(resamples) + 0.5) / resamples, df=num_seeds - 1)
    scale = per_seed.std(ddof=1) / np.sqrt(num_seeds)
    return scale * np.random.default_rng(seed).permutation(quantiles)
