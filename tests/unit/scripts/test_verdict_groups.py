"""What a gain over all patients must not hide: a group that loses, probabilities that are off."""

import dataclasses

import pytest

from scripts.results.answers import CANNOT_TELL, NO, YES
from scripts.results.verdicts import verdicts
from scripts.utility.subgroups import SubgroupScore
from tests.support.verdict_rows import LOST, difference, generated, row

GAIN = difference(0.01, 0.03, p_holm=0.01)


def compared(protocol, gain, groups, brier=None):
    """Results of one set with one row, and its difference to real-only training in groups."""
    main = dataclasses.replace(row(gain), protocol=protocol)
    rows = (
        [main]
        if brier is None
        else [main, dataclasses.replace(main, metric="brier", vs_real=brier)]
    )
    other = dataclasses.replace(main, generator="other", vs_real=LOST)
    within = [
        SubgroupScore(name, 200, dataclasses.replace(main, vs_real=found))
        for name, found in groups.items()
    ]
    results = generated("guided", GAIN, 1.0)
    return dataclasses.replace(
        results, summaries=rows, subgroups=[*within, SubgroupScore("old", 200, other)]
    )


@pytest.mark.parametrize(
    ("protocol", "groups", "outcome"),
    [
        ("TSRTR", {"women": difference(-0.04, 0.01, p=0.2), "men": GAIN}, YES),
        ("TSRTR", {"women": difference(-0.04, -0.01, p=0.01), "men": GAIN}, NO),
        # Holm: 0.03 of two groups is 0.06
        (
            "TSRTR",
            {"women": difference(-0.04, -0.001, p=0.03), "men": difference(0.0, 0.1, p=0.04)},
            YES,
        ),
        ("TSTR", {"women": difference(-0.04, -0.01, p=0.01)}, YES),  # may lose 0.02
        ("TSTR", {"women": difference(-0.08, -0.03, p=0.01)}, NO),
        ("TSTR", {"women": difference(-0.08, -0.03, p=0.01, p_lost=0.2)}, YES),
    ],
)
def test_a_gain_over_all_patients_hides_no_sure_loss_of_a_group(protocol, groups, outcome):
    found, _ = verdicts(compared(protocol, GAIN, groups))
    assert found.outcome == outcome
    worse = str(groups["women"])
    assert (f"women ({worse})" in found.reason) == (outcome == NO)
    assert (f"women ({worse})" in found.change) == (outcome == NO)


def test_of_several_mixtures_the_largest_decides():
    results = compared("TSRTR", GAIN, {})
    (row_,) = results.summaries
    more = dataclasses.replace(row_, ratio=4.0, vs_real=difference(-0.03, -0.01))
    found, _ = verdicts(dataclasses.replace(results, summaries=[row_, more]))
    assert found.outcome == NO and "plus 4 synthetic" in found.numbers


def test_what_was_no_gain_stays_the_answer_beside_a_group_that_loses():
    open_, _ = verdicts(compared("TSRTR", difference(-0.02, 0.02, p=0.9), {"women": LOST}))
    assert (open_.outcome, "women" in open_.reason) == (CANNOT_TELL, False)


@pytest.mark.parametrize(
    ("low", "p", "said"), [(0.001, 0.01, True), (-0.001, 0.2, False), (0.001, 0.06, False)]
)
def test_usefulness_says_where_probabilities_are_less_accurate(low, p, said):
    error = difference(low, 0.01, p_holm=p)
    found, _ = verdicts(compared("TSRTR", GAIN, {}, error))
    assert found.outcome == YES
    sentence = f"Its probabilities are less accurate (Brier score {error}): recalibrate models."
    assert (sentence in found.numbers) == said


def test_one_seed_does_not_show_that_probabilities_are_less_accurate():
    results = compared("TSRTR", GAIN, {}, difference(0.001, 0.01, p_holm=0.01))
    rows = [dataclasses.replace(summary, num_seeds=1) for summary in results.summaries]
    found, _ = verdicts(dataclasses.replace(results, summaries=rows))
    assert found.outcome == CANNOT_TELL and "less accurate" not in found.numbers
