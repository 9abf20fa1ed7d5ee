"""Channel types: every map can be inverted, and what is drawn becomes a value the channel has."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from configs.runtime.errors import DataError
from data_preprocess.model_space.channel_transforms import charted_step, fit_map, interpolate, snap

RNG = np.random.default_rng(0)
DRAWS = {
    "continuous": RNG.normal(37, 0.6, 4000),
    "positive": RNG.lognormal(0.3, 0.8, 4000),
    "zero_inflated": np.where(RNG.random(4000) < 0.3, 0.0, RNG.exponential(80, 4000)),
    "bounded": np.minimum(RNG.normal(97, 3, 4000), 100.0),
    "integer": RNG.choice([3, 6, 8, 14, 15], 4000, p=[0.1, 0.05, 0.1, 0.25, 0.5]).astype(float),
    "binary": RNG.choice([0.0, 1.0], 4000, p=[0.8, 0.2]),
}


def both_ways(measured, kind, channel_type):
    (clinical, model), point_masses = fit_map(measured, kind, channel_type)
    coded = interpolate(torch.from_numpy(measured), clinical, model)
    back = interpolate(coded, model, clinical).numpy()
    return coded.numpy(), snap(back, coded.numpy(), point_masses), point_masses


@pytest.mark.parametrize("kind", ["zscore", "quantile"])
@pytest.mark.parametrize("channel_type", DRAWS)
def test_what_was_measured_comes_back_the_same(channel_type, kind):
    measured = DRAWS[channel_type]
    _, back, _ = both_ways(measured, kind, channel_type)
    np.testing.assert_allclose(back, measured, atol=1e-6 * measured.std())


@pytest.mark.parametrize("channel_type", ["zero_inflated", "integer", "binary"])
def test_gaussian_draws_get_the_shares_of_the_real_values(channel_type):
    measured = DRAWS[channel_type]
    (clinical, model), point_masses = fit_map(measured, "quantile", channel_type)
    drawn = RNG.normal(size=40_000)
    values = snap(
        interpolate(torch.from_numpy(drawn), model, clinical).numpy(), drawn, point_masses
    )
    for value, *_ in point_masses:
        assert np.mean(values == value) == pytest.approx(np.mean(measured == value), abs=0.01)


@pytest.mark.parametrize("channel_type", ["integer", "binary"])
def test_only_levels_that_occur_are_drawn(channel_type):
    measured = DRAWS[channel_type]
    (clinical, model), point_masses = fit_map(measured, "zscore", channel_type)
    drawn = np.linspace(-8, 8, 999)
    values = snap(
        interpolate(torch.from_numpy(drawn), model, clinical).numpy(), drawn, point_masses
    )
    assert set(values) == set(np.unique(measured))


def test_zero_is_drawn_as_zero_and_the_rest_stays_positive():
    (clinical, model), point_masses = fit_map(DRAWS["zero_inflated"], "quantile", "zero_inflated")
    drawn = RNG.normal(size=20_000)
    values = snap(
        interpolate(torch.from_numpy(drawn), model, clinical).numpy(), drawn, point_masses
    )
    assert np.mean(values == 0) == pytest.approx(0.3, abs=0.015)
    assert (values[drawn < point_masses[0][2]] == 0).all()
    assert (values[drawn > model[1]] > 0).all()


@pytest.fixture
def volumes():
    """Urine in ml: many zeros, a fifth at 60, the rest mostly in tens."""
    rng = np.random.default_rng(3)
    drained = rng.exponential(80, 8000)
    charted = np.where(rng.random(8000) < 0.7, drained.round(-1), drained.round())
    return np.where(rng.random(8000) < 0.2, 60.0, charted)


@pytest.mark.parametrize("channel_type", ["zero_inflated", "bounded"])
def test_values_on_which_measurements_pile_up_are_drawn_as_often(volumes, channel_type):
    (clinical, model), point_masses = fit_map(volumes, "quantile", channel_type)
    drawn = np.random.default_rng(4).normal(size=40_000)
    values = snap(
        interpolate(torch.from_numpy(drawn), model, clinical).numpy(), drawn, point_masses
    ).round()
    for volume in (0, 10, 20, 60, 100, 200):
        share = np.mean(volumes == volume)
        assert np.mean(values == volume) == pytest.approx(share, abs=0.005) and share > 0.005
    every, counts = np.unique(volumes, return_counts=True)
    assert np.isin(every[counts > 8], values).all()  # one in a thousand


@pytest.mark.parametrize("channel_type", ["zero_inflated", "bounded"])
def test_values_beside_a_pile_come_back_as_themselves(volumes, channel_type):
    coded, back, point_masses = both_ways(volumes, "quantile", channel_type)
    np.testing.assert_allclose(back, volumes, atol=1e-9)
    assert len(point_masses) > 20
    assert np.mean(coded) == pytest.approx(0, abs=0.02)
    assert np.std(coded) == pytest.approx(1, abs=0.02)


def test_a_pile_at_the_end_of_the_scale_stands_at_its_middle_rank():
    measured = np.minimum(np.random.default_rng(5).normal(97, 3, 30_000), 100.0)
    coded, _, point_masses = both_ways(measured, "quantile", "bounded")
    share = np.mean(measured == 100)
    middle, start = norm.ppf([1 - share / 2, 1 - share])
    np.testing.assert_allclose(coded[measured == 100], middle)
    assert point_masses == ((100.0, pytest.approx(start), 1e3),)
    assert coded[measured < 100].max() < start


def test_values_that_differ_by_rounding_alone_are_one():
    """0.1 + 0.2 is not 0.3: knots between such values would be closer than float32 can tell."""
    rng = np.random.default_rng(6)
    measured = rng.choice([0.0, 0.3, 0.1 + 0.2, 60.0, 60.0 + 4e-6], 4000) + 0.0
    (clinical, model), point_masses = fit_map(measured, "quantile", "zero_inflated")
    assert [value for value, *_ in point_masses] == [0.0, 0.3, 60.0]
    assert (np.diff(np.float32(clinical)) > 0).all() and (np.diff(np.float32(model)) > 0).all()
    _, back, _ = both_ways(measured, "quantile", "zero_inflated")
    np.testing.assert_allclose(back, measured, atol=1e-5)


@pytest.mark.parametrize("measured", [[0.0, 5.0, 5.0], [5.0, 5.0, 5.0, 7.0], [1.0, 2.0, 3.0]])
@pytest.mark.parametrize("channel_type", ["zero_inflated", "bounded"])
def test_a_few_values_come_back(measured, channel_type):
    _, back, _ = both_ways(np.array(measured), "quantile", channel_type)
    np.testing.assert_allclose(back, measured)


def test_a_skewed_channel_is_symmetric_in_model_space():
    coded, _, _ = both_ways(DRAWS["positive"], "zscore", "positive")
    centred = (coded - coded.mean()) / coded.std()
    assert abs(np.mean(centred**3)) < 0.3  # raw skewness is about 4
    raw = DRAWS["positive"]
    assert np.mean(((raw - raw.mean()) / raw.std()) ** 3) > 2


@pytest.mark.parametrize("wrong", [1e4, 1e6])
def test_one_typing_error_leaves_the_others_their_quantiles(wrong):
    measured = np.append(np.random.default_rng(0).normal(100, 20, 4000), wrong)
    coded, back, _ = both_ways(measured, "quantile", "continuous")
    found = np.quantile(coded, [0.05, 0.25, 0.5, 0.75, 0.95])
    np.testing.assert_allclose(found, [-1.645, -0.674, 0, 0.674, 1.645], atol=0.05)
    np.testing.assert_allclose(back, measured, rtol=1e-9)


@pytest.mark.parametrize(
    ("channel_type", "values", "message"),
    [
        ("positive", [0.0, 1.0, 2.0], "positive channel holds 0"),
        ("zero_inflated", [-1.0, 0.0, 2.0], "zero_inflated channel holds -1"),
        ("binary", [0.0, 1.0, 2.0], "3 different whole values, expected 2 to 2"),
        ("integer", list(map(float, range(100))), "100 different whole values"),
    ],
)
def test_values_that_a_type_cannot_have_are_refused(channel_type, values, message):
    with pytest.raises(DataError, match=message):
        fit_map(np.array(values), "zscore", channel_type)


@pytest.mark.parametrize(
    ("values", "step"),
    [
        (np.round(DRAWS["continuous"], 1), 0.1),
        (np.round(DRAWS["zero_inflated"]), 1.0),
        (np.concatenate([np.arange(70.0), np.arange(30) + 0.25]), 1.0),  # a few means of two
        (DRAWS["positive"], 0.0),
    ],
)
def test_the_step_in_which_a_channel_is_charted_is_found(values, step):
    assert charted_step(values) == step
