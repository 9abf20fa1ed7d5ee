"""Verdicts never say more than the intervals do, and say what would change them."""

import dataclasses

import pytest

from scripts.quality.common.metric_report import MetricReport
from scripts.results.answers import CANNOT_TELL, NO, YES
from scripts.results.files import TEXT_WIDTH, verdict_lines
from scripts.results.quality_answers import answer_fidelity, answer_privacy
from scripts.results.results import Results
from scripts.results.useful import answer_addition, answer_substitute, answer_useful
from scripts.results.verdicts import verdicts
from tardiff.influence.retraining_score import RetrainingScore
from tests.support.verdict_rows import LOST, difference, fidelity, generated, privacy, row

NUM_TEST = 400


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        (row(difference(0.002, 0.03)), YES),
        (row(difference(-0.002, 0.03)), CANNOT_TELL),
        (row(difference(-0.02, 0.009)), NO),
        (row(difference(-0.03, -0.01)), NO),
        (row(difference(0.002, 0.03, p_holm=0.2)), CANNOT_TELL),
        (row(difference(0.002, 0.03), seeds=1), CANNOT_TELL),
        (row(difference(-0.02, 0.009), seeds=1), CANNOT_TELL),
    ],
)
def test_an_addition_is_useful_only_if_its_interval_says_so(found, outcome):
    assert answer_addition(found, NUM_TEST).outcome == outcome


@pytest.mark.parametrize(
    ("loss", "seeds", "outcome"),
    [
        (difference(-0.015, 0.01), 5, YES),
        (difference(-0.03, 0.01), 5, CANNOT_TELL),
        (difference(-0.06, -0.021), 5, NO),
        (difference(-0.015, 0.01), 1, CANNOT_TELL),
    ],
)
def test_a_substitute_may_lose_little(loss, seeds, outcome):
    assert answer_substitute(row(loss, seeds=seeds), NUM_TEST).outcome == outcome


@pytest.mark.parametrize(
    ("report", "series", "outcome"),
    [
        (fidelity(), 500, YES),
        (fidelity(), 100, CANNOT_TELL),
        (fidelity(discriminative_collapsed=1.0), 500, CANNOT_TELL),
        (fidelity(half=0.15), 500, CANNOT_TELL),
        (fidelity(auc=0.65, half=0.1), 500, CANNOT_TELL),  # the flag is raised, not surely
        (fidelity(auc=0.8), 500, NO),
        (fidelity(flat_share=0.3), 200, NO),
        (fidelity(flat_share=0.3), 199, CANNOT_TELL),  # chance raises that flag, too
        (fidelity(auc=0.8, flat_share=0.3), 100, NO),
        (fidelity(auc=0.65, half=0.1, flat_share=0.3), 100, CANNOT_TELL),
    ],
)
def test_faithful_needs_silence_that_means_something(report, series, outcome):
    counted = dataclasses.replace(report, values=report.values | {"fewest_series": series})
    assert answer_fidelity(counted).outcome == outcome


def test_labels_that_were_not_compared_are_not_cleared():
    """Of 240 series with an outcome of 1 % the labels can be shuffled unseen."""
    assert answer_fidelity(fidelity(fewest_series=240.0, fewest_of_class=32.0)).outcome == YES
    rare = answer_fidelity(fidelity(fewest_series=240.0, fewest_of_class=2.0))
    assert rare.outcome == CANNOT_TELL and "A class has 2 series" in rare.reason
    assert (
        answer_fidelity(fidelity(auc=0.9, fewest_series=240.0, fewest_of_class=2.0)).outcome == NO
    )


def test_patients_with_one_series_left_count_as_few():
    """Of 400 test series 40 were compared, as those of a patient are alike; or 8 of a class."""
    _, faithful = verdicts(generated("alike", LOST, 1.0, auc=0.5, series=40.0, flat=0.3))
    assert faithful.outcome == CANNOT_TELL and "With 40 series" in faithful.reason
    rare = {"fidelity": {"alike": fidelity(fewest_of_class=8.0)}}
    _, faithful = verdicts(dataclasses.replace(generated("alike", LOST, 1.0), quality=rare))
    assert faithful.outcome == CANNOT_TELL and "A class has 8 series" in faithful.reason


def test_the_flag_is_named_with_its_value_and_threshold():
    found = answer_privacy(privacy(copy_share=0.001))
    assert "it holds training series" in found.reason
    assert found.change == "1 flag must clear: copy_share 0.001 (> real + 0; real 0.000)"
    many = answer_fidelity(
        fidelity(auc=0.9, flat_share=0.3, marginal_sd_ratio_worst=3.0, change_ratio_worst=3.0)
    )
    assert "too narrow or too wide" in many.reason and "and 1 more" in many.reason
    assert many.change.startswith("4 flags must clear")


@pytest.mark.parametrize(
    ("addition", "alone", "spread", "outcome"),
    [
        (difference(-0.002, 0.03), LOST, 1.0, NO),
        (difference(-0.002, 0.03), difference(-0.16, -0.10, p_holm=0.2), 1.0, CANNOT_TELL),
        # Surely below 0, of a family where a loss of 0.02 is not excluded.
        (
            difference(-0.002, 0.03),
            difference(-0.04, -0.021, p_holm=0.001, p_lost=0.1),
            1.0,
            CANNOT_TELL,
        ),
        (difference(-0.002, 0.03), difference(-0.03, 0.01), 1.0, CANNOT_TELL),
        (difference(-0.002, 0.03), difference(-0.03, 0.01), 0.08, NO),  # a collapsed set
        (difference(-0.002, 0.03), None, None, CANNOT_TELL),
        (difference(0.002, 0.03), LOST, 1.0, YES),
        (None, LOST, 1.0, NO),
        (None, difference(-0.03, 0.01), 0.08, NO),
        (None, difference(-0.015, 0.01), 1.0, YES),
    ],
)
def test_a_surely_bad_set_is_not_left_open(addition, alone, spread, outcome):
    rows = [None if found is None else row(found) for found in (addition, alone)]
    answer = answer_useful(*rows, spread, NUM_TEST, 40)
    assert answer.outcome == outcome
    assert bool(answer.change) == (outcome != YES)


def test_few_test_patients_decide_nothing():
    gain = row(difference(0.02, 0.03))
    assert answer_useful(gain, None, 1.0, NUM_TEST, 10).outcome == YES
    few = answer_useful(gain, None, 1.0, NUM_TEST, 9)
    assert few.outcome == CANNOT_TELL and "of 9 patients" in few.reason


@pytest.mark.parametrize("seeds", [1, 5])
def test_models_that_learn_nothing_from_real_data_decide_nothing(seeds):
    """Boosted trees of fewer than 40 series are constant: any set added made them better, and a
    set as small was as good."""
    gained = dataclasses.replace(row(difference(0.4, 0.6), seeds=seeds), mean=1.0)
    lost = dataclasses.replace(row(difference(0.0, 0.0), seeds=seeds), mean=0.5)
    for addition, alone in ((gained, lost), (None, lost)):
        answer = answer_useful(addition, alone, 1.0, NUM_TEST, 50)
        assert answer.outcome == CANNOT_TELL and "predict the same for every" in answer.reason
    found = dataclasses.replace(gained, mean=0.9)
    assert seeds == 1 or answer_useful(found, lost, 1.0, NUM_TEST, 50).outcome == YES


def test_series_of_a_patient_that_are_alike_ask_for_patients():
    alike = privacy(membership_auc=0.7, membership_auc_low=0.66, few_patients=5.0)
    assert answer_privacy(alike).outcome == CANNOT_TELL
    assert answer_privacy(privacy(few_patients=5.0, copies=3.0, copy_share=0.01))[0] == NO
    assert answer_fidelity(fidelity(auc=0.99, few_patients=5.0)).outcome == CANNOT_TELL


def test_noise_and_a_collapsed_set_are_of_no_use():
    """TSTR -0.13, significant after Holm; and a spread ratio of 0.08 with an open TSTR."""
    noise, _ = verdicts(generated("noise", LOST, 1.0))
    assert (noise.question, noise.outcome) == ("useful", NO)
    assert noise.change == "the AUROC loss of 0.130 must fall to 0.02"
    collapsed, _ = verdicts(generated("collapsed", difference(-0.03, 0.01), 0.08))
    assert collapsed.outcome == NO
    assert collapsed.change == "the spread ratio 0.08 must exceed 0.25"


@pytest.mark.parametrize(
    ("score", "said"),
    [
        (
            RetrainingScore(0.30, 0.33, "lstm", 0.25, "auto", -0.02, 0.01),
            "yes (lstm; change of its guidance loss on val_select by w = 0.25: -0.0200 +- 0.0100; "
            "LDS on val_guide +0.30, band of chance +-0.33)",
        ),
        (
            RetrainingScore(0.42, 0.33, "lstm", 0.25, "auto", -0.01, 0.01),
            "no (lstm; change of its guidance loss on val_select by w = 0.25: -0.0100 +- 0.0100; "
            "LDS on val_guide +0.42, band of chance +-0.33)",
        ),
        (
            RetrainingScore(0.42, 0.33, "lstm", 0.0, "auto", 0.0, 0.0),
            "not measured (lstm; no strength is supported; LDS on val_guide +0.42, band of chance "
            "+-0.33)",
        ),
        (None, "not measured (bash scripts/influence.sh <config.yaml> lds=true)"),
    ],
)
def test_usefulness_says_whether_influence_predicts_retraining(score, said):
    alone = difference(-0.03, 0.01)
    guided, _ = verdicts(generated("guided", alone, 1.0, guided=["guided"], retraining=score))
    assert guided.numbers.endswith(f"Influence predicts retraining: {said}.")
    other, _ = verdicts(generated("other", alone, 1.0, guided=["guided"], retraining=score))
    assert "retraining" not in other.numbers


def test_the_number_of_test_series_is_that_of_a_narrow_enough_interval():
    """An interval of half-width 0.02 on 400 series is one of 0.005 on 6,400."""
    found = answer_addition(row(difference(-0.015, 0.025)), 400)
    assert found.change == "about 6,400 test series would decide if +0.005 is true"
    few = answer_addition(row(difference(-0.015, 0.025), seeds=3), 400)
    assert few.change == "about 6,400 test series and 5 seeds would decide if +0.005 is true"
    # Narrow enough to see a gain of 0.01, yet open: 0.0035 lies 0.0065 below a gain worth having.
    large = answer_addition(row(difference(-0.004, 0.011)), 16_354)
    assert large.change.startswith("about 22,000 test series would decide if")
    # Two seeds make the interval ten times as wide; that is no matter of test series.
    wide = dataclasses.replace(difference(-0.2, 0.2), mean=0.0, test_low=-0.02, test_high=0.02)
    two = answer_substitute(row(wide, seeds=2), 400)
    assert two.change == "5 seeds (now 2) would tell it from a loss of 0.02"
    alone = answer_substitute(row(difference(-0.06, 0.0)), 400)  # 0.01 from the limit, half 0.03
    assert alone.change == "about 3,600 test series would tell it from a loss of 0.02"
    ends = "the interval of discriminative_auc ends at {} and must end below 0.6"
    told_apart = fidelity(auc=0.59, half=0.02, discriminative_scored=500)
    answer = answer_fidelity(told_apart)
    assert answer.change.startswith("about 2,000 synthetic and test series would place")
    most = fidelity(auc=0.59, half=0.02, discriminative_scored=8000)  # and no more are scored
    assert answer_fidelity(most).change == ends.format("0.610")
    above = fidelity(auc=0.605, half=0.015, discriminative_scored=8000)
    assert answer_fidelity(above).change == ends.format("0.620")
    attack = privacy(membership_auc=0.55, membership_auc_high=0.65)
    assert (
        answer_privacy(attack).change
        == "about 800 training and 1,600 held-out series would exclude 0.6"
    )


def test_one_seed_of_a_substitute_loses_nothing_surely():
    alone = row(difference(-0.16, -0.10, p_holm=0.01), seeds=1)
    answer = answer_useful(row(difference(-0.002, 0.03)), alone, 1.0, NUM_TEST, 40)
    assert answer.outcome == CANNOT_TELL


SHARES = [f"closer_to_train_share{end}" for end in ("", "_low", "_high")]


def evaluated(name, copies, **near):
    """An evaluation whose numbers leave usefulness open, and find nothing else but unlikeness."""
    ends = ("", "_low", "_reference", "_reference_high")
    shares = {f"near_copy_share{end}" for end in ends}
    report = privacy(**dict.fromkeys(shares, 0.0), **near)
    quality = {
        "fidelity": {
            name: fidelity(auc=0.9, marginal_sd_ratio_worst=3.0, frechet=9.0, frechet_reference=1.0)
        },
        "privacy": {name: report},
    }
    counts = {"train": [900, 100], "test": [360, 40]}
    return Results(
        provenance={
            "synthetic_series_per_class": {name: [900, 100]},
            "real_series_per_class": counts,
            "members": ["train", "val_guide"],
            "fewest_test_patients": 40,
            "same_as_unguided": ["guided"],
            "held_out_copies": copies,
        },
        predictions={},
        summaries=[dataclasses.replace(row(difference(-0.015, 0.025)), generator=name)],
        quality=quality,
    )


@pytest.mark.parametrize("low", [0.49, 0.66])
def test_no_leak_of_the_set_does_not_hide_what_the_model_gives_away(low):
    names = ("white_box_auc", "white_box_auc_low", "white_box_auc_high")
    model = MetricReport(values=dict(zip(names, (0.685, low, 0.711), strict=True)))
    results = dataclasses.replace(evaluated("unguided", {}), generator=model)
    (private,) = [verdict for verdict in verdicts(results) if verdict.question == "private"]
    assert private.reason == "No attack on the set found a leak; that is no guarantee."
    more = f" The model gives more away: white-box attack on it AUC 0.685 [{low:.3f}, 0.711]."
    assert private.numbers.endswith(more if low > 0.5 else "(fair: 0.500).")


def test_test_series_of_another_population_may_be_why_the_model_loses_less_on_train():
    names = ("white_box_auc", "white_box_auc_low", "white_box_auc_high")
    model = MetricReport(values=dict(zip(names, (0.685, 0.66, 0.711), strict=True)))
    apart = {"train_closer_to_train_low": 0.55, "train_closer_to_train_high": 0.6}
    results = dataclasses.replace(evaluated("unguided", {}, **apart), generator=model)
    numbers = verdicts(results)[-1].numbers
    assert "The model may give more away (white-box" in numbers and "populations differ" in numbers


def test_a_set_that_holds_its_test_series_gets_no_other_verdict():
    name = "leaked"
    found = verdicts(evaluated(name, {name: {"val_select": 2, "test": 1200}}))
    assert [verdict.outcome for verdict in found] == [CANNOT_TELL, CANNOT_TELL, NO]
    told = "It holds copies of 2 selection series and 1,200 test series."
    assert {verdict.reason for verdict in found} == {told}


def test_a_leak_that_was_found_stays_found_beside_test_series():
    near = dict(zip(SHARES, (0.2, 0.15, 0.25), strict=True))
    found = verdicts(evaluated("leaked", {}, **near, copy_share=0.1))
    useful, faithful, private = (verdict.outcome for verdict in found)
    assert (useful, faithful, private) == (CANNOT_TELL, CANNOT_TELL, NO)
    assert "it holds training series" in found[2].reason
    assert "It is nearer to test series than" in found[2].numbers


def test_a_set_nearer_to_its_test_series_gets_no_other_verdict():
    near = dict(zip(SHARES, (0.2, 0.15, 0.25), strict=True))
    found = verdicts(evaluated("leaked", {}, **near))
    assert [verdict.outcome for verdict in found] == [CANNOT_TELL] * 3
    assert all("It is nearer to test series than" in verdict.reason for verdict in found)


def test_the_terminal_shows_one_line_a_verdict():
    name = "a_set_with_quite_a_long_name_as_files_have"
    results = evaluated(name, {})
    *lines, last = verdict_lines(results).splitlines()
    assert last == "guided: the same series as unguided"
    assert [line.split("? ")[1].split(";")[0] for line in lines] == [
        "CANNOT TELL",
        "NO",
        "NO LEAK FOUND",
    ]
    assert all(line.startswith(name) and len(line) <= TEXT_WIDTH for line in lines)
    assert "6,400 test series" in lines[0]


def test_a_long_name_does_not_cut_the_answer():
    name = 110 * "x"
    lines = verdict_lines(evaluated(name, {})).splitlines()
    assert lines[1].startswith(f"{name}: faithful? NO") and lines[1].endswith(" ...")
