"""Results: all that an evaluation found and compared; every file, table and page is written from it
alone. What only a picture shows is worked out when it is drawn, after the files are written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from configs.run_record import provenance
from data_preprocess.dataset import EHRDataset
from data_preprocess.splits import Splits
from scripts.pictures.guidance_change import GuidanceChange
from scripts.pictures.influence import Influence
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.suite import SetScores, fingerprint
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import EvaluationData, Fit
from scripts.utility.subgroups import SubgroupScore
from scripts.utility.summary import Summary
from scripts.utility.synthetic_testing import AurocError
from tardiff.influence.retraining_score import RetrainingScore

SETTINGS = "All settings"  # title of the document that holds the config
HASH_SHOWN = 16


@dataclass(frozen=True, kw_only=True)
class Results:
    """What an evaluation found.

    Attributes:
        provenance: what the numbers rest on, JSON-able: experiment, counts, settings, fingerprint,
            notes (sentences that a reader must not miss), same_as_unguided (sets that are left out
            since they hold its series), held_out_copies (set -> split -> copies of its series).
        predictions: of every fit of the utility protocols.
        summaries: their scores over seeds, with paired differences.
        subgroups: AUROC within groups of patients; empty where no group is known.
        testing: error of the AUROC that a set gives real-only models; empty without TRTS.
        quality: fidelity and privacy per kind and set; a kind that was left out is absent.
        generator: the white-box membership attack on the experiment's own diffusion model; None
            where there is no model or privacy was left out.
        influence: of every set, or why it is not known.
        guided: the sets that stage 3 made with guidance.
        retraining: the retraining test of the experiment; None where it was not made.
        guidance_change: of the guided sets; None where there is none, or no unguided one.
        tuning: the record of scripts/tune.py; None where it did not run.
        made_with: what -> value: code, packages, fingerprints.
        documents: title -> text: data card, cards of the sets, all settings; "" of what is absent.
        splits, synthetic, data: the real and the synthetic series, and both in model space.
        hours_per_step: between grid points.
    """

    provenance: Mapping[str, Any]
    predictions: Mapping[Fit, Predictions]
    summaries: Sequence[Summary]
    subgroups: Sequence[SubgroupScore] = ()
    testing: Sequence[AurocError] = ()
    quality: SetScores = field(default_factory=dict)
    generator: MetricReport | None = None
    influence: Influence | str = "not asked for"
    guided: Sequence[str] = ()
    retraining: RetrainingScore | None = None
    guidance_change: GuidanceChange | None = None
    tuning: Mapping[str, Any] | None = None
    made_with: Mapping[str, str] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)
    splits: Splits | None = None
    synthetic: Mapping[str, EHRDataset] = field(default_factory=dict)
    data: EvaluationData | None = None
    hours_per_step: float = 1.0

    @property
    def sets(self) -> list[str]:
        """The synthetic sets that are compared, in the order of the tables."""
        return list(self.provenance["synthetic_series_per_class"])

    @property
    def models(self) -> list[str]:
        """The downstream models, in the order of evaluation.models."""
        return list(dict.fromkeys(summary.model for summary in self.summaries))


def how_made(
    seeds: Sequence[int], splits: Splits, sets: Mapping[str, EHRDataset]
) -> dict[str, str]:
    """Code, packages, seeds and fingerprints, by what they are."""
    made = provenance()
    code = made["git"].get("commit", "no git checkout")
    return {
        "finished (UTC)": made["finished"],
        "code": code + (" with uncommitted changes" if made["git"].get("dirty") else ""),
        "Python": made["python"],
        "packages": ", ".join(f"{k} {v}" for k, v in made["packages"].items()),
        "seeds": ", ".join(map(str, seeds)),
        "real data, SHA-256": splits.fingerprint[:HASH_SHOWN],
        **{f"set {k}, SHA-256": fingerprint(v)[:HASH_SHOWN] for k, v in sets.items()},
    }
