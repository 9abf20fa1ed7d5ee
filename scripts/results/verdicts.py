"""Is a set useful, faithful, private? Yes, no, or cannot tell, each from numbers with intervals.

Of privacy the best answer is "no leak found". All thresholds of the verdicts are here, those of the
alarms in scripts/quality/thresholds.py; docs/metrics.md argues them. "No" needs evidence as "yes"
does: what the data cannot decide is said to be open.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from scripts.quality.common.metric_report import MetricReport
from scripts.quality.suite import FIDELITY, PRIVACY
from scripts.quality.thresholds import ALARMS
from scripts.results.results import Findings
from scripts.results.tables import TITLES, alarms_of, with_interval
from scripts.utility.bootstrap import Difference
from scripts.utility.protocols import REAL
from scripts.utility.summary import Summary

YES, NO, CANNOT_TELL = "yes", "no", "cannot tell"
NO_LEAK_FOUND = "no leak found"  # the best that attacks can say: privacy is not proven by trying
QUESTIONS = ("useful", "faithful", "private")

DECIDING_METRIC = "auroc"
SMALLEST_GAIN = 0.01  # of AUROC: an addition whose gain is surely smaller is not useful
LARGEST_LOSS = 0.02  # of AUROC: a substitute for real data may surely lose no more
LEVEL = 0.05  # of the corrected p-value that a gain needs
FEWEST_STAYS = 200  # in each set, for the silence of the fidelity alarms to mean something
DISCRIMINATIVE_MARGIN = 0.1  # AUC above that of real stays, as in the alarm
MEMBERSHIP_LIMIT = 0.6  # AUC of an attack that the interval must exclude
CLOSER_LIMIT = 0.6  # share nearer to train than to held-out stays, likewise
MOST_NAMED = 3  # alarms in a sentence

DISCRIMINATE = "discriminative_auc"
MEANINGS = {alarm.metric: alarm.meaning for alarm in ALARMS}


@dataclass(frozen=True)
class Verdict:
    """One answer about one set.

    Attributes:
        name: of the set.
        question: one of QUESTIONS.
        outcome: YES, NO or CANNOT_TELL; of privacy NO_LEAK_FOUND in place of YES.
        reason: one plain sentence.
        numbers: what it rests on, with intervals.
        decided_by: the rule that decided, and its thresholds.
    """

    name: str
    question: str
    outcome: str
    reason: str
    numbers: str
    decided_by: str


def verdicts(findings: Findings) -> list[Verdict]:
    """For every set, the questions that the evaluation has numbers for."""
    found = []
    for name in findings.sets:
        found.append(_useful(findings, name))
        for kind, judge in ((FIDELITY, _faithful), (PRIVACY, _private)):
            if name in findings.scores.get(kind, {}):
                found.append(judge(findings, name, findings.scores[kind][name]))
    return [verdict for verdict in found if verdict is not None]


def _useful(findings: Findings, name: str) -> Verdict | None:
    rows = [
        s
        for s in findings.summaries
        if (s.generator, s.metric, s.model) == (name, DECIDING_METRIC, findings.models[0])
    ]
    mixed = [row for row in rows if row.protocol == "TSRTR" and row.vs_real]
    alone = [row for row in rows if row.protocol == "TSTR" and row.vs_real]
    largest = sorted(mixed, key=lambda s: s.ratio or 0.0)[-1:]
    if largest:
        outcome, reason = judge_addition(largest[0])
        rule = (
            f"yes: the gain's interval excludes 0, also after Holm's correction, over several "
            f"seeds; no: the interval excludes a gain of {SMALLEST_GAIN:g}"
        )
    elif alone:
        outcome, reason = judge_substitute(alone[0])
        rule = f"the interval of the loss lies on one side of {LARGEST_LOSS:g}"
    else:
        return None
    numbers = " ".join(map(_compared, largest + alone))
    return Verdict(name, "useful", outcome, reason, numbers, rule)


def judge_addition(row: Summary) -> tuple[str, str]:
    """Outcome and reason for a set that is added to real data (a TSRTR row)."""
    gain = row.vs_real
    assert gain is not None
    if row.num_seeds == 1:
        return CANNOT_TELL, "One seed does not show how much fits vary."
    if gain.high < 0:
        return NO, "Adding it to the real data makes models worse."
    if gain.high < SMALLEST_GAIN:
        return NO, f"Adding it to the real data gains less than {SMALLEST_GAIN:g} of AUROC."
    corrected = gain.p if gain.p_holm is None else gain.p_holm
    if gain.low > 0 and corrected < LEVEL:
        if row.vs_steps is not None and row.vs_steps.low <= 0:
            return CANNOT_TELL, "The gain over real data may be owed to the longer training alone."
        return YES, "Adding it to the real data makes models better."
    if gain.low > 0:
        return CANNOT_TELL, "The gain does not survive the correction for many comparisons."
    return CANNOT_TELL, "The interval of the gain holds both none and one worth having."


def judge_substitute(row: Summary) -> tuple[str, str]:
    """Outcome and reason for a set that stands in for real data (a TSTR row)."""
    loss = row.vs_real
    assert loss is not None
    if row.num_seeds == 1:
        return CANNOT_TELL, "One seed does not show how much fits vary."
    if loss.high < -LARGEST_LOSS:
        return NO, "Models that see it alone are clearly worse than models trained on real data."
    if loss.low > -LARGEST_LOSS:
        return YES, "Models that see it alone are as good as models trained on real data."
    return CANNOT_TELL, "How much models lose that see it alone is not known well enough."


def judge_fidelity(report: MetricReport, stays: int) -> tuple[str, str]:
    """Outcome and reason.

    Args:
        stays: in the smallest of the sets compared.
    """
    values, fired = report.values, alarms_of(report)
    limit = values.get(f"{DISCRIMINATE}_reference", 0.5) + DISCRIMINATIVE_MARGIN
    firm = [m for m in fired if m != DISCRIMINATE or values[f"{DISCRIMINATE}_low"] > limit]
    if firm:
        return NO, f"It differs from real stays: {_alarms(fired)}."
    if stays < FEWEST_STAYS:
        return CANNOT_TELL, f"{stays} stays are too few for silent alarms to mean much."
    if values.get("discriminative_collapsed"):
        return CANNOT_TELL, "The classifier that should tell it from real stays does not work here."
    if values.get(f"{DISCRIMINATE}_high", 1.0) > limit:
        return CANNOT_TELL, "No alarm fires firmly, but a classifier may tell it from real stays."
    return YES, "None of the defects looked for was found."


def judge_privacy(report: MetricReport) -> tuple[str, str]:
    """Outcome and reason."""
    values, fired = report.values, alarms_of(report)
    if fired:
        return NO, f"It leaks: {_alarms(fired)}."
    if report.flags:
        return CANNOT_TELL, "The comparison itself is in doubt (see the remarks below)."
    if values["membership_auc_high"] >= MEMBERSHIP_LIMIT:
        return CANNOT_TELL, (
            f"No leak was found, but too few held-out stays to exclude an attack of AUC "
            f"{MEMBERSHIP_LIMIT:g}."
        )
    if values["closer_to_train_share_high"] >= CLOSER_LIMIT:
        return CANNOT_TELL, "No leak was found, but series may yet be nearer to train than chance."
    return NO_LEAK_FOUND, "None of the attacks found a leak; that is no guarantee."


def compared(difference: Difference) -> str:
    """ "+0.010 [-0.005, +0.024]"."""
    return f"{difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def _faithful(findings: Findings, name: str, report: MetricReport) -> Verdict:
    facts = findings.facts
    counts = [
        facts["synthetic_stays_per_class"][name],
        *(facts["real_stays_per_class"][split] for split in ("train", "test")),
    ]
    outcome, lead = judge_fidelity(report, min(map(sum, counts)))
    values = report.values
    told = (
        f"A classifier tells it from held-out stays with AUC {with_interval(report, DISCRIMINATE)} "
        f"(real stays: {values[f'{DISCRIMINATE}_reference']:.3f}). The spread of the worst channel "
        f"is {values['marginal_sd_ratio_worst']:.2f} times the real one."
    )
    rule = (
        f"no: an alarm of fidelity fires; yes: none does, with {FEWEST_STAYS} stays or more, and "
        f"the AUC's interval ends below real stays + {DISCRIMINATIVE_MARGIN:g}"
    )
    return Verdict(name, "faithful", outcome, lead, told, rule)


def _private(findings: Findings, name: str, report: MetricReport) -> Verdict:
    outcome, lead = judge_privacy(report)
    values = report.values
    told = (
        f"The strongest membership attack has AUC {with_interval(report, 'membership_auc')} "
        f"(blind: 0.500); {values['exact_copies']:.0f} exact copies; "
        f"{100 * values['near_copy_share']:.1f} % near copies; share nearer to train than to "
        f"held-out stays {with_interval(report, 'closer_to_train_share')} (fair: 0.500)."
    )
    rule = (
        f"no: an alarm of privacy fires; {NO_LEAK_FOUND}: none does, and the intervals exclude a "
        f"membership AUC of {MEMBERSHIP_LIMIT:g} and a share nearer to train of {CLOSER_LIMIT:g}"
    )
    return Verdict(name, "private", outcome, lead, told, rule)


def _compared(row: Summary) -> str:
    """A sentence per row: the difference to real-only training and to the unguided set."""
    assert row.vs_real is not None
    metric = TITLES[row.metric]
    if row.protocol == "TSRTR":
        how = f"Real data plus {row.ratio:g} synthetic per real stay (TSRTR)"
    else:
        how = "Synthetic stays alone (TSTR)"
    text = f"{how}: {metric} {compared(row.vs_real)} against {REAL} data alone"
    if row.vs_unguided is not None:
        text += f", {compared(row.vs_unguided)} against the unguided set"
    return text + "."


def _alarms(fired: Sequence[str]) -> str:
    """What the first alarms mean, and how many more there are."""
    text = "; ".join(MEANINGS[metric] for metric in fired[:MOST_NAMED])
    more = len(fired) - MOST_NAMED
    return text if more <= 0 else f"{text}; and {more} more (all in the table of alarms)"
