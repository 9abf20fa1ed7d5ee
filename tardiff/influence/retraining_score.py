"""RetrainingScore: whether influence predicts retraining here, as the retraining test found it.

The test (scripts/influence_report/retraining.py) leaves a record; stage 3 guides nothing where the
answer is no, and stage 4 says the answer beside its verdict on usefulness.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from configs.run_record import describe_differences, read_mapping

log = logging.getLogger(__name__)


class RetrainingScore(NamedTuple):
    """What retraining on random and on tilted halves of unguided series found, for the estimator in
    use.

    Attributes:
        score: linear data-modelling score (LDS) on the guidance rows: rank correlation of predicted
            and measured changes; chance stays within +-`band`.
        model: the downstream model that was retrained.
        w: strength of the tilt, unguided standard deviations; 0: nothing was tested.
        asked: what asked for it; "auto" chooses anew in every pool.
        change: of the guidance loss of `model` on val_select by that tilt; 0 at w = 0.
        error: standard error of `change`.
    """

    score: float
    band: float
    model: str
    w: float
    asked: float | str
    change: float
    error: float

    @property
    def predicts(self) -> bool:
        """Whether the tilt lowers the loss by more than its standard error, the rule by which the
        strength is chosen too: nominally a useless tilt does so in 16 % of cases."""
        return self.change + self.error < 0

    def __str__(self) -> str:
        tilt = (
            f"change of its guidance loss on val_select by w = {self.w:g}: {self.change:+.4f} +- "
            f"{self.error:.4f}"
            if self.w
            else "no strength is supported"
        )
        lds = f"LDS on val_guide {self.score:+.2f}, band of chance +-{self.band:.2f}"
        return f"{tilt}; {lds}"


def read_score(path: Path, estimator: str, decided_by: Mapping[str, Any]) -> RetrainingScore | None:
    """What the record of the test says; None where it is of another estimator, or of other
    settings, which is said.

    Args:
        path: of the record, which exists.
        estimator: as `influence.estimator` names it.
        decided_by: data, files and settings at hand, as the record has them.
    """
    found = read_mapping(path)
    of_estimator = found["estimators"].get(estimator)
    if of_estimator is None:
        return None
    apart = describe_differences(of_estimator.get("decided_by", {}), decided_by)
    if apart:
        log.warning("%s was made with other settings, and says nothing here: %s", path, apart)
        return None
    tilt = of_estimator["tilt"].get("held_out", {"change": 0.0, "error": 0.0})
    score = of_estimator["guide"]["score"]
    strength = (found["w"], found["asked"])
    return RetrainingScore(score, found["band"], found["model"], *strength, **tilt)
