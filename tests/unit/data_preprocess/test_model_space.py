"""Model space: values, masks and static covariates in one tensor, and back to legal stays."""

import dataclasses

import numpy as np
import pytest
import torch

from configs.runtime.errors import ConfigError, DataError
from configs.schema.data_sources import SpaceConfig
from configs.schema.experiment import DataConfig
from data_preprocess.impute import impute, train_medians
from data_preprocess.model_space.encoding import decode, encode, loss_weights
from data_preprocess.model_space.fit import fit_space
from data_preprocess.model_space.layout import Layout
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.model_space.static_covariates import StaticCode

NAMES = ("diastolic[mmHg]", "systolic[mmHg]", "gcs[points]")
STATIC = ("age[years]", "unit[1=a,2=b,3=c]")


@pytest.fixture
def stays(make_dataset):
    """120 stays with gaps, a whole-number channel, and unknown ages."""
    rng = np.random.default_rng(1)
    n, length = 120, 8
    diastolic = rng.normal(60, 8, (n, 1, length))
    systolic = diastolic + rng.exponential(40, (n, 1, length))
    gcs = rng.choice([3.0, 9.0, 14.0, 15.0], (n, 1, length))
    values = np.concatenate([diastolic, systolic, gcs], axis=1)
    values[rng.random(values.shape) < 0.4] = np.nan
    filled, observed = impute(values, train_medians(values, NAMES))
    age = np.where(rng.random(n) < 0.1, np.nan, rng.normal(64, 15, n))
    static = np.stack([age, rng.integers(1, 4, n)], axis=1).astype(np.float32)
    return make_dataset(
        n, values=filled, observed=observed, feature_names=NAMES, static=static, static_names=STATIC
    )


def fitted(stays, **space) -> Normaliser:
    chosen = {"masks": True, "types": {"gcs": "integer"}, "static": ["age", "unit"]}
    config = DataConfig(normaliser="quantile", space=SpaceConfig(**(chosen | space)))
    values = np.where(stays.observed, stays.values, np.nan)
    return fit_space(stays, train_medians(values, stays.feature_names), config)


def test_real_stays_come_back_as_they_were(stays):
    normaliser = fitted(stays)
    x = encode(normaliser, stays)
    assert x.shape == (120, 3 + 3 + 2 + 3, 8)  # values, masks, age and its unknown, three units
    values, observed, static = decode(normaliser, x)
    np.testing.assert_array_equal(observed, stays.observed)
    np.testing.assert_allclose(values, stays.values, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(static, stays.static, rtol=1e-3)
    unknown = np.isnan(stays.static[:, 0])
    assert unknown.any() and (x[unknown, 6] == 0).all()  # the median
    swinging = x.clone()
    swinging[:, 6:] += torch.tensor([9.0, -9.0]).repeat(4)  # a fact is of the whole series
    np.testing.assert_allclose(decode(normaliser, swinging)[2], stays.static, rtol=1e-3)


def test_what_was_not_measured_is_carried_forward_whatever_was_drawn_there(stays):
    normaliser = fitted(stays)
    x = encode(normaliser, stays)
    noisy = x.clone()
    hidden = torch.from_numpy(~stays.observed)
    noisy[:, :3][hidden] += 1.0
    np.testing.assert_allclose(decode(normaliser, noisy)[0], stays.values, rtol=1e-4, atol=1e-3)


def test_a_channel_that_is_never_measured_holds_the_train_median(stays):
    normaliser = fitted(stays)
    x = encode(normaliser, stays)
    x[0, 3:6] = -1.0
    values, observed, _ = decode(normaliser, x)
    assert not observed[0].any()
    np.testing.assert_allclose(values[0], np.tile(normaliser.layout.fill, (8, 1)).T, rtol=1e-6)


def test_pressures_rise_in_their_order_where_both_were_measured(stays):
    normaliser = fitted(stays, ordered=[["diastolic", "systolic"]])
    x = torch.randn(200, 11, 8, generator=torch.Generator().manual_seed(0))
    values, observed, _ = decode(normaliser, x)
    both = observed[:, 0] & observed[:, 1]
    assert both.any() and (values[:, 0] <= values[:, 1])[both].all()
    plain = decode(fitted(stays), x)[0]
    assert (plain[:, 0] > plain[:, 1])[both].any()  # there was something to put in order
    alone = observed[:, 0] & ~observed[:, 1]
    np.testing.assert_array_equal(values[:, 0][alone], plain[:, 0][alone])
    ordered, drawn = values[:, :2].swapaxes(1, 2)[both], plain[:, :2].swapaxes(1, 2)[both]
    np.testing.assert_allclose(ordered, np.sort(drawn, 1))


def test_channels_measured_together_share_one_mask(stays):
    alike = stays.observed.copy()
    alike[:, 1] = alike[:, 0]
    alike[0, 1, 0] = ~alike[0, 1, 0]  # one slip of the record is no reason to refuse
    paired = dataclasses.replace(stays, observed=alike)
    x = torch.randn(200, 11, 8, generator=torch.Generator().manual_seed(0))
    apart = decode(fitted(paired), x)[1]
    observed = decode(fitted(paired, together=[["diastolic", "systolic"]]), x)[1]
    assert (apart[:, 0] != apart[:, 1]).mean() > 0.4
    np.testing.assert_array_equal(observed[:, 0], observed[:, 1])
    np.testing.assert_array_equal(observed[:, 0], (x[:, 3] + x[:, 4] > 0).numpy())
    np.testing.assert_array_equal(observed[:, 2], apart[:, 2])


def test_a_group_that_is_not_measured_together_is_refused(stays):
    with pytest.raises(ConfigError, match=r"together: at 4\d.\d% of the grid points some of dia"):
        fitted(stays, together=[["diastolic", "systolic"]])
    with pytest.raises(ConfigError, match="set data.space.masks=true"):
        fitted(stays, together=[["diastolic", "systolic"]], masks=False)


def test_rounding_does_not_leave_the_measured_range(stays):
    """The lowest value of all is no multiple of the step in which most are charted."""
    values, observed = np.round(stays.values), stays.observed.copy()
    values[0, 0, 0] = low = values[:, 0].min() - 0.4
    observed[0, 0, 0] = True
    odd = dataclasses.replace(stays, values=values, observed=observed)
    normaliser = fitted(odd, rounded=True)
    x = torch.full((1, normaliser.num_model_channels, values.shape[2]), -9.0)
    x[:, 3:6] = 1.0  # measured
    assert normaliser.steps[0] == 1
    assert decode(normaliser, x)[0][0, 0, 0] == pytest.approx(low)


def test_drawn_values_are_rounded_as_the_channel_is_charted(stays):
    whole = dataclasses.replace(stays, values=np.round(stays.values))
    x = torch.randn(50, 11, 8, generator=torch.Generator().manual_seed(0))
    values = decode(fitted(whole, rounded=True), x)[0]
    assert (values == np.round(values)).all()
    assert (decode(fitted(whole), x)[0][:, 0] % 1 != 0).mean() > 0.9


def test_dithered_values_are_spread_over_what_they_stand_for_and_come_back(stays):
    whole = dataclasses.replace(stays, values=np.round(stays.values))
    normaliser = fitted(whole, rounded=True)
    x = normaliser.dithered(whole.values, np.random.default_rng(0))
    np.testing.assert_allclose(normaliser.to_clinical(x), whole.values, atol=1e-4)
    unrounded = normaliser.inverse_map(x[:, :1].double().expand(-1, 3, -1))[:, 0].numpy()
    off = (unrounded - whole.values[:, 0])[np.abs(x[:, 0].numpy()) < 2]
    assert np.abs(off).max() <= 0.5 + 1e-3 and 0.25 < off.std() < 0.33  # uniform: 0.289
    # Stretches of the whole-number channel, drawn normal, together are a normal distribution.
    measured = x[:, 2][torch.from_numpy(whole.observed[:, 2])]
    assert abs(float(measured.mean())) < 0.1 and float(measured.std()) == pytest.approx(1, abs=0.1)
    plain = dataclasses.replace(normaliser, steps=(), point_masses=())
    assert torch.equal(
        plain.dithered(whole.values, np.random.default_rng(0)), plain.to_model(whole.values)
    )


def test_dithered_values_beside_a_pile_come_back(stays):
    tens = np.random.default_rng(2).random(stays.values.shape) < 0.9
    values = np.where(tens, np.round(stays.values, -1), np.round(stays.values))
    whole = dataclasses.replace(stays, values=values.clip(3))
    types = {"diastolic": "bounded", "systolic": "zero_inflated", "gcs": "continuous"}
    normaliser = fitted(whole, rounded=True, types=types)
    piles = [value for value, *_ in normaliser.point_masses[1]]
    beside = np.setdiff1d(whole.values[:, 1][whole.observed[:, 1]], piles)
    assert np.isin([*np.add(piles, 1), *np.subtract(piles, 1)], beside).sum() > 5
    back = normaliser.to_clinical(normaliser.dithered(whole.values, np.random.default_rng(0)))
    measured = whole.observed  # a map knows no others
    np.testing.assert_allclose(back[measured], whole.values[measured], atol=1e-4)


def test_drawn_facts_are_legal(stays):
    normaliser = fitted(stays)
    x = torch.randn(500, 11, 8, generator=torch.Generator().manual_seed(0))
    age, unit = decode(normaliser, x)[2].T
    known = stays.static[:, 0][~np.isnan(stays.static[:, 0])]
    assert set(np.unique(unit)) == {1.0, 2.0, 3.0}
    assert np.isnan(age).any()
    assert known.min() <= np.nanmin(age) and np.nanmax(age) <= known.max()


def test_only_values_can_be_left_out_of_the_loss(stays):
    weights = loss_weights(fitted(stays), stays)
    assert torch.equal(weights[:, :3], torch.from_numpy(stays.observed))
    assert weights[:, 3:].all()


def test_a_normaliser_with_a_layout_survives_its_file(stays, tmp_path):
    same = dataclasses.replace(stays, observed=np.repeat(stays.observed[:, :1], 3, axis=1))
    pair = [["diastolic", "systolic"]]
    normaliser = fitted(same, ordered=pair, together=pair)
    normaliser.save(tmp_path / "n.json")
    loaded = Normaliser.load(tmp_path / "n.json")
    assert loaded.fingerprint() == normaliser.fingerprint()
    assert torch.equal(encode(loaded, stays), encode(normaliser, stays))
    assert loaded.layout == normaliser.layout and loaded.layout.together == ((0, 1),)
    for other in ({"ordered": pair}, {"together": pair}):
        assert loaded.fingerprint() != fitted(same, **other).fingerprint()


def test_without_a_layout_the_fingerprint_is_what_it_was(stays):
    plain = Normaliser.fit(stays, kind="zscore")
    assert set(plain.to_plain()) == {"kind", "feature_names", "knots", "low", "high", "clip"}


@pytest.mark.parametrize(
    ("space", "error", "message"),
    [
        ({"types": {"gsc": "integer"}}, ConfigError, "data.space.types: no 'gsc'.*gcs"),
        ({"types": {"gcs": "whole"}}, ConfigError, "gcs=whole: expected one of continuous"),
        ({"types": {"systolic": "binary"}}, DataError, "channel systolic.*expected 2 to 2"),
        ({"static": ["weight"]}, ConfigError, "data.space.static: no 'weight'.*age, unit"),
        ({"ordered": [["diastolic", "x"]]}, ConfigError, "data.space.ordered: no 'x'"),
    ],
)
def test_what_the_data_do_not_have_is_refused(stays, space, error, message):
    with pytest.raises(error, match=message):
        fitted(stays, **space)


def test_a_fact_that_never_varies_is_refused():
    with pytest.raises(DataError, match="age.*1 different values"):
        StaticCode.fit("age[years]", np.full(5, 60.0))


def test_a_layout_of_other_channels_is_refused():
    with pytest.raises(DataError, match="2 fill values, expected 3"):
        Layout(masks=True, fill=(1.0, 2.0)).require_channels(3)
    with pytest.raises(DataError, match=r"ordered group \(0, 7\)"):
        Layout(ordered=((0, 7),)).require_channels(3)
