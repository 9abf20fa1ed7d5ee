"""Answers on utility, fidelity and privacy: the rules, their thresholds and what would change them.

The thresholds of the quality flags are at their metrics; docs/metrics.md argues all of them. "No"
needs evidence as "yes" does. What the data cannot decide is "cannot tell". Both say, with a number,
what would change them.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from scripts.quality.common.comparison import FEW_PATIENTS, MIN_SERIES
from scripts.quality.common.metric_report import MetricReport, number
from scripts.quality.common.registry import MEMBERS, QualityFlag, raised_flags
from scripts.quality.fidelity.discriminative import (
    CONTROL_AUC,
    DISCRIMINATIVE_MARGIN,
    MAX_SCORED,
)
from scripts.quality.privacy.membership import MAX_ROWS as MAX_ATTACKED
from scripts.utility.bootstrap import CORRECTED_LEVEL, LARGEST_LOSS, Difference
from scripts.utility.summary import Summary
from tardiff.influence.retraining_score import RetrainingScore

YES, NO, CANNOT_TELL = "yes", "no", "cannot tell"
NO_LEAK_FOUND = "no leak found"  # the best that attacks can say: privacy is not proven by trying

SMALLEST_GAIN = 0.01  # of AUROC: an addition whose gain is surely smaller is not useful
ENOUGH_SEEDS = 5
FEWEST_PATIENTS = 10  # of each class: from 8 in all, 13 % of level models differ "significantly"
COLLAPSED = 0.25  # spread of the worst channel : the real one, below which a set is of no use
FEWEST_SERIES = 200  # in each set; with fewer, fidelity flags and their absence mean little
MEMBERSHIP_LIMIT = 0.6  # AUC of an attack that the interval must exclude
CLOSER_LIMIT = 0.6  # share nearer to train than to held-out series, likewise
MOST_NAMED = 3  # quality flags in a sentence
SMALLEST_STEP = 0.001  # a distance to a limit that more series can resolve

MOST_TRIALS = 100  # times those at hand: more cannot be asked for

_SUSPECTED = {
    "membership_auc": "No leak is sure, so no quality flag is raised; but an attack on the "
    "training series may work.",
    "closer_to_train_share": "No leak is sure, so no quality flag is raised; but series may be "
    "nearer to train than chance.",
}
_NOT_EXCLUDED = {
    "membership_auc": "No leak was found, but there are too few series to exclude an "
    f"attack of AUC {MEMBERSHIP_LIMIT:g}.",
    "closer_to_train_share": "No leak was found, but series may yet be nearer to train than "
    "chance.",
}

DISCRIMINATE = "discriminative_auc"
SCORED = "discriminative_scored"


class Answer(NamedTuple):
    """Outcome, one sentence why, and what would change it ("" where nothing has to)."""

    outcome: str
    reason: str
    change: str = ""


def answer_addition(row: Summary, num_test: int) -> Answer:
    """Answer for real training data with the set added (a TSRTR row).

    Args:
        num_test: real test series.
    """
    gain = row.vs_real
    assert gain is not None
    if row.num_seeds == 1:
        return _one_seed()
    missing = f"AUROC of the gain must rise by {SMALLEST_GAIN - gain.mean:.3f}"
    if gain.high < 0:
        return Answer(NO, "Adding it to the real data makes models worse.", missing)
    if (real := row.mean - gain.mean) > 1 - SMALLEST_GAIN:
        reason = f"Models trained on real data have AUROC {real:.3f}: nothing is left to gain."
        return Answer(NO, reason, f"a task of AUROC below {1 - SMALLEST_GAIN:g} is needed")
    if gain.high < SMALLEST_GAIN:
        reason = f"Adding it to the real data gains less than {SMALLEST_GAIN:g} of AUROC."
        return Answer(NO, reason, missing)
    if gain.low > 0 and gain.survives_correction:
        return Answer(YES, "Adding it to the real data makes models better.")
    if gain.low > 0:
        reason = "The gain does not survive the correction for the number of sets."
        return Answer(
            CANNOT_TELL,
            reason,
            f"corrected p = {gain.corrected_p:.3f} must be < {CORRECTED_LEVEL:g}",
        )
    reason = "The interval of the gain includes both 0 and a gain worth having."
    # The nearer end: the interval leaves out 0, or a gain worth having.
    distance = max(gain.mean, SMALLEST_GAIN - gain.mean)
    needed = _more_data(num_test, gain, distance, row.num_seeds)
    return Answer(CANNOT_TELL, reason, f"{needed} would decide if {gain.mean:+.3f} is true")


def answer_substitute(row: Summary, num_test: int) -> Answer:
    """Answer for a set that stands in for real data (a TSTR row); arguments as above."""
    loss = row.vs_real
    assert loss is not None
    if row.num_seeds == 1:
        return _one_seed()
    if loss.high < -LARGEST_LOSS:
        reason = "Models trained on it alone are clearly worse than models trained on real data."
        return Answer(
            NO, reason, f"the AUROC loss of {-loss.mean:.3f} must fall to {LARGEST_LOSS:g}"
        )
    if loss.low > -LARGEST_LOSS:
        return Answer(YES, "Models trained on it alone are as good as models trained on real data.")
    reason = "How much models lose that are trained on it alone is not known well enough."
    needed = _more_data(num_test, loss, abs(loss.mean + LARGEST_LOSS), row.num_seeds)
    return Answer(CANNOT_TELL, reason, f"{needed} would tell it from a loss of {LARGEST_LOSS:g}")


def surely_lost(row: Summary) -> bool:
    """Whether models trained on the set alone lose more than LARGEST_LOSS, also after Holm."""
    loss = row.vs_real
    if loss is None or row.num_seeds == 1:
        return False
    return loss.high < -LARGEST_LOSS and loss.p_lost < CORRECTED_LEVEL


def answer_useful(
    addition: Summary | None,
    alone: Summary | None,
    spread: float | None,
    num_test: int,
    few: int,
) -> Answer:
    """Answer from the addition where there is one, else from the substitute.

    A set that is surely bad by itself is not left open: it is of no use unless it was shown to be
    a good addition.

    Args:
        spread: smallest standard deviation of a channel : the real one; None: not measured.
        few: test patients in the class that has fewest.
    """
    row = addition or alone
    assert row is not None
    if few < FEWEST_PATIENTS:
        reason = f"The test series of a class are of {few} patients, too few to speak for others."
        return Answer(CANNOT_TELL, reason, f"{FEWEST_PATIENTS} of each class are needed")
    answer = (answer_substitute if addition is None else answer_addition)(row, num_test)
    if answer.outcome == YES:
        return answer
    if addition is not None and alone is not None and surely_lost(alone):
        reason = answer_substitute(alone, num_test)
        return Answer(NO, f"{reason.reason} No gain as an addition was shown.", reason.change)
    if spread is not None and spread < COLLAPSED and answer.outcome == CANNOT_TELL:
        reason = f"The set has collapsed: a channel has {spread:.2f} times the real spread."
        return Answer(NO, reason, f"the spread ratio {spread:.2f} must exceed {COLLAPSED:g}")
    return answer


def predicts_retraining(found: RetrainingScore | None) -> str:
    """What guidance rests on, in one sentence."""
    if found is None:
        answer = "not measured (bash scripts/influence.sh <config.yaml> lds=true)"
    else:
        tested = YES if found.predicts else NO
        answer = f"{tested if found.w else 'not measured'} ({found.model}; {found})"
    return f"Influence predicts retraining: {answer}."


def answer_fidelity(report: MetricReport, series: int) -> Answer:
    """Answer about likeness.

    Args:
        series: in the smallest of the sets compared.
    """
    values, flags = report.values, raised_flags(report.values)
    if FEW_PATIENTS in values:
        return _few_patients(values)
    limit = values[f"{DISCRIMINATE}_reference"] + DISCRIMINATIVE_MARGIN
    sure, few = values[f"{DISCRIMINATE}_low"] > limit, series < FEWEST_SERIES
    # The other flags have no interval: of few series chance raises one in honest sets, too.
    decisive = [flag for flag in flags if (sure if flag.metric == DISCRIMINATE else not few)]
    if decisive:
        reason = f"It differs from real series: {_named(decisive)}."
        return Answer(NO, reason, _clear(decisive, values))
    if few:
        reason = f"With {series} series the absence of quality flags means little."
        if flags:
            reason = f"With {series} series chance raises quality flags, too ({_named(flags)})."
        return Answer(CANNOT_TELL, reason, f"{FEWEST_SERIES} series in each set are needed")
    if values["discriminative_collapsed"]:
        reason = "The classifier that should distinguish it from real series does not work here."
        return Answer(
            CANNOT_TELL, reason, f"its control AUC must reach {CONTROL_AUC:g}: more series"
        )
    high = values[f"{DISCRIMINATE}_high"]
    if high > limit:
        reason = "No quality flag is certain, but a classifier may distinguish it from real series."
        auc, scored = values[DISCRIMINATE], round(values[SCORED])
        needed = _needed(scored, high - auc, abs(limit - auc))
        change = f"about {needed:,} synthetic and test series would place its AUC below or above "
        change += f"{limit:.2f}"
        if needed > MAX_SCORED:  # which are not looked at
            further = "further " if auc < limit else ""
            change = f"its AUC {auc:.3f} must fall {further}below {limit:.2f}"
        return Answer(CANNOT_TELL, reason, change)
    return Answer(YES, "None of the defects looked for was found.")


def not_attacked(members: Sequence[str]) -> str:
    """The series that a generator sees and no attack was made on; "" where there are none."""
    return " and ".join(MEMBERS[split] for split in MEMBERS if split not in members)


def answer_privacy(report: MetricReport, members: Sequence[str] = tuple(MEMBERS)) -> Answer:
    """Answer about leaks.

    Args:
        members: splits that were attacked; no others can be cleared.
    """
    values, flags = report.values, raised_flags(report.values)
    unknown = not_attacked(members)
    if FEW_PATIENTS in values and not values["copies"]:
        return _few_patients(values)
    if flags:
        whose = f" {MEMBERS[members[0]]}" if unknown else ""
        return Answer(NO, f"It leaks{whose}: {_named(flags)}.", _clear(flags, values))
    if report.remarks:
        reason = "The comparison itself is in doubt (see the remarks below)."
        return Answer(CANNOT_TELL, reason, f"remarks to resolve: {len(report.remarks)}")
    limits = {"membership_auc": MEMBERSHIP_LIMIT, "closer_to_train_share": CLOSER_LIMIT}
    unsure = {name: limit for name, limit in limits.items() if values[f"{name}_high"] >= limit}
    if above := next((name for name, limit in unsure.items() if values[name] >= limit), None):
        return Answer(CANNOT_TELL, _SUSPECTED[above], _must_end(above, values, unsure[above]))
    if unsure:
        trials = round(values["closer_to_train_effective_trials"])
        attacked = round(values["membership_members"])
        counted = {"membership_auc": attacked, "closer_to_train_share": trials}
        most = {"membership_auc": MAX_ATTACKED, "closer_to_train_share": MOST_TRIALS * trials}
        needed = {
            name: _needed(
                counted[name], values[f"{name}_high"] - values[name], limit - values[name]
            )
            for name, limit in unsure.items()
        }
        name = max(needed, key=lambda name: needed[name] / counted[name])
        what = f"training and {2 * needed[name]:,} held-out series"
        if name != "membership_auc":
            what = f"independent trials (now {trials:,}; more synthetic and real series)"
        change = f"about {needed[name]:,} {what} would exclude {unsure[name]:g}"
        if needed[name] > most[name]:
            change = _must_end(name, values, unsure[name])
        return Answer(CANNOT_TELL, _NOT_EXCLUDED[name], change)
    if unknown:
        known = MEMBERS[members[0]]
        reason = f"No attack found a leak of the {known}; the {unknown} were not attacked."
        return Answer(CANNOT_TELL, reason, f"only test stays like the {unknown} tell of them")
    return Answer(NO_LEAK_FOUND, "None of the attacks found a leak; that is no guarantee.")


def _must_end(metric: str, values: dict[str, float], limit: float) -> str:
    high = values[f"{metric}_high"]
    digits = next((d for d in range(3, 9) if round(high, d) != limit), 3)  # 0.600 is not above 0.6
    return f"the interval of {metric} ends at {high:.{digits}f} and must end below {limit:g}"


def _few_patients(values: dict[str, float]) -> Answer:
    reason = "Series of one patient are alike, and there are few patients to compare with."
    change = (
        f"{MIN_SERIES} patients in train and in test are needed (now {values[FEW_PATIENTS]:.0f})"
    )
    return Answer(CANNOT_TELL, reason, change)


def _one_seed() -> Answer:
    reason = "One seed does not show how much fits vary."
    return Answer(CANNOT_TELL, reason, f"give {ENOUGH_SEEDS} evaluation.seeds (now 1)")


def _half(difference: Difference, seeds: int) -> float:
    """Half-width of the interval; over the test series alone where more seeds are asked for too,
    since few seeds widen the whole interval in a way that no test series mend."""
    if seeds < ENOUGH_SEEDS:
        return (difference.test_high - difference.test_low) / 2
    return (difference.high - difference.low) / 2


def _more_data(count: int, difference: Difference, distance: float, seeds: int) -> str:
    """Test series, seeds or both that make the interval as narrow as `distance`."""
    needed = _needed(count, _half(difference, seeds), distance)
    series = f"about {needed:,} test series"
    if seeds >= ENOUGH_SEEDS:
        return series
    more = f"{ENOUGH_SEEDS} seeds"
    return f"{series} and {more}" if needed > count else f"{more} (now {seeds})"


def _needed(count: int, half_width: float, distance: float) -> int:
    """How many series make an interval of `half_width` as narrow as `distance`, two digits.

    Half-widths fall with the square root of the number of series.
    """
    needed = count * (half_width / max(distance, SMALLEST_STEP)) ** 2
    digits = max(0, math.floor(math.log10(max(needed, 1))) - 1)
    return math.ceil(needed / 10**digits - 1e-6) * 10**digits


def _named(flags: Sequence[QualityFlag]) -> str:
    """What the first flags mean, and how many more there are."""
    text = "; ".join(flag.meaning for flag in flags[:MOST_NAMED])
    more = len(flags) - MOST_NAMED
    return text if more <= 0 else f"{text}; and {more} more (all in the table of quality flags)"


def _clear(flags: Sequence[QualityFlag], values: dict[str, float]) -> str:
    first = flags[0]
    count = "1 flag must clear:" if len(flags) == 1 else f"{len(flags)} flags must clear, e.g."
    real = values.get(f"{first.metric}_reference")
    reference = "" if real is None else f"; real {number(real)}"
    return f"{count} {first.metric} {number(values[first.metric])} ({first.threshold}{reference})"
