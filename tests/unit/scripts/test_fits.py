"""run_fits: what reaches a fit, what is kept on disk, what happens when something breaks."""

import ast
import dataclasses
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from classifier.training import FitRecipe
from configs.runtime.errors import DataError
from configs.runtime.processes import Processes
from data_preprocess.storage.content_cache import source_version
from scripts.utility.downstream import Downstream
from scripts.utility.fits import CODE, run_fits
from scripts.utility.protocols import REAL, Fit, plan_fits
from tests.support.evaluation_stand_ins import NORMALISER, MeanFitter, make_data, make_series
from tests.support.own_network import own_network


def plan(**changes):
    chosen = {
        "protocols": ["TRTR", "TSTR", "TRTS", "TSRTR"],
        "generators": ["unguided", "influence"],
        "ratios": [0.5, 1.0],
        "models": ["classifier"],
        "seeds": [0, 1],
    }
    return plan_fits(**(chosen | changes))


def run(tmp_path, fitter, data=None, fits=None, processes=None):
    data, fits = data or make_data(), fits or plan()
    return run_fits(fits, data, fitter=fitter, cache=tmp_path, processes=processes)


def require_equal(found, expected):
    assert found.keys() == expected.keys()
    for fit, predictions in expected.items():
        assert predictions.probabilities.tobytes() == found[fit].probabilities.tobytes()
        assert predictions.threshold == found[fit].threshold


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
    fit = Fit("TRTR", REAL, 0.0, "classifier", 0)
    threshold = run(tmp_path, MeanFitter(), data)[fit].threshold
    fitter = MeanFitter()
    predict = fitter.fit("classifier", (data.train.x, data.train.y), None, seed=0)
    scores, y = predict(data.select.x)[:, 1], data.select.y == 1

    def f1(cut):
        called = scores >= cut
        return 2 * (called & y).sum() / (called.sum() + y.sum())

    assert threshold in scores  # a cut of val_select, not of other rows
    assert f1(threshold) == max(f1(cut) for cut in scores)


def test_ratio_zero_gives_the_predictions_of_the_baseline_bitwise(tmp_path):
    baseline = Fit("TRTR", REAL, 0.0, "classifier", 1)
    zero = Fit("TSRTR", "unguided", 0.0, "classifier", 1)
    results = run(tmp_path, MeanFitter(), fits=[baseline, zero])
    left, right = results[baseline], results[zero]
    assert left.probabilities.tobytes() == right.probabilities.tobytes()


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
def test_a_changed_array_refits_exactly_the_fits_that_use_it(tmp_path, part, refits):
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


def test_a_users_own_class_is_known_by_its_source(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    own = Downstream(
        model="conv", recipe=FitRecipe(max_epochs=1), num_classes=2, normaliser=NORMALISER
    )
    described = []
    for factor in (1, 2):
        (tmp_path / "own_net_of_stage4.py").write_text(own_network(factor))
        source_version.cache_clear()
        described.append(own.describe("own_net_of_stage4:Net"))
        described.append(own.describe("own_net_of_stage4:Net"))
    assert described[0] == described[1] and described[2] == described[3]
    assert described[0] != described[2]
    assert own.describe("conv")["source"] is None


def test_the_key_holds_the_source_of_all_that_a_fit_runs():
    """What fits.py imports of this project, directly or not, below the entries."""
    seen, left = set(), ["scripts.utility.fits"]
    while left:
        name = left.pop()
        seen.add(name)
        tree = ast.parse(Path(find_spec(name).origin).read_text(encoding="utf-8"))
        imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        left += [m for m in imported - seen if m and m.startswith("scripts.")]
    outside = {m for m in seen if not m.startswith(CODE)}
    assert not outside


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
def test_a_failed_fit_is_named(tmp_path, error, raised):
    fitter = MeanFitter(fail_after=2, error=error)
    with pytest.raises(raised, match=r"fit TSTR unguided classifier seed 0.*(no rows|oops)"):
        run(tmp_path, fitter)


def test_processes_of_one_machine_and_of_a_cluster_give_what_one_gives(tmp_path):
    downstream = Downstream(
        model="conv", recipe=FitRecipe(max_epochs=2), num_classes=2, normaliser=NORMALISER
    )
    fits = plan(protocols=["TSTR"], seeds=[0])
    alone = run(tmp_path / "one", downstream, fits=fits)
    two = run(tmp_path / "two", downstream, fits=fits, processes=Processes(2))
    require_equal(two, alone)
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        places = Processes(backend="dask", scheduler=cluster.scheduler_address)
        spread = run(tmp_path / "cluster", downstream, fits=fits, processes=places)
    require_equal(spread, alone)
