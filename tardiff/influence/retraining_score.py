"""RetrainingScore: whether influence predicts retraining here, as the retraining test found it.

The test (scripts/influence_report/retraining.py) leaves a record; stage 3 guides nothing where the
answer is no, and stage 4 says the answer beside its verdict on usefulness.
"""

from pathlib import Path
from typing import NamedTuple

from configs.run_record import read_mapping


class RetrainingScore(NamedTuple):
    """Linear data-modelling score (LDS) of the estimator in use, on the guidance rows.

    Attributes:
        score: rank correlation of predicted and measured changes; chance stays within +-`band`.
        model: the downstream model that was retrained.
    """

    score: float
    band: float
    model: str

    @property
    def predicts(self) -> bool:
        """Whether influence predicts retraining better than chance."""
        return self.score > self.band

    def __str__(self) -> str:
        return f"LDS {self.score:+.2f}, band of chance +-{self.band:.2f}"


def read_score(path: Path, estimator: str, data_fingerprint: str) -> RetrainingScore | None:
    """The score in the record of the test; None where it is of other data or another estimator.

    Args:
        path: of the record, which exists.
        estimator: as `influence.estimator` names it.
        data_fingerprint: of the splits at hand.
    """
    found = read_mapping(path)
    score = found["estimators"].get(estimator)
    if found["data_fingerprint"] != data_fingerprint or score is None:
        return None
    return RetrainingScore(score["guide"]["score"], found["band"], found["model"])
