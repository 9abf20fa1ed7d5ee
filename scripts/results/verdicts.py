"""Is a set useful, faithful, private? One verdict per set and question, with its numbers.

The rules that decide are in useful.py and quality_answers.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import attrgetter

from data_preprocess.dataset import bare_name
from scripts.quality.common.metric_report import MetricReport, with_interval
from scripts.quality.common.registry import FIDELITY, PRIVACY
from scripts.quality.fidelity.frechet import MIN_CLASS_ROWS
from scripts.quality.held_out_copies import sentence, sentence_of_nearness
from scripts.results.answers import CANNOT_TELL, NO, NO_LEAK_FOUND
from scripts.results.quality_answers import (
    DISCRIMINATE,
    DISCRIMINATIVE_MARGIN,
    FEWEST_SERIES,
    LEAK_LIMIT,
    answer_fidelity,
    answer_privacy,
    populations_differ,
)
from scripts.results.results import Results
from scripts.results.useful import (
    COLLAPSED,
    SMALLEST_GAIN,
    answer_useful,
    predicts_retraining,
    unless_a_group_loses,
)
from scripts.utility.bootstrap import LARGEST_LOSS, Difference
from scripts.utility.metrics import METRICS
from scripts.utility.protocols import REAL
from scripts.utility.summary import Summary, select

QUESTIONS = ("useful", "faithful", "private")
DECIDING_METRIC = "auroc"
_SD_RATIO = "marginal_sd_ratio/"
_key = attrgetter("protocol", "generator", "ratio", "model")


@dataclass(frozen=True)
class Verdict:
    """One answer about one set.

    Attributes:
        name: of the set.
        question: one of QUESTIONS.
        outcome: YES, NO or CANNOT_TELL; of privacy NO_LEAK_FOUND in place of YES.
        reason: one plain sentence.
        change: what would change the outcome, with a number; "" where it is the best.
        numbers: what it rests on, with intervals.
        decided_by: the rule that decided, and its thresholds.
    """

    name: str
    question: str
    outcome: str
    reason: str
    change: str
    numbers: str
    decided_by: str


def verdicts(results: Results) -> list[Verdict]:
    """For every set, the questions that the evaluation has numbers for."""
    found = []
    for name in results.sets:
        found.append(_useful(results, name))
        for kind, answer in ((FIDELITY, _faithful), (PRIVACY, _private)):
            if name in results.quality.get(kind, {}):
                found.append(answer(results, name, results.quality[kind][name]))
    return [_voided(results, verdict) for verdict in found if verdict is not None]


def _voided(results: Results, verdict: Verdict) -> Verdict:
    """The verdict, unless the set holds series that it is measured with."""
    copies = results.provenance["held_out_copies"].get(verdict.name)
    report = results.quality.get(PRIVACY, {}).get(verdict.name)
    near = "" if report is None else sentence_of_nearness(report)
    if copies is None and not near:
        return verdict
    certain = copies is not None
    if not certain and (verdict.question, verdict.outcome) == ("private", NO):
        return replace(verdict, numbers=f"{verdict.numbers} {near}")  # a leak found stays found
    outcome = NO if certain and verdict.question == "private" else CANNOT_TELL
    reason = sentence(copies) if certain else near
    change = "a set without them, of a generator that has not seen them"
    rule = "held-out series are in the set, or seem to be, so no other rule applies"
    return replace(verdict, outcome=outcome, reason=reason, change=change, decided_by=rule)


def _useful(results: Results, name: str) -> Verdict | None:
    wanted = {"generator": name, "metric": DECIDING_METRIC, "model": results.models[0]}
    rows = [s for s in select(results.summaries, **wanted) if s.vs_real]
    alone = next(iter(select(rows, protocol="TSTR")), None)
    mixed = select(rows, protocol="TSRTR")
    addition = max(mixed, key=lambda s: s.ratio or 0.0, default=None)
    row = addition or alone
    if row is None:
        return None
    report = results.quality.get(FIDELITY, {}).get(name)
    values = {} if report is None else report.values
    spreads = [value for key, value in values.items() if key.startswith(_SD_RATIO)]
    num_test = sum(results.provenance["real_series_per_class"]["test"])
    few = results.provenance["fewest_test_patients"]
    answer = answer_useful(addition, alone, min(spreads, default=None), num_test, few)
    groups = _within_groups(results, row)
    answer = unless_a_group_loses(answer, groups, allowed=0.0 if addition else LARGEST_LOSS)
    rule = (
        "yes: the gain's interval excludes 0, also after Holm's correction for the number of sets, "
        "over several seeds; "
        f"no: the interval excludes a gain of {SMALLEST_GAIN:g}, or models trained on the set "
        f"alone surely lose more than {LARGEST_LOSS:g}, or its spread ratio is below "
        f"{COLLAPSED:g}, or a group of patients surely loses (Holm over the groups)"
        if addition
        else f"the interval of the loss lies on one side of {LARGEST_LOSS:g}; no also if the "
        f"spread ratio is below {COLLAPSED:g}, or a group of patients surely loses more"
    )
    numbers = [_sentence(row) for row in (addition, alone) if row]
    numbers += _less_calibrated(results, row)
    if name in results.guided:
        numbers.append(predicts_retraining(results.retraining))
    return Verdict(name, "useful", *answer, " ".join(numbers), rule)


def _less_calibrated(results: Results, row: Summary) -> list[str]:
    """A sentence where the probabilities of the row are surely less accurate than without the set,
    which no AUROC shows."""
    rows = [s for s in select(results.summaries, metric="brier") if s.num_seeds > 1]
    errors = [s.vs_real for s in rows if _key(s) == _key(row)]
    return [
        f"Its probabilities are less accurate (Brier score {error}): recalibrate models."
        for error in errors
        if error is not None and error.low > 0 and error.survives_correction
    ]


def _within_groups(results: Results, row: Summary) -> dict[str, Difference]:
    """The differences of the row to real-only training, group by group of patients."""
    return {
        group.subgroup: group.summary.vs_real
        for group in results.subgroups
        if _key(group.summary) == _key(row) and group.summary.vs_real is not None
    }


def _faithful(results: Results, name: str, report: MetricReport) -> Verdict:
    values = report.values
    answer = answer_fidelity(report)
    numbers = (
        f"Discriminator AUC {with_interval(report, DISCRIMINATE)} (real series: "
        f"{values[f'{DISCRIMINATE}_reference']:.3f})."
    )
    if (worst := values.get("marginal_sd_ratio_worst")) is not None:
        channel = _worst_channel(values)
        numbers += (
            f" The spread of {channel} is {worst:.2f} times the real one, the farthest from 1."
        )
    rule = (
        f"no: a quality flag of fidelity is raised (of the AUC: its interval is above the limit; "
        f"with fewer than {FEWEST_SERIES} series that alone counts); yes: none is, with "
        f"{FEWEST_SERIES} series or more, {MIN_CLASS_ROWS} of every class, and the AUC's interval "
        f"ends below that of real series + {DISCRIMINATIVE_MARGIN:g}"
    )
    return Verdict(name, "faithful", *answer, numbers, rule)


def _worst_channel(values: Mapping[str, float]) -> str:
    """The channel that `marginal_sd_ratio_worst` is about."""
    worst = values["marginal_sd_ratio_worst"]
    ratios = {k.partition("/")[2]: v for k, v in values.items() if k.startswith(_SD_RATIO)}
    name = min(ratios, key=lambda name: abs(ratios[name] - worst), default="the worst channel")
    return bare_name(name)


def _private(results: Results, name: str, report: MetricReport) -> Verdict:
    facts, values = results.provenance, report.values
    answer = answer_privacy(report, facts["members"])
    numbers = (
        f"The strongest membership attack has AUC {with_interval(report, 'membership_auc')} "
        f"(guessing: 0.500); {values['copies']:.0f} copies; "
        f"{100 * values['near_copy_share']:.1f} % near copies; share nearer to train than to "
        f"held-out series {with_interval(report, 'closer_to_train_share')} (fair: 0.500)."
    )
    if results.generator and results.generator.values.get("white_box_auc_low", 0.0) > 0.5:
        auc = f"white-box attack on it AUC {with_interval(results.generator, 'white_box_auc')}"
        numbers += (
            f" The model may give more away ({auc}), or the two populations differ."
            if populations_differ(report)
            else f" The model gives more away: {auc}."
        )
    rule = (
        "no: a quality flag of privacy is raised, and there are copies, or near copies beyond "
        "chance, or training and held-out series do not surely differ in distribution; "
        f"{NO_LEAK_FOUND}: none is, and the intervals exclude a membership AUC of {LEAK_LIMIT:g} "
        f"and a share nearer to train of {LEAK_LIMIT:g}"
    )
    return Verdict(name, "private", *answer, numbers, rule)


def _sentence(row: Summary) -> str:
    """The difference of a row to real-only training and to the unguided set."""
    assert row.vs_real is not None
    if row.protocol == "TSRTR":
        how = f"Real data plus {row.ratio:g} synthetic per real series (TSRTR)"
    else:
        how = "Synthetic series alone (TSTR)"
    text = f"{how}: {METRICS[row.metric]} {row.vs_real} against {REAL} data alone"
    if row.vs_unguided is not None:
        text += f", {row.vs_unguided} against the unguided set"
    return text + "."
