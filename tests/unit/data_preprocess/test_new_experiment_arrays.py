"""A config for arrays at hand: .npz of x and y, with or without the patients of the series."""

import logging

import numpy as np
import pytest

from tests.support.user_tables import DIED, VALUES, N, built, propose, require_true


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
