"""A config for arrays at hand: .npz of x and y, with or without the patients of the series."""

import logging

import numpy as np
import pytest

from configs.runtime.errors import ConfigError
from tests.support.user_tables import DIED, HOURS, VALUES, N, built, propose, require_true


@pytest.mark.parametrize("names", [("x", "y"), ("data", "label")])
def test_arrays(tmp_path, names, caplog):
    path = tmp_path / "mine.npz"
    np.savez(path, **dict(zip(names, (VALUES, DIED.astype(int)), strict=True)))
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, path)
    require_true(config)
    assert "no patient ids" in caplog.text and "subject_ids=...) avoids it" in caplog.text
    assert "what are the channels called" in caplog.text


def test_ids_of_patients_in_arrays_keep_them_in_one_split(tmp_path):
    path = tmp_path / "mine.npz"
    np.savez(path, x=VALUES, y=DIED.astype(int), subject_ids=np.arange(N) // 2)
    _, _, splits = built(propose(tmp_path, path))
    assert sum(len(set(s.subject_ids.tolist())) for s in splits) == N // 2


def test_what_is_said_of_the_window_is_that_of_the_arrays(tmp_path, caplog):
    path = tmp_path / "mine.npz"
    np.savez(path, x=VALUES, y=DIED.astype(int))
    with caplog.at_level(logging.INFO):
        config = propose(tmp_path, path, "data.step_minutes=5")
    assert f"{HOURS * 5 / 60:g} h in steps of 5 min, as asked for" in caplog.text
    require_true(config)
    with pytest.raises(ConfigError, match=r"window_hours=3: the series last 6 points"):
        propose(tmp_path / "other", path, "data.window_hours=3")
