"""Made-up patients and stays for the raw simulator, some of which every cohort rule must remove."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

WINDOW_HOURS = 24
LONG_STAY_HOURS = 72
_SECOND_STAY = 0.12  # share of stays that are a patient's second
_MINOR, _VERY_OLD = 0.04, 0.05  # shares of stays
_EPOCH = np.datetime64("2150-01-01T00:00:00")  # MIMIC shifts dates to the 22nd century


@dataclass(frozen=True)
class RawStays:
    """One row per ICU stay; times are seconds since 2150.

    `severity` (standard normal) raises the risk of death and shifts the vital signs, so that the
    simulated task can be learnt.
    """

    stay: Int[np.ndarray, " n"]
    subject: Int[np.ndarray, " n"]
    admission: Int[np.ndarray, " n"]
    intime: Int[np.ndarray, " n"]
    hours: Float[np.ndarray, " n"]
    age: Float[np.ndarray, " n"]
    male: Bool[np.ndarray, " n"]
    died: Bool[np.ndarray, " n"]
    metavision: Bool[np.ndarray, " n"]
    second_stay: Bool[np.ndarray, " n"]
    severity: Float[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.stay)

    @property
    def eligible(self) -> Bool[np.ndarray, " n"]:
        """Who the clinical preset keeps: adult, first stay, a day or longer."""
        return (self.age >= 18) & ~self.second_stay & (self.hours >= WINDOW_HOURS)

    def removed(self) -> dict[str, int]:
        """Stays that each clinical rule removes, in the order of the rules."""
        adult, first = self.age >= 18, ~self.second_stay
        return {
            "minor": int((~adult).sum()),
            "second stay": int((adult & ~first).sum()),
            "short stay": int((adult & first & (self.hours < WINDOW_HOURS)).sum()),
        }


def simulate_stays(num_stays: int, seed: int) -> RawStays:
    """`num_stays` stays; a patient's second stay directly follows the first one."""
    rng = np.random.default_rng([seed, 0])
    second = rng.random(num_stays) < _SECOND_STAY
    second[0] = False
    second[1:] &= ~second[:-1]
    first_row = np.maximum.accumulate(np.where(second, 0, np.arange(num_stays)))
    kind = rng.random(num_stays)
    age = np.clip(rng.normal(64, 15, num_stays), 18.1, 89)
    age = np.where(kind < _MINOR, rng.uniform(0.1, 17.8, num_stays), age)
    age = np.where(kind > 1 - _VERY_OLD, rng.uniform(90, 99, num_stays), age)[first_row]
    severity = rng.normal(size=num_stays)
    intime = rng.integers(0, 40 * 365 * 86400, num_stays)[first_row] + 86400 * 365 * second
    return RawStays(
        stay=200_000 + rng.permutation(num_stays),
        subject=first_row + 1_000,
        admission=100_000 + np.arange(num_stays),
        intime=intime,
        hours=np.round(np.exp(rng.normal(np.log(50), 0.75, num_stays)) + 4, 4),
        age=age,
        male=(rng.random(num_stays) < 0.56)[first_row],
        died=rng.random(num_stays) < 1 / (1 + np.exp(2.6 - 1.4 * severity)),
        metavision=(rng.random(num_stays) < 0.5)[first_row],
        second_stay=second,
        severity=severity,
    )


def timestamps(seconds: Int[np.ndarray, " n"]) -> np.ndarray:
    """Seconds since 2150 as time stamps."""
    return _EPOCH + np.asarray(seconds, np.int64).astype("timedelta64[s]")
