"""The embedded cohort: physiology holds, the risk is the true one, and a seed fixes everything."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from configs import load_config
from configs.runtime.errors import ConfigError
from data_preprocess.impute import impute, train_medians
from data_preprocess.sources.simulated.cohort import read_simulated, simulate
from tests.support import sections

HR, SBP, DBP, MBP, TEMP, RR, SPO2 = range(7)


@pytest.fixture(scope="module")
def large():
    return simulate(num_subjects=12_000, seed=5)


def test_default_cohort_has_the_shape_and_names_promised():
    cohort, _ = simulate()
    assert cohort.values.shape[1:] == (7, 24) and len(cohort) > 3000
    assert cohort.feature_names == (
        "heart_rate[bpm]",
        "systolic_pressure[mmHg]",
        "diastolic_pressure[mmHg]",
        "mean_pressure[mmHg]",
        "temperature[C]",
        "respiratory_rate[1/min]",
        "spo2[%]",
    )
    assert cohort.label_names == ("survived", "died")


@pytest.mark.parametrize("seed", range(4))
def test_default_prevalence_and_bayes_auroc(seed):
    cohort, _ = simulate(seed=seed)
    assert 0.08 <= cohort.labels.mean() <= 0.10
    assert cohort.true_risk[:, 1].mean() == pytest.approx(0.09, abs=1e-6)
    assert 0.82 <= roc_auc_score(cohort.labels, cohort.true_risk[:, 1]) <= 0.88


@pytest.fixture(scope="module")
def by_unit():
    return simulate(num_subjects=12_000, seed=5, unit_effect=1.0)


@pytest.mark.parametrize("name", ["large", "by_unit"])
def test_labels_are_drawn_from_the_true_risk(name, request):
    cohort, _ = request.getfixturevalue(name)
    risk = cohort.true_risk[:, 1]
    for chosen in np.array_split(np.argsort(risk), 10):
        expected = risk[chosen].mean()
        error = np.sqrt(expected * (1 - expected) / len(chosen))
        assert abs(cohort.labels[chosen].mean() - expected) < 4 * error


def test_every_phenotype_is_present_and_dies_more_than_the_stable(large):
    cohort, truth = large
    rates = [cohort.labels[truth.phenotype == kind].mean() for kind in range(5)]
    assert min(rates[1:]) > 2 * rates[0]


def test_which_phenotype_is_deadly_depends_on_the_unit_only_where_asked(large, by_unit):
    def deaths(data, unit, kind):
        cohort, truth = data
        there = (cohort.static[:, 2] == unit) & (truth.phenotype == kind)
        return cohort.true_risk[there, 1].mean()

    septic, haemorrhagic = 1, 2
    np.testing.assert_array_equal(by_unit[0].values, large[0].values)
    assert deaths(by_unit, 3, septic) > 3 * deaths(by_unit, 4, septic)
    assert deaths(by_unit, 4, haemorrhagic) > 3 * deaths(by_unit, 3, haemorrhagic)
    assert deaths(large, 3, septic) == pytest.approx(deaths(large, 4, septic), rel=0.2)
    assert by_unit[0].true_risk[:, 1].mean() == pytest.approx(0.09, abs=1e-6)


def test_pressures_are_coupled(large):
    systolic, diastolic, mean = (large[0].values[:, channel] for channel in (SBP, DBP, MBP))
    there = ~np.isnan(systolic)
    assert (there == ~np.isnan(mean)).all() and (there == ~np.isnan(diastolic)).all()
    systolic, diastolic, mean = systolic[there], diastolic[there], mean[there]
    assert (systolic >= mean).all() and (mean >= diastolic).all() and (diastolic > 0).all()
    assert np.abs(mean - (systolic + 2 * diastolic) / 3).max() <= 1.01  # charted as whole numbers


def test_the_sicker_are_measured_more_often(large):
    cohort, truth = large
    level = truth.activation.mean(axis=1)
    low, high = level < np.quantile(level, 0.3), level > np.quantile(level, 0.9)
    measured = (~np.isnan(cohort.values)).mean(axis=2)
    assert (measured[high].mean(axis=0) > measured[low].mean(axis=0) + 0.05).all()


def test_phenotypes_look_as_their_names_say(large):
    cohort, truth = large
    filled, _ = impute(cohort.values, train_medians(cohort.values, cohort.feature_names))
    last = filled[:, :, -4:].mean(axis=2)
    ill = truth.activation[:, -4:].mean(axis=1) > 0.8
    kinds = [np.mean(last[ill & (truth.phenotype == kind)], axis=0) for kind in range(1, 5)]
    septic, haemorrhagic, respiratory, neurologic = kinds
    stable = np.mean(last[truth.phenotype == 0], axis=0)
    assert septic[TEMP] > stable[TEMP] + 0.5 and septic[HR] > stable[HR] + 10
    assert haemorrhagic[MBP] < stable[MBP] - 5 and haemorrhagic[HR] > stable[HR] + 10
    assert respiratory[SPO2] < stable[SPO2] - 3 and respiratory[RR] > stable[RR] + 5
    assert neurologic[HR] < stable[HR] - 5 and neurologic[SBP] > stable[SBP] + 8


def test_noise_is_autocorrelated_and_hours_do_not_depend_on_the_grid():
    hourly, _ = simulate(num_subjects=2000, seed=1)
    fine, _ = simulate(num_subjects=2000, seed=1, num_steps=96, step_minutes=15.0)

    def lag_correlation(cohort, lag):
        heart = cohort.values[:, HR] - np.nanmean(cohort.values[:, HR], axis=1, keepdims=True)
        a, b = heart[:, :-lag].ravel(), heart[:, lag:].ravel()
        both = ~(np.isnan(a) | np.isnan(b))
        return np.corrcoef(a[both], b[both])[0, 1]

    assert lag_correlation(hourly, 1) > lag_correlation(hourly, 6) + 0.1
    assert lag_correlation(fine, 4) == pytest.approx(lag_correlation(hourly, 1), abs=0.08)


def test_a_seed_fixes_everything():
    first, again, other = (simulate(num_subjects=80, seed=seed)[0] for seed in (4, 4, 5))
    for name in ("values", "labels", "subject_ids", "static"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    assert not np.array_equal(first.values, other.values, equal_nan=True)


def test_some_patients_have_two_stays(large):
    _, counts = np.unique(large[0].subject_ids, return_counts=True)
    assert set(counts) == {1, 2} and 0.13 < (counts == 2).mean() < 0.17


@pytest.mark.parametrize(("channels", "steps"), [(1, 4), (3, 288), (16, 256), (15, 12)])
def test_any_number_of_channels_and_steps(channels, steps):
    cohort, _ = simulate(num_subjects=60, num_channels=channels, num_steps=steps)
    assert cohort.values.shape[1:] == (channels, steps)
    assert len(set(cohort.feature_names)) == channels
    spread = np.nanstd(cohort.values, axis=(0, 2))
    assert (spread > 0).all()


def test_more_channels_than_there_are_are_refused():
    with pytest.raises(ConfigError, match="num_channels=17: expected at most 16"):
        simulate(num_subjects=60, num_channels=17)
    with pytest.raises(ConfigError, match=r"data\.simulated\.num_channels"):
        load_config(["configs/base/tiny.yaml", "data.simulated.num_channels=17"])


def read(**changes):
    usual = {"num_subjects": 60, "prevalence": 0.1, "num_channels": 7, "num_steps": 48}
    usual |= {"seed": 0, "step_minutes": 60.0, "window_hours": 24.0}
    return sections.read(read_simulated, "simulated", **(usual | changes)).pool


def test_only_mortality_is_simulated():
    with pytest.raises(ConfigError, match="icustay"):
        read(task="icustay")


def test_a_window_that_the_series_do_not_have_is_refused():
    assert read().values.shape[2] == 48
    assert read(window_hours=48.0).values.shape[2] == 48
    with pytest.raises(ConfigError, match=r"num_steps x data\.step_minutes = 48 h"):
        read(window_hours=36.0)
