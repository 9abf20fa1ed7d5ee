"""Metrics that depend on how many series they see get equally many of every set."""

import numpy as np
import pytest

from scripts.quality.fidelity.conditional import conditional_report
from scripts.quality.fidelity.coverage import coverage_report
from scripts.quality.fidelity.frechet import frechet_report
from scripts.quality.fidelity.marginals import marginals_report
from scripts.quality.fidelity.missingness import missingness_report
from scripts.quality.fidelity.mmd import mmd_report
from scripts.quality.fidelity.predictive import predictive_report
from scripts.quality.fidelity.temporal import temporal_report
from scripts.quality.privacy.adversarial_accuracy import adversarial_report
from tests.support.metric_sets import comparison, gaussian

# What a report takes from sets of any size.
OF_ALL = ("frechet_within_class",)


def partly_measured(n, seed):
    return gaussian(n, seed, observed=np.random.default_rng(seed).random((n, 2, 6)) < 0.7)


@pytest.mark.parametrize(
    "report",
    [
        adversarial_report,
        conditional_report,
        coverage_report,
        frechet_report,
        marginals_report,
        missingness_report,
        mmd_report,
        predictive_report,
        temporal_report,
    ],
)
def test_a_report_is_of_equally_many_series_of_each_set(report):
    unequal = comparison(partly_measured(40, 0), partly_measured(60, 1), partly_measured(120, 2))
    found, equal = (report(c, seed=0).values for c in (unequal, unequal.matched(40, 0)))
    known = {name for name in found if not name.startswith(OF_ALL)}
    assert known
    for name in known:
        assert found[name] == pytest.approx(equal[name], nan_ok=True), name
