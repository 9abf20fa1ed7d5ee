"""Normaliser (T7 of docs/method.md): invertible, fitted on measured train rows, differentiable."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.runtime.errors import DataError, MismatchError, MissingInputError
from data_preprocess.dataset import EHRDataset
from data_preprocess.impute import impute, train_medians
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.sources.simulated.cohort import simulate

KINDS = ("zscore", "quantile")


@pytest.fixture(scope="module")
def vitals():
    """Values, mask and a dataset maker of 300 simulated stays: skewed, discrete, clipped at 100."""
    cohort, _ = simulate(num_subjects=300, num_channels=9, seed=3)
    values, observed = impute(cohort.values, train_medians(cohort.values, cohort.feature_names))
    return values, observed, cohort.feature_names


def dataset_of(make_dataset, vitals, **changes):
    values, observed, names = vitals
    n = len(values)
    fields = {"values": values, "observed": observed, "feature_names": names}
    fields |= {"labels": np.arange(n) % 2, "static": np.zeros((n, 1), np.float32)}
    return make_dataset(n, **(fields | changes))


@pytest.fixture(params=KINDS)
def fitted(request, make_dataset, vitals):
    return Normaliser.fit(dataset_of(make_dataset, vitals), kind=request.param, clip=50.0)


def test_round_trip_loses_less_than_1e_5_of_a_channel_sd(fitted, vitals):
    values = vitals[0]
    back = fitted.inverse_map(fitted.to_model(values).double()).float().numpy()
    error = np.abs(back.astype(np.float64) - values).max(axis=(0, 2))
    assert (error < 1e-5 * values.std(axis=(0, 2))).all(), error


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(KINDS),
    st.floats(-1e3, 1e3),
    st.floats(1e-3, 1e3),
    st.sampled_from(["normal", "exponential", "integers", "zero_inflated"]),
)
def test_the_maps_invert_each_other_for_any_measured_distribution(seed, kind, mean, sd, shape):
    rng = np.random.default_rng(seed)
    drawn = {
        "normal": rng.normal(size=(40, 1, 5)),
        "exponential": rng.exponential(size=(40, 1, 5)) ** 2,
        "integers": rng.integers(0, 4, (40, 1, 5)),
        "zero_inflated": rng.exponential(size=(40, 1, 5)) * (rng.random((40, 1, 5)) < 0.4),
    }[shape]
    values = (mean + sd * drawn).astype(np.float64)
    normaliser = fit_plain(values, kind)
    wide = torch.from_numpy(rng.normal(mean, 5 * sd, (30, 1, 7)))  # beyond the training range too
    x = normaliser.forward_map(wide)
    assert torch.isfinite(x).all()
    back = normaliser.inverse_map(x)
    assert (back - wide).abs().max() < 1e-6 * sd + 1e-9 * abs(mean)
    order = wide.flatten().argsort()
    assert (x.flatten()[order].diff() >= 0).all()  # monotone


def fit_plain(values, kind):
    n = len(values)
    return Normaliser.fit(
        EHRDataset(
            values=values,
            observed=np.ones(values.shape, bool),
            labels=np.arange(n) % 2,
            subject_ids=np.arange(n),
            feature_names=("a",),
            label_names=("no", "yes"),
            static=np.zeros((n, 0), np.float32),
            static_names=(),
        ),
        kind=kind,
    )


def test_chain_rule_equals_a_numeric_derivative(fitted, vitals):
    values = torch.from_numpy(vitals[0][:40].astype(np.float64))
    values = values + 0.0137 * values.std()  # off the knots, where a slope is not defined
    for function, x in (
        (fitted.forward_map, values),
        (fitted.inverse_map, fitted.forward_map(values)),
    ):
        x = x.clone().requires_grad_()
        weights = torch.randn(x.shape, generator=torch.manual_seed(0), dtype=torch.float64)
        (gradient,) = torch.autograd.grad((weights * function(x)).sum(), x)
        h = 1e-7
        numeric = weights * (function(x + h) - function(x - h)).detach() / (2 * h)
        close = (gradient - numeric).abs() <= 1e-5 * (1 + numeric.abs())
        assert close.double().mean() > 0.999  # a point may still sit within h of a knot
        assert (gradient / weights > 0).all()  # a step function would have zeros


def test_only_measured_entries_of_train_count(make_dataset, vitals):
    values, observed, _ = vitals
    plain = Normaliser.fit(dataset_of(make_dataset, vitals))
    spoilt = np.where(observed, values, 1e6).astype(np.float32)
    assert Normaliser.fit(dataset_of(make_dataset, vitals, values=spoilt)) == plain
    measured = values[:, 0][observed[:, 0]].astype(np.float64)
    low, high = plain.knots[0][0]
    assert (low + high) / 2 == pytest.approx(measured.mean(), rel=1e-12)
    assert (high - low) / 2 == pytest.approx(measured.std(), rel=1e-12)


def test_using_it_does_not_change_it(fitted, vitals):
    before = fitted.fingerprint()
    first = fitted.to_model(vitals[0])
    fitted.to_clinical(first)
    assert torch.equal(fitted.to_model(vitals[0]), first) and fitted.fingerprint() == before


def test_quantile_map_makes_a_skewed_channel_normal(make_dataset, vitals):
    dataset = dataset_of(make_dataset, vitals)
    urine = vitals[2].index("urine[mL]")
    x = Normaliser.fit(dataset, kind="quantile").to_model(vitals[0])[:, urine]
    inner = x[torch.from_numpy(vitals[1][:, urine])].numpy()
    assert abs(np.mean(inner)) < 0.1 and abs(np.std(inner) - 1) < 0.1


def test_model_space_is_clipped_and_clinical_values_stay_in_the_measured_range(fitted, vitals):
    tight = replace(fitted, clip=2.0)
    assert tight.to_model(vitals[0]).abs().max() == 2.0
    clinical = fitted.to_clinical(torch.full((1, 9, 4), 40.0))
    np.testing.assert_allclose(clinical[0, :, 0], fitted.high, rtol=1e-6)
    clinical = fitted.to_clinical(torch.full((1, 9, 4), -40.0))
    np.testing.assert_allclose(clinical[0, :, 0], fitted.low, rtol=1e-6)


def test_saved_and_loaded_it_is_the_same(fitted, tmp_path):
    fitted.save(tmp_path / "n.json")
    assert Normaliser.load(tmp_path / "n.json") == fitted
    assert Normaliser.load(tmp_path / "n.json").fingerprint() == fitted.fingerprint()


@pytest.mark.parametrize("constant", [True, False])
def test_a_channel_that_is_constant_or_unmeasured_is_named(make_dataset, constant):
    dataset = make_dataset()
    values, observed = dataset.values.copy(), dataset.observed.copy()
    values[:, 1] = 37.0
    observed[:, 1] = constant
    found = "only 37" if constant else "no measured value"
    with pytest.raises(DataError, match=rf"channel temperature\[C\]: {found}"):
        Normaliser.fit(make_dataset(values=values, observed=observed))


def test_an_unknown_kind_is_refused(make_dataset):
    with pytest.raises(DataError, match="kind 'minmax'"):
        Normaliser.fit(make_dataset(), kind="minmax")


def test_other_channels_are_refused(make_dataset):
    with pytest.raises(MismatchError, match="synthetic set: channels"):
        Normaliser.fit(make_dataset()).require_channels(
            make_dataset(feature_names=("a", "b")), "synthetic set"
        )


def test_bad_files_are_refused(tmp_path, fitted):
    path = tmp_path / "n.json"
    with pytest.raises(MissingInputError):
        Normaliser.load(path)
    plain = fitted.to_plain()
    unordered = [[[2.0, 1.0], [-1.0, 1.0]]] * 9
    for text in ("{}", "not json", "[]", str(plain), repr({**plain, "knots": unordered})):
        path.write_text(text.replace("'", '"').replace("(", "[").replace(")", "]"))
        if text == str(plain):
            assert Normaliser.load(path) == fitted
        else:
            with pytest.raises(DataError, match=r"n\.json: not a normaliser file"):
                Normaliser.load(path)


@pytest.mark.parametrize("sides", [[], [[1.0, 2.0]], [[1.0, 2.0]] * 3])
def test_a_channel_without_both_sides_of_its_knots_is_refused(tmp_path, fitted, sides):
    """In a process of its own: the type checks of these tests see it before, now and then."""
    path = tmp_path / "n.json"
    plain = fitted.to_plain()
    path.write_text(json.dumps({**plain, "knots": [sides, *plain["knots"][1:]]}))
    code = "import sys, pathlib; from data_preprocess.model_space.normaliser import Normaliser; "
    code += "Normaliser.load(pathlib.Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert "DataError" in done.stderr and "do not rise" in done.stderr
