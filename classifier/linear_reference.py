"""What a classifier has to keep up with: a linear model on fixed features of the same series.

A network that never left the constant prediction looks like a task without signal. Ridge
regression on random convolutions (ROCKET, Dempster et al. 2020) has no training to fail: where it
ranks the selection rows far better, the classifier is blind, and so are guidance and verdicts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import rankdata
from sklearn.linear_model import RidgeClassifierCV
from torch import Tensor

from classifier.fixed_features import RandomConvolutions, Standardiser
from classifier.metrics import Z95
from data_preprocess.dataset import patient_strata

KERNELS = 250
PENALTIES = np.logspace(-1, 5, 7)  # of the squared weights; chosen by leave-one-out on train
MOST_VALUES = 4_000_000  # of the training series that are read; a random part of more
FEWEST_PATIENTS = 10  # of each class, for an interval
MARGIN = 0.02  # of AUROC; smaller differences call no classifier blind

Scores = Float[np.ndarray, "n classes"]


@dataclass(frozen=True)
class AgainstLinear:
    """Validation AUROC of a classifier beside that of the linear reference, with 95 % intervals.

    The intervals are those of DeLong et al. (1988), with the rows of a patient as one (Obuchowski
    1997), for these fitted models; of fewer than FEWEST_PATIENTS patients of a class they leave all
    open.

    Attributes:
        auroc, linear: macro one-vs-rest for more than two classes.
        linear_low, linear_high: interval of `linear`.
        gap_low, gap_high: interval of the paired difference linear - auroc.
    """

    auroc: float
    linear: float
    linear_low: float
    linear_high: float
    gap_low: float
    gap_high: float

    @property
    def is_blind(self) -> bool:
        """Whether the classifier is surely below the linear reference by more than MARGIN."""
        return self.gap_low > MARGIN

    def line(self) -> str:
        """One sentence with the reference and its interval."""
        return (
            f"on the same series a linear model on {KERNELS} random convolutions has AUROC "
            f"{self.linear:.3f} [{self.linear_low:.3f}, {self.linear_high:.3f}]"
        )

    def warning(self, who: str, remedy: str) -> str:
        """What to say of a blind classifier."""
        gap = self.linear - self.auroc
        return (
            f"{who} has AUROC {self.auroc:.3f} on val_select, {gap:.3f} [{self.gap_low:.3f}, "
            f"{self.gap_high:.3f}] below {self.linear:.3f} of a linear model on random "
            f"convolutions: it does not see what tells the classes apart. Try {remedy}"
        )


def linear_scores(train: tuple[Tensor, Tensor], select: Float[Tensor, "n channel time"]) -> Scores:
    """Scores of `select`, a column per class, by a linear model fitted on `train`.

    Seconds at any size: at most MOST_VALUES values of `train` are read.
    """
    x, y = train
    most = max(2, MOST_VALUES // x[0].numel())
    rows = torch.randperm(len(y), generator=torch.Generator().manual_seed(0))[:most]
    rows = _every_class(rows, y)
    convolutions = RandomConvolutions(*x.shape[1:], num_kernels=KERNELS, seed=0)
    raw = convolutions(x[rows])
    standardise = Standardiser(raw)
    model = RidgeClassifierCV(alphas=PENALTIES).fit(standardise(raw), y[rows].numpy())
    found = model.decision_function(standardise(convolutions(select)))
    return found if found.ndim == 2 else np.stack([-found, found], axis=1)


def against_linear(
    own: Sequence[Scores],
    linear: Scores,
    y: Int[np.ndarray, " n"],
    subject_ids: Int[np.ndarray, " n"] | None,
) -> AgainstLinear:
    """Compares a classifier with `linear_scores` of the same rows.

    Args:
        own: class probabilities, of one fit or of several seeds whose AUROC is averaged.
        subject_ids: patient of every row; None: each is of another.
    """
    patients, _ = patient_strata(subject_ids, y)
    fits = [auroc_parts(scores, y) for scores in own]
    auroc = float(np.mean([value for value, _ in fits]))
    parts = np.mean([part for _, part in fits], axis=0)
    reference, reference_parts = auroc_parts(linear, y)
    half = Z95 * _error(reference_parts, y, patients)
    gap, gap_half = reference - auroc, Z95 * _error(reference_parts - parts, y, patients)
    return AgainstLinear(
        auroc=auroc,
        linear=reference,
        linear_low=max(0.0, reference - half),
        linear_high=min(1.0, reference + half),
        gap_low=max(-1.0, gap - gap_half),
        gap_high=min(1.0, gap + gap_half),
    )


def auroc_parts(scores: Scores, y: Int[np.ndarray, " n"]) -> tuple[float, Float[np.ndarray, " n"]]:
    """AUROC (of class 1, or macro one-vs-rest) and what each row adds to its error.

    With V_i the share of the other class that row i is ranked rightly against, the row's part is
    (V_i - AUROC) / (rows of its class); the variance is the sum of squares (DeLong et al. 1988).
    """
    classes = range(scores.shape[1]) if scores.shape[1] > 2 else [1]
    values, parts = [], []
    for label in classes:
        score, positive = scores[:, label], y == label
        above = np.empty(len(y))
        for side in (positive, ~positive):
            # Rank among all minus rank within the own class: rows of the other class below.
            above[side] = (rankdata(score)[side] - rankdata(score[side])) / (~side).sum()
        right = np.where(positive, above, 1 - above)
        auroc = right[positive].mean()
        values.append(auroc)
        parts.append((right - auroc) / np.where(positive, positive.sum(), (~positive).sum()))
    return float(np.mean(values)), np.mean(parts, axis=0)


def _error(
    parts: Float[np.ndarray, " n"], y: Int[np.ndarray, " n"], patients: Int[np.ndarray, " n"]
) -> float:
    """Of a few patients of a class nothing is known. At least half a patient's worth: of classes
    that are told apart wholly (AUROC 1) the variance would be 0, whatever their number."""
    fewest = min(len(np.unique(patients[y == label])) for label in np.unique(y))
    if fewest < FEWEST_PATIENTS:
        return 1.0
    of_patients = np.bincount(patients, weights=parts)
    return max(float(np.sqrt(np.square(of_patients).sum())), 0.5 / fewest)


def _every_class(rows: Tensor, y: Tensor) -> Tensor:
    """`rows` and one row of each class that is not among them."""
    absent = set(y.tolist()) - set(y[rows].tolist())
    first = [int((y == label).nonzero()[0]) for label in sorted(absent)]
    return torch.cat([rows, torch.tensor(first, dtype=rows.dtype)])
