"""The risk of death of a simulated stay, from its latent state."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import brentq
from scipy.special import expit

PHENOTYPES = ("stable", "septic", "haemorrhagic", "respiratory", "neurologic")
# How deadly a phenotype is at full activation, and for merely having it: everywhere alike, and by
# unit (a row each; the first is as everywhere) where units differ in full.
_LETHALITY = np.array([0.0, 1.0, 1.25, 0.9, 1.4])
_UNIT_LETHALITY = np.array(
    [
        [0.0, 1.0, 1.25, 0.9, 1.4],
        [0.0, 0.1, 1.0, 2.0, 1.0],
        [0.0, 2.0, 0.1, 1.6, 0.2],
        [0.0, 0.2, 2.0, 0.1, 1.8],
    ]
)
_RISK_SPREAD = 1.42  # standard deviation of the risk logit; sets the AUROC of the true risk


@dataclass(frozen=True)
class Stays:
    """Latent state of every stay.

    Attributes:
        subject: patient number; the stays of a patient are neighbours.
        frailty: of the patient, in standard deviations.
        age: years.
        male: 1 or 0.
        phenotype: index into PHENOTYPES.
        activation: deterioration per grid point, 0 (none) to 1.8.
    """

    subject: Int[np.ndarray, " n"]
    frailty: Float[np.ndarray, " n"]
    age: Float[np.ndarray, " n"]
    male: Float[np.ndarray, " n"]
    phenotype: Int[np.ndarray, " n"]
    activation: Float[np.ndarray, "n time"]


def lethality_of(
    phenotype: Int[np.ndarray, " n"], unit: Int[np.ndarray, " n"], unit_effect: float
) -> Float[np.ndarray, " n"]:
    """How deadly the phenotype of every stay is in its unit.

    Args:
        unit: 0 to 3.
        unit_effect: from 0, the same everywhere, to 1, the unit's own.
    """
    by_unit = (1 - unit_effect) * _LETHALITY + unit_effect * _UNIT_LETHALITY
    return by_unit[unit, phenotype]


def class_probabilities(
    stays: Stays, lethality: Float[np.ndarray, " n"], prevalence: float
) -> Float[np.ndarray, "n 2"]:
    """P(survived) and P(died) per stay, from the latent state; the mean share is as asked, exactly.

    The score is standardised, so that the AUROC of the true risk is about 0.85 whatever the number
    of steps.
    """
    score = _risk_score(stays, lethality)
    score = _RISK_SPREAD * (score - score.mean()) / score.std()
    intercept = brentq(lambda b: expit(score + b).mean() - prevalence, -60.0, 60.0)
    died = expit(score + intercept)
    return np.stack([1 - died, died], axis=1)


def _risk_score(stays: Stays, lethality: np.ndarray) -> np.ndarray:
    """Relative log-odds: where the patient ended, whether it got worse, and what was left."""
    num_steps = stays.activation.shape[1]
    quarter = max(num_steps // 4, 1)
    end = stays.activation[:, -quarter:].mean(axis=1)
    trend = end - stays.activation[:, : num_steps - quarter].mean(axis=1)
    reserve = 0.35 * stays.frailty + 0.3 * (stays.age - 63) / 16
    return lethality * (2.2 * end + 1.3 * np.maximum(trend, 0)) * (1 + 0.4 * reserve) + reserve
