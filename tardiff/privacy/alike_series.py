"""Whether the series of a patient are alike: what knows one of them then knows the others."""

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from data_preprocess.dataset import patient_strata
from data_preprocess.model_space.encoding import EncodedSeries
from tardiff.privacy.memorisation import nearest

# Share of series, above chance, whose nearest other one is the same patient's; from there on series
# of a patient count as alike. The hospitals that are the "patients" of the eICU demo have 0.04.
ALIKE = 0.1
MAX_ROWS = 1000
FEWEST_PATIENTS = 20  # that are looked at, and of whom alike series tell of others


def series_are_alike(x: Float[Tensor, "n entry"], subject_ids: Int[np.ndarray, " n"]) -> bool:
    """Whether series of one patient are nearer to each other than to those of others (ALIKE)."""
    rows = _whole_patients(subject_ids, MAX_ROWS)
    subjects, part = subject_ids[rows], x[rows]
    counts = np.unique(subjects, return_counts=True)[1]
    if counts.max() == 1:
        return False
    other = nearest(part, part, exclude_self=True)[1][:, 0].numpy()
    chance = (counts * (counts - 1)).sum() / (len(part) * (len(part) - 1))
    return bool((subjects[other] == subjects).mean() > chance + ALIKE)


def alike_patients(series: EncodedSeries) -> Int[np.ndarray, " n"] | None:
    """The patient of every series, numbered from 0, where the series of a patient are alike; None
    where they are not, or patients are not known."""
    patients, _ = patient_strata(series.subject_ids, series.y.numpy())
    alike = series_are_alike(series.x.float().cpu().flatten(1), patients)
    return patients if alike else None


def _whole_patients(subjects: Int[np.ndarray, " n"], most: int) -> Int[np.ndarray, " m"]:
    """Rows of random patients, all of each, until there are about `most`; of FEWEST_PATIENTS
    patients with more than that, some."""
    patients, owner = np.unique(subjects, return_inverse=True)
    place = np.random.default_rng(0).permutation(len(patients))[owner]
    rows = np.flatnonzero(place <= max(np.sort(place)[:most][-1], FEWEST_PATIENTS - 1))
    if len(rows) <= 2 * most:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))
