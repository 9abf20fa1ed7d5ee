"""RetrainingScore: whether influence predicts retraining here, as the retraining test found it.

The test (scripts/influence_report/retraining.py) leaves a record; stage 3 guides nothing where the
answer is no, and stage 4 says the answer beside its verdict on usefulness.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from configs.run_record import read_mapping


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


def read_score(
    path: Path, estimator: str, data_fingerprint: str, estimated_with: Mapping[str, Any]
) -> RetrainingScore | None:
    """What the record of the test says; None where it is of other data, or of another generator or
    estimator.

    Args:
        path: of the record, which exists.
        estimator: as `influence.estimator` names it.
        data_fingerprint: of the splits at hand.
        estimated_with: generator and settings at hand, as `from_config.estimated_with` says them.
    """
    found = read_mapping(path)
    of_estimator = found["estimators"].get(estimator, {})
    recorded = (found["data_fingerprint"], of_estimator.get("estimated_with"))
    if recorded != (data_fingerprint, dict(estimated_with)):
        return None
    tilt = of_estimator["tilt"].get("held_out", {"change": 0.0, "error": 0.0})
    score = of_estimator["guide"]["score"]
    strength = (found["w"], found["asked"])
    return RetrainingScore(score, found["band"], found["model"], *strength, **tilt)
