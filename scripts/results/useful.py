"""Is a set useful? The rules for a set that is added to real data or stands in for them."""

from collections.abc import Mapping

from scripts.results.answers import CANNOT_TELL, ENOUGH_SEEDS, NO, YES, Answer, series_and_seeds
from scripts.utility.bootstrap import CORRECTED_LEVEL, LARGEST_LOSS, Difference, holm
from scripts.utility.summary import Summary
from tardiff.influence.retraining_score import RetrainingScore

SMALLEST_GAIN = 0.01  # of AUROC: an addition whose gain is surely smaller is not useful
FEWEST_PATIENTS = 10  # of each class: from 8 in all, 13 % of level models differ "significantly"
EQUAL = 1e-9  # of AUROC: rounding
COLLAPSED = 0.25  # spread of the worst channel : the real one, below which a set is of no use


def answer_addition(row: Summary, num_test: int) -> Answer:
    """Answer for real training data with the set added (a TSRTR row).

    Args:
        num_test: real test series.
    """
    gain = row.vs_real
    assert gain is not None
    if row.num_seeds == 1:
        return _one_seed()
    missing = f"the gain of AUROC must rise by {SMALLEST_GAIN - gain.mean:.3f}"
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
    needed = series_and_seeds(num_test, gain, distance, row.num_seeds)
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
    needed = series_and_seeds(num_test, loss, abs(loss.mean + LARGEST_LOSS), row.num_seeds)
    return Answer(CANNOT_TELL, reason, f"{needed} would tell it from a loss of {LARGEST_LOSS:g}")


def surely_lost(row: Summary) -> bool:
    """Whether models trained on the set alone lose more than LARGEST_LOSS, also after Holm."""
    loss = row.vs_real
    if loss is None or row.num_seeds == 1:
        return False
    return loss.high < -LARGEST_LOSS and loss.p_lost < CORRECTED_LEVEL


def answer_useful(
    addition: Summary | None, alone: Summary | None, spread: float | None, num_test: int, few: int
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
    # Exactly 0.5 is of equal predictions: boosted trees need 40 series for their first split.
    if row.vs_real is not None and abs(row.mean - row.vs_real.mean - 0.5) < EQUAL:
        reason = "Models trained on real data alone predict the same for every test series."
        needed = "more real training series, or another of evaluation.models, such as rocket,"
        return Answer(CANNOT_TELL, reason, f"{needed} must learn something")
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


def unless_a_group_loses(
    answer: Answer, groups: Mapping[str, Difference], *, allowed: float
) -> Answer:
    """The answer, or no where a yes over all patients goes with a sure loss within a group.

    Args:
        groups: AUROC minus that of real-only training among the patients of each group.
        allowed: loss that a yes may hide, 0 or LARGEST_LOSS.
    """
    found = [d.p_lost if allowed else d.corrected_p for d in groups.values()]
    worse = [
        f"{name} ({difference})"
        for (name, difference), p in zip(groups.items(), holm(found), strict=True)
        if difference.high < -allowed and p < CORRECTED_LEVEL
    ]
    if answer.outcome != YES or not worse:
        return answer
    reason = f"{answer.reason} Not so for {' and '.join(worse)}: there they are surely worse."
    return Answer(NO, reason, f"models must not surely lose for {worse[0]}")


def predicts_retraining(found: RetrainingScore | None) -> str:
    """What guidance rests on, in one sentence."""
    if found is None:
        answer = "not measured (bash scripts/influence.sh <config.yaml> lds=true)"
    else:
        tested = YES if found.predicts else NO
        answer = f"{tested if found.w else 'not measured'} ({found.model}; {found})"
    return f"Influence predicts retraining: {answer}."


def _one_seed() -> Answer:
    reason = "One seed does not show how much fits vary."
    return Answer(CANNOT_TELL, reason, f"give {ENOUGH_SEEDS} evaluation.seeds (now 1)")
