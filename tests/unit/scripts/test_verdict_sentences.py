"""Every verdict word by word: outcome, reason, and what would change it."""

import dataclasses

import pytest

from scripts.results.answers import CANNOT_TELL, NO, NO_LEAK_FOUND, YES
from scripts.results.quality_answers import answer_fidelity, answer_privacy
from scripts.results.useful import answer_addition, answer_substitute, answer_useful
from tests.support.verdict_rows import LOST, difference, fidelity, privacy, row

MORE = "The interval of the gain includes both 0 and a gain worth having."
MAY = "No quality flag is certain, but a classifier may distinguish it from real series."
UNSURE = "No leak is sure, so no quality flag is raised; but"
ALONE = "Models trained on it alone are"
ALIKE = "Series of one patient are alike, and there are few patients to compare with."
ENOUGH = "20 patients in train and in test are needed (now 5)"


@pytest.mark.parametrize(
    ("ask", "outcome", "reason", "change"),
    [
        (
            lambda: answer_addition(row(difference(0.002, 0.03)), 400),
            YES,
            "Adding it to the real data makes models better.",
            "",
        ),
        (
            lambda: answer_addition(row(difference(-0.002, 0.03)), 400),
            CANNOT_TELL,
            MORE,
            "about 530 test series would decide if +0.014 is true",
        ),
        (
            lambda: answer_addition(row(difference(-0.02, 0.009)), 400),
            NO,
            "Adding it to the real data gains less than 0.01 of AUROC.",
            "the gain of AUROC must rise by 0.015",
        ),
        (
            lambda: answer_addition(row(difference(-0.03, -0.01)), 400),
            NO,
            "Adding it to the real data makes models worse.",
            "the gain of AUROC must rise by 0.030",
        ),
        (
            lambda: answer_addition(row(difference(0.002, 0.03, p_holm=0.2)), 400),
            CANNOT_TELL,
            "The gain does not survive the correction for the number of sets.",
            "corrected p = 0.200 must be < 0.05",
        ),
        (
            lambda: answer_addition(row(difference(0.002, 0.03), seeds=1), 400),
            CANNOT_TELL,
            "One seed does not show how much fits vary.",
            "give 5 evaluation.seeds (now 1)",
        ),
        (
            lambda: answer_substitute(row(difference(-0.015, 0.01)), 400),
            YES,
            f"{ALONE} as good as models trained on real data.",
            "",
        ),
        (
            lambda: answer_substitute(row(difference(-0.03, 0.01)), 400),
            CANNOT_TELL,
            "How much models lose that are trained on it alone is not known well enough.",
            "about 1,600 test series would tell it from a loss of 0.02",
        ),
        (
            lambda: answer_substitute(row(difference(-0.06, -0.021)), 400),
            NO,
            f"{ALONE} clearly worse than models trained on real data.",
            "the AUROC loss of 0.041 must fall to 0.02",
        ),
        (
            lambda: answer_useful(row(difference(0.02, 0.03)), None, 1.0, 400, 9),
            CANNOT_TELL,
            "The test series of a class are of 9 patients, too few to speak for others.",
            "10 of each class are needed",
        ),
        (
            lambda: answer_useful(row(difference(-0.002, 0.03)), row(LOST), 1.0, 400, 40),
            NO,
            f"{ALONE} clearly worse than models trained on real data. "
            "No gain as an addition was shown.",
            "the AUROC loss of 0.130 must fall to 0.02",
        ),
        (
            lambda: answer_useful(
                row(difference(-0.002, 0.03)), row(difference(-0.03, 0.01)), 0.08, 400, 40
            ),
            NO,
            "The set has collapsed: a channel has 0.08 times the real spread.",
            "the spread ratio 0.08 must exceed 0.25",
        ),
        (
            lambda: answer_fidelity(fidelity()),
            YES,
            "None of the defects looked for was found.",
            "",
        ),
        (
            lambda: answer_fidelity(fidelity(fewest_series=100.0)),
            CANNOT_TELL,
            "With 100 series the absence of quality flags means little.",
            "200 series in each set are needed",
        ),
        (
            lambda: answer_fidelity(fidelity(flat_share=0.3, fewest_series=100.0)),
            CANNOT_TELL,
            "With 100 series chance raises quality flags, too (series do not move).",
            "200 series in each set are needed",
        ),
        (
            lambda: answer_fidelity(fidelity(auc=0.8, flat_share=0.3, fewest_series=100.0)),
            NO,
            "It differs from real series: a classifier distinguishes it from real.",
            "1 flag must clear: discriminative_auc 0.800 (> real + 0.1; real 0.500)",
        ),
        (
            lambda: answer_fidelity(fidelity(discriminative_collapsed=1.0)),
            CANNOT_TELL,
            "The classifier that should distinguish it from real series does not work here.",
            "its control AUC must reach 0.75: more series",
        ),
        (
            lambda: answer_fidelity(fidelity(half=0.15)),
            CANNOT_TELL,
            MAY,
            "about 1,200 synthetic and test series would place its AUC below or above 0.60",
        ),
        (
            lambda: answer_fidelity(fidelity(auc=0.8)),
            NO,
            "It differs from real series: a classifier distinguishes it from real.",
            "1 flag must clear: discriminative_auc 0.800 (> real + 0.1; real 0.500)",
        ),
        (lambda: answer_fidelity(fidelity(few_patients=5.0)), CANNOT_TELL, ALIKE, ENOUGH),
        (lambda: answer_privacy(privacy(few_patients=5.0)), CANNOT_TELL, ALIKE, ENOUGH),
        (
            lambda: answer_privacy(privacy()),
            NO_LEAK_FOUND,
            "No attack on the set found a leak; that is no guarantee.",
            "",
        ),
        (
            lambda: answer_privacy(privacy(remarks=["x"])),
            CANNOT_TELL,
            "The comparison itself is in doubt (see the remarks below).",
            "remarks to resolve: 1",
        ),
        (
            lambda: answer_privacy(privacy(membership_auc=0.61, membership_auc_high=0.65)),
            CANNOT_TELL,
            f"{UNSURE} an attack on the training series may work.",
            "the interval of membership_auc ends at 0.650 and must end below 0.6",
        ),
        (
            lambda: answer_privacy(privacy(), ["val_guide"]),
            CANNOT_TELL,
            "No attack found a leak of the guidance series; the training series were not attacked.",
            "only test series like the training series tell of them",
        ),
        (
            lambda: answer_addition(
                dataclasses.replace(row(difference(-0.001, 0.001)), mean=0.995), 400
            ),
            NO,
            "Models trained on real data have AUROC 0.995: nothing is left to gain.",
            "a task of AUROC below 0.99 is needed",
        ),
        (
            lambda: answer_privacy(
                privacy(
                    membership_auc_high=0.61,
                    closer_to_train_share=0.667,
                    closer_to_train_share_high=0.78,
                ),
            ),
            CANNOT_TELL,
            f"{UNSURE} series may be nearer to train than chance.",
            "the interval of closer_to_train_share ends at 0.780 and must end below 0.6",
        ),
        (
            lambda: answer_privacy(
                privacy(membership_auc_high=0.61, closer_to_train_share_high=0.65)
            ),
            CANNOT_TELL,
            "No leak was found, but series may yet be nearer to train than chance.",
            "about 450 independent trials (now 200; more synthetic and real series) "
            "would exclude 0.6",
        ),
        (
            # 1.5 times as many trials as there are, and 4 times the attacked series.
            lambda: answer_privacy(
                privacy(
                    membership_auc=0.55,
                    membership_auc_high=0.65,
                    closer_to_train_share_high=0.62,
                    closer_to_train_effective_trials=20_000.0,
                ),
            ),
            CANNOT_TELL,
            "No leak was found, but there are too few series to exclude an attack of AUC 0.6.",
            "about 800 training and 1,600 held-out series would exclude 0.6",
        ),
        (
            lambda: answer_privacy(privacy(membership_auc=0.6001, membership_auc_high=0.6004)),
            CANNOT_TELL,
            f"{UNSURE} an attack on the training series may work.",
            "the interval of membership_auc ends at 0.6004 and must end below 0.6",
        ),
        (
            lambda: answer_privacy(privacy(membership_auc=0.599, membership_auc_high=0.63)),
            CANNOT_TELL,
            "No leak was found, but there are too few series to exclude an attack of AUC 0.6.",
            "the interval of membership_auc ends at 0.630 and must end below 0.6",
        ),
    ],
)
def test_every_answer_is_in_these_words(ask, outcome, reason, change):
    assert ask() == (outcome, reason, change)
