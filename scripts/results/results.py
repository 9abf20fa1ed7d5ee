"""Findings: all that an evaluation found, as every file, table and page is written from it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scripts.quality.suite import SetScores
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import Cell
from scripts.utility.subgroups import SubgroupScore
from scripts.utility.summary import Summary


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What an evaluation found.

    Attributes:
        results: predictions of every cell of the utility protocols.
        summaries: their scores over seeds, with paired differences.
        subgroups: AUROC within groups of patients; empty where no group is known.
        scores: fidelity and privacy per kind and set; a kind that was left out is absent.
        facts: what the numbers rest on: counts, settings, fingerprint, notes; JSON-able.
    """

    results: Mapping[Cell, Predictions]
    summaries: Sequence[Summary]
    subgroups: Sequence[SubgroupScore]
    scores: SetScores
    facts: Mapping[str, Any]

    @property
    def sets(self) -> list[str]:
        """The synthetic sets under judgement, in the order of the tables."""
        return list(self.facts["synthetic_stays_per_class"])

    @property
    def models(self) -> list[str]:
        """The downstream models, in the order of evaluation.models."""
        return list(dict.fromkeys(summary.model for summary in self.summaries))
