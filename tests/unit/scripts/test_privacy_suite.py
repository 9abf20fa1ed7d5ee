"""Both suites as a whole: what they refuse, their determinism, and their promise of references."""

import numpy as np
import pytest

from configs.runtime.errors import DataError, MismatchError
from data_preprocess.model_space.normaliser import Normaliser
from scripts.quality.common.metric_report import MetricReport, merge
from scripts.quality.common.registry import KINDS, quality_flags
from scripts.quality.suite import quality_report
from tests.support.metric_sets import dataset, gaussian


def sets():
    return [gaussian(80, seed) for seed in range(3)]


@pytest.mark.parametrize("kind", KINDS)
def test_equal_calls_give_equal_reports(kind):
    train, holdout, synthetic = sets()
    normaliser = Normaliser.fit(train)
    first, second = (
        quality_report(kind, train, holdout, synthetic, normaliser=normaliser, seed=3)
        for _ in range(2)
    )
    assert first.values == second.values and first.remarks == second.remarks
    for name, array in first.arrays.items():
        assert np.array_equal(array, second.arrays[name])


def test_the_inputs_are_left_alone():
    train, holdout, synthetic = sets()
    before = [d.values.copy() for d in (train, holdout, synthetic)]
    for kind in KINDS:
        quality_report(kind, train, holdout, synthetic, normaliser=Normaliser.fit(train), seed=0)
    for values, now in zip(before, (train, holdout, synthetic), strict=True):
        assert np.array_equal(values, now.values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("synthetic", "error", "message"),
    [
        (gaussian(80, 2, (3, 6)), DataError, "feature_names differ"),
        (gaussian(80, 2, (2, 7)), DataError, "length differ"),
        (gaussian(19, 2), DataError, "synthetic set has 19 series, at least 20"),
        (gaussian(80, 2, label_names=("a", "b")), DataError, "label_names differ"),
    ],
)
def test_sets_that_do_not_belong_together_are_refused(kind, synthetic, error, message):
    train, holdout, _ = sets()
    with pytest.raises(error, match=message):
        quality_report(kind, train, holdout, synthetic, normaliser=Normaliser.fit(train), seed=0)


def test_a_foreign_normaliser_and_short_series_are_refused():
    train, holdout, synthetic = sets()
    with pytest.raises(MismatchError, match="fitted on"):
        foreign = Normaliser.fit(gaussian(80, 0, (3, 6)))
        quality_report("privacy", train, holdout, synthetic, normaliser=foreign, seed=0)
    short = [gaussian(80, seed, (2, 3)) for seed in range(3)]
    with pytest.raises(DataError, match="3 steps, at least 4"):
        quality_report("fidelity", *short, normaliser=Normaliser.fit(short[0]), seed=0)


def test_sizes_may_differ_and_many_classes_work():
    rng = np.random.default_rng(0)
    train, holdout, synthetic = (
        dataset(
            rng.normal(size=(n, 2, 6)), rng.integers(0, 3, n), label_names=("low", "mid", "high")
        )
        for n in (200, 130, 310)
    )
    for kind in KINDS:
        report = quality_report(
            kind, train, holdout, synthetic, normaliser=Normaliser.fit(train), seed=0
        )
        assert all(np.isfinite(value) for value in report.values.values())


def test_quality_flags_name_metrics_that_exist():
    train, holdout, synthetic = sets()
    normaliser = Normaliser.fit(train)
    values = merge(
        [
            quality_report(kind, train, holdout, synthetic, normaliser=normaliser, seed=0)
            for kind in KINDS
        ]
    ).values
    flags = [flag for kind in KINDS for flag in quality_flags(kind)]
    known = {flag.metric for flag in flags}
    # No pressures in these sets, and no channel that is charted in steps.
    assert known - values.keys() == {"pressure_order_violations", "marginal_variation"}
    assert len(known) == len(flags)


def test_reports_refuse_nan_and_repeated_names():
    with pytest.raises(DataError, match="NaN or infinite: b"):
        MetricReport(values={"a": 1.0, "b": float("nan")})
    with pytest.raises(DataError, match="repeat"):
        merge([MetricReport(values={"a": 1.0}), MetricReport(values={"a": 2.0})])
