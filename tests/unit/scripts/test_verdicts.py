"""Verdicts never say more than the intervals do."""

import pytest

from scripts.quality.common.metric_report import MetricReport
from scripts.results.verdicts import (
    CANNOT_TELL,
    NO,
    NO_LEAK_FOUND,
    YES,
    judge_addition,
    judge_fidelity,
    judge_privacy,
    judge_substitute,
)
from scripts.utility.bootstrap import Difference
from scripts.utility.summary import Summary


def difference(low, high, p=0.01, p_holm=None):
    mean = (low + high) / 2
    return Difference(
        mean=mean, low=low, high=high, p=p, test_low=low, test_high=high, p_holm=p_holm
    )


def row(vs_real, *, seeds=5, vs_steps=None):
    return Summary(
        protocol="TSRTR",
        generator="guided",
        ratio=1.0,
        model="rnn",
        metric="auroc",
        num_seeds=seeds,
        mean=0.8,
        sd=0.01,
        low=0.7,
        high=0.9,
        vs_unguided=None,
        vs_real=vs_real,
        vs_steps=vs_steps,
    )


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
        (row(difference(0.002, 0.03), vs_steps=difference(-0.01, 0.02)), CANNOT_TELL),
        (row(difference(0.002, 0.03), vs_steps=difference(0.001, 0.02)), YES),
    ],
)
def test_an_addition_is_useful_only_if_its_interval_says_so(found, outcome):
    assert judge_addition(found)[0] == outcome


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
    assert judge_substitute(row(loss, seeds=seeds))[0] == outcome


def fidelity(auc=0.5, half=0.02, **more):
    values = {
        "discriminative_auc": auc,
        "discriminative_auc_low": auc - half,
        "discriminative_auc_high": auc + half,
        "discriminative_auc_reference": 0.5,
        "discriminative_collapsed": 0.0,
        "flat_share": 0.0,
        "flat_share_reference": 0.0,
    }
    return MetricReport(values=values | more)


@pytest.mark.parametrize(
    ("report", "series", "outcome"),
    [
        (fidelity(), 500, YES),
        (fidelity(), 100, CANNOT_TELL),
        (fidelity(discriminative_collapsed=1.0), 500, CANNOT_TELL),
        (fidelity(half=0.15), 500, CANNOT_TELL),
        (fidelity(auc=0.65, half=0.1), 500, CANNOT_TELL),  # the alarm fires, not surely
        (fidelity(auc=0.8), 500, NO),
        (fidelity(flat_share=0.3), 100, NO),
    ],
)
def test_faithful_needs_silence_that_means_something(report, series, outcome):
    assert judge_fidelity(report, series)[0] == outcome


def privacy(flags=(), **more):
    values = {
        "membership_auc": 0.51,
        "membership_auc_low": 0.46,
        "membership_auc_high": 0.56,
        "membership_auc_reference": 0.5,
        "closer_to_train_share": 0.5,
        "closer_to_train_share_low": 0.45,
        "closer_to_train_share_high": 0.55,
        "closer_to_train_share_reference": 0.5,
        "exact_copy_share": 0.0,
        "exact_copy_share_reference": 0.0,
    }
    return MetricReport(values=values | more, flags=list(flags))


@pytest.mark.parametrize(
    ("report", "outcome"),
    [
        (privacy(), NO_LEAK_FOUND),
        (privacy(exact_copy_share=0.001), NO),
        (privacy(membership_auc=0.7, membership_auc_low=0.66, membership_auc_high=0.74), NO),
        (privacy(membership_auc_high=0.61), CANNOT_TELL),
        (privacy(closer_to_train_share_high=0.62), CANNOT_TELL),
        (privacy(flags=["train and held-out differ"]), CANNOT_TELL),
    ],
)
def test_private_needs_an_attack_that_surely_fails(report, outcome):
    assert judge_privacy(report)[0] == outcome


def test_the_alarm_is_named():
    assert "it holds training series" in judge_privacy(privacy(exact_copy_share=0.001))[1]
    many = judge_fidelity(
        fidelity(auc=0.9, flat_share=0.3, marginal_sd_ratio_worst=3.0, change_ratio_worst=3.0), 500
    )[1]
    assert "too narrow or too wide" in many and "and 1 more" in many
