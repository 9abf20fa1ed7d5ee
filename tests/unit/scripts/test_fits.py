"""run_fits: what reaches a fit, what is kept on disk, what happens when something breaks."""

import dataclasses

import numpy as np
import pytest

from classifier.fit import FitRecipe
from configs.runtime.errors import DataError
from scripts.utility.downstream import Downstream
from scripts.utility.fits import run_fits
from scripts.utility.protocols import REAL, Fit, plan_fits
from tests.support.evaluation_stand_ins import MeanFitter, make_data, make_series


def plan(**changes):
    chosen = {
        "protocols": ["TRTR", "TSTR", "TRTS", "TSRTR"],
        "generators": ["unguided", "influence"],
        "ratios": [0.5, 1.0],
        "models": ["rnn"],
        "seeds": [0, 1],
    }
    return plan_fits(**(chosen | changes))


def run(tmp_path, fitter, data=None, fits=None, workers=1, share=(0, 1)):
    data, fits = data or make_data(), fits or plan()
    return run_fits(fits, data, fitter=fitter, cache=tmp_path, workers=workers, share=share)


def test_every_fit_sees_its_training_rows_and_val_select_and_nothing_else(tmp_path):
    data, fitter = make_data(), MeanFitter()
    run(tmp_path, fitter, data)
    # TRTR and both TRTS share a fit: per seed 1 real, 2 TSTR and 4 TSRTR trainings.
    assert len(fitter.calls) == 2 * (1 + 2 + 4)
    test_rows = {row.tobytes() for row in data.test.x}
    for call in fitter.calls:
        assert np.array_equal(call["select"][0], data.select.x)
        assert np.array_equal(call["select"][1], data.select.y)
        seen = {row.tobytes() for row in call["train"][0]}
        assert not seen & test_rows
    sizes = sorted(len(call["train"][1]) for call in fitter.calls)
    assert sizes == sorted(2 * ([60] + [100] * 2 + [90] * 2 + [120] * 2))


def test_test_labels_do_not_influence_predictions_or_thresholds(tmp_path):
    data = make_data()
    flipped = dataclasses.replace(data.test, y=1 - data.test.y)
    honest = run(tmp_path / "a", MeanFitter(), data)
    other = run(tmp_path / "b", MeanFitter(), dataclasses.replace(data, test=flipped))
    for fit, predictions in honest.items():
        assert np.array_equal(predictions.probabilities, other[fit].probabilities)
        assert predictions.threshold == other[fit].threshold


def test_threshold_has_the_best_f1_on_val_select(tmp_path):
    data = make_data()
    fit = Fit("TRTR", REAL, 0.0, "rnn", 0)
    threshold = run(tmp_path, MeanFitter(), data)[fit].threshold
    fitter = MeanFitter()
    predict = fitter.fit("rnn", (data.train.x, data.train.y), None, seed=0)
    scores, y = predict(data.select.x)[:, 1], data.select.y == 1

    def f1(cut):
        called = scores >= cut
        return 2 * (called & y).sum() / (called.sum() + y.sum())

    assert threshold in scores  # a cut of val_select, not of other rows
    assert f1(threshold) == max(f1(cut) for cut in scores)


def test_ratio_zero_gives_the_predictions_of_the_baseline_bitwise(tmp_path):
    baseline = Fit("TRTR", REAL, 0.0, "rnn", 1)
    zero = Fit("TSRTR", "unguided", 0.0, "rnn", 1)
    results = run(tmp_path, MeanFitter(), fits=[baseline, zero])
    left, right = results[baseline], results[zero]
    assert left.probabilities.tobytes() == right.probabilities.tobytes()


def test_same_steps_control_is_fitted_on_its_own_with_more_effort(tmp_path):
    fitter = MeanFitter()
    fits = plan(protocols=["TRTR", "TRTR-steps"], seeds=[0])
    results = run(tmp_path, fitter, fits=fits)
    assert [call["epoch_multiplier"] for call in fitter.calls] == [1.0, 1.5, 2.0]
    assert len(results) == 3


def test_second_run_fits_nothing_and_gives_the_same(tmp_path):
    first = run(tmp_path, MeanFitter())
    again = MeanFitter()
    second = run(tmp_path, again)
    assert again.calls == []
    for fit, predictions in first.items():
        assert np.array_equal(predictions.probabilities, second[fit].probabilities)
        assert predictions.threshold == second[fit].threshold


@pytest.mark.parametrize(
    ("part", "refits"),
    [("train", 2 * (1 + 4)), ("select", 14), ("test", 14), ("unguided", 2 * (1 + 1 + 2))],
)
def test_a_changed_array_refits_exactly_the_cells_that_use_it(tmp_path, part, refits):
    run(tmp_path, MeanFitter())
    data = make_data()
    if part == "unguided":
        changed = make_series(99, 100, shift=0.3)
        data = dataclasses.replace(data, synthetic=data.synthetic | {part: changed})
    else:
        old = getattr(data, part)
        values = old.x.copy()
        values[0, 0, 0] += 1e-3
        data = dataclasses.replace(data, **{part: dataclasses.replace(old, x=values)})
    fitter = MeanFitter()
    run(tmp_path, fitter, data)
    assert len(fitter.calls) == refits


def test_a_changed_recipe_refits_everything(tmp_path):
    run(tmp_path, MeanFitter())
    fitter = MeanFitter(version=1)
    run(tmp_path, fitter)
    assert len(fitter.calls) == 14


def test_machines_that_share_the_fits_do_each_once_and_a_last_run_none(tmp_path):
    expected = run(tmp_path / "whole", MeanFitter())
    fitters = [MeanFitter() for _ in range(3)]
    for i in (1, 0, 2):  # each finds the files of the others, which must not move its own share
        assert run(tmp_path / "parts", fitters[i], share=(i, 3)) == {}
    assert sorted(len(fitter.calls) for fitter in fitters) == [4, 5, 5]
    last = MeanFitter()
    results = run(tmp_path / "parts", last)
    assert last.calls == [] and results.keys() == expected.keys()
    for fit, predictions in expected.items():
        assert np.array_equal(predictions.probabilities, results[fit].probabilities)


def test_an_interrupted_run_continues_where_it_stopped(tmp_path):
    stopped = MeanFitter(fail_after=5)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stopped)
    assert not list(tmp_path.glob("*.partial*"))
    rest = MeanFitter()
    results = run(tmp_path, rest)
    assert len(rest.calls) == 14 - 5
    fresh = run(tmp_path / "fresh", MeanFitter())
    for fit, predictions in results.items():
        assert np.array_equal(predictions.probabilities, fresh[fit].probabilities)


@pytest.mark.parametrize(
    ("error", "raised"), [(DataError("no rows"), DataError), (IndexError("oops"), RuntimeError)]
)
def test_a_failed_fit_names_its_cell(tmp_path, error, raised):
    fitter = MeanFitter(fail_after=2, error=error)
    with pytest.raises(raised, match=r"evaluation fit TSTR unguided rnn seed 0.*(no rows|oops)"):
        run(tmp_path, fitter)


def test_two_processes_give_what_one_gives(tmp_path):
    downstream = Downstream(model="conv", recipe=FitRecipe(max_epochs=2), num_classes=2)
    fits = plan(protocols=["TSTR"], seeds=[0])
    alone = run(tmp_path / "one", downstream, fits=fits, workers=1)
    shared = run(tmp_path / "two", downstream, fits=fits, workers=2)
    for fit, predictions in alone.items():
        assert predictions.probabilities.tobytes() == shared[fit].probabilities.tobytes()
