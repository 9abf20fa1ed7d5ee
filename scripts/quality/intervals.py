"""95 % intervals of shares and of areas under the ROC curve."""

import numpy as np

Z95 = 1.959963984540054


def wilson(share: float, trials: int | float, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a binomial share (Wilson 1927); within [0, 1], never empty.

    Args:
        trials: may be fractional (an effective sample size).
        z: half-width in standard errors.
    """
    centre = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    spread = share * (1 - share) / trials + z**2 / (4 * trials**2)
    half = z * np.sqrt(spread) / (1 + z**2 / trials)
    # The ends are exact at 0 and 1; rounding must not turn "nothing seen" into "surely above 0".
    low = 0.0 if share <= 0 else max(0.0, float(centre - half))
    high = 1.0 if share >= 1 else min(1.0, float(centre + half))
    return low, high


def auc_interval(
    auc: float, num_positive: int, num_negative: int, z: float = Z95
) -> tuple[float, float]:
    """Interval of an AUC from its standard error (Hanley and McNeil 1982, eq. 1)."""
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    variance = auc * (1 - auc)
    variance += (num_positive - 1) * (q1 - auc**2) + (num_negative - 1) * (q2 - auc**2)
    half = z * np.sqrt(max(0.0, variance) / (num_positive * num_negative))
    return max(0.0, float(auc - half)), min(1.0, float(auc + half))
