"""Imputation: forward, backward, train median - against a plain loop."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.runtime.errors import DataError
from data_preprocess.impute import impute, train_medians


def naive(series, fill):
    filled, last = list(series), None
    for step, value in enumerate(series):
        last = last if np.isnan(value) else value
        filled[step] = np.nan if last is None else last
    for step in reversed(range(len(filled))):
        if np.isnan(filled[step]):
            filled[step] = filled[step + 1] if step + 1 < len(filled) else np.nan
    return [fill if np.isnan(value) else value for value in filled]


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.floats(0, 1))
def test_equals_a_plain_loop(seed, length, missing):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(5, 3, length)).astype(np.float32)
    values[rng.random(values.shape) < missing] = np.nan
    fill = np.array([10.0, 20.0, 30.0])
    filled, observed = impute(values, fill)
    expected = [[naive(values[i, c], fill[c]) for c in range(3)] for i in range(5)]
    np.testing.assert_array_equal(filled, np.array(expected, np.float32))
    np.testing.assert_array_equal(observed, ~np.isnan(values))
    assert filled.dtype == np.float32


def test_medians_are_of_measured_entries_per_channel():
    values = np.array([[[1.0, np.nan, 3.0], [5.0, 5.0, 8.0]], [[9.0, np.nan, 2.0], [np.nan] * 3]])
    np.testing.assert_array_equal(train_medians(values, ["a", "b"]), [2.5, 5.0])


def test_a_channel_without_any_measurement_is_named():
    values = np.full((4, 2, 3), np.nan)
    values[:, 0] = 1.0
    with pytest.raises(DataError, match=r"no measurement of lactate in the 4 stays"):
        train_medians(values, ["heart_rate", "lactate"])
