"""Every negative control is caught by the metric meant for it; honest series raise no flag.

`python -m tests.support.defect_table` writes the same results into docs/metrics.md.
"""

import pytest

from scripts.quality.common.registry import KINDS, quality_flags
from tests.support import defect_table
from tests.support.known_defects import NEGATIVE_CONTROLS

MEANT_FOR = {
    "copied": {
        "copy_share",
        "near_copy_share",
        "closer_to_train_share",
        "nnaa_loss",
        "membership_auc",
        "membership_tpr",
        "attribute_advantage",
    },
    "nearly_copied": {
        "copy_share",
        "near_copy_share",
        "membership_auc",
        "membership_tpr",
        "attribute_advantage",
    },
    # Labels move these series little, so the distance within classes cannot see them shuffled
    # here (tests/unit/scripts/test_fidelity_frechet.py has a case where it must); the probes can.
    "relabelled": {"label_auc_of_real_probe", "label_auc_of_synthetic_probe"},
    "noise": {
        "autocorrelation_difference",
        "cross_correlation_difference",
        "pressure_order_violations",
        "change_ratio_worst",
        "frechet",
        "mmd2",
        "predictive_ratio",
        "discriminative_auc",
    },
    "collapsed": {
        "recall",
        "coverage",
        "marginal_sd_ratio_worst",
        "marginal_ks",
        "frechet_within_class",
    },
    "marginals_only": {
        "autocorrelation_difference",
        "cross_correlation_difference",
        "predictive_ratio",
        "pressure_order_violations",
        "frechet",
        "discriminative_auc",
    },
    "half_spread": {
        "marginal_sd_ratio_worst",
        "marginal_wasserstein",
        "recall",
        "change_ratio_worst",
    },
    "overspread": {"marginal_sd_ratio_worst", "out_of_range_share", "precision"},
    "frozen": {"flat_share", "change_ratio_worst"},
    "repeated": {"unique_share", "recall"},
    "combed": {"marginal_variation"},
}


@pytest.fixture(scope="module")
def controls():
    return defect_table.evaluate_all()


def test_honest_series_raise_no_flag(controls):
    assert [metric for metric, fires in controls["honest"].raised.items() if fires] == []


@pytest.mark.parametrize("name", MEANT_FOR)
def test_the_metric_meant_for_it_catches_it(controls, name):
    missed = {metric for metric in MEANT_FOR[name] if not controls[name].raised[metric]}
    assert missed == set()


def test_every_control_has_its_metric_and_every_metric_its_control(controls):
    assert MEANT_FOR.keys() == NEGATIVE_CONTROLS.keys() - {"honest"}
    assert set().union(*MEANT_FOR.values()) == {
        f.metric for kind in KINDS for f in quality_flags(kind)
    }


def test_right_series_under_wrong_labels_pass_every_unconditional_metric(controls):
    fired = {metric for metric, fires in controls["relabelled"].raised.items() if fires}
    assert fired == MEANT_FOR["relabelled"]


@pytest.mark.parametrize("name", ["relabelled", "noise", "marginals_only", "half_spread"])
def test_sets_that_know_no_train_series_raise_no_privacy_flag(controls, name):
    private = {flag.metric for flag in quality_flags("privacy")}
    assert {metric for metric in private if controls[name].raised[metric]} == set()


def test_the_table_on_the_page_shows_these_flags(controls):
    table = defect_table.markdown(controls)
    page = defect_table.PAGE.read_text(encoding="utf-8")
    rows = {line.split("|")[1].strip(): line for line in page.splitlines() if line.startswith("|")}
    for line in table.splitlines()[2:]:
        shown = rows[line.split("|")[1].strip()]
        assert [("**" in cell) for cell in shown.split("|")] == [
            ("**" in cell) for cell in line.split("|")
        ]


def test_a_page_without_markers_is_refused():
    with pytest.raises(defect_table.DataError, match="lacks the markers"):
        defect_table.insert("no markers", "table")
