"""Which window and step new_experiment proposes, and what it asks about them."""

import logging
import re

import pytest

from configs.runtime.errors import DataError
from tests.support.user_tables import long_rows, propose, told, write


def test_every_variable_of_a_long_table_has_its_own_rhythm(tmp_path, caplog):
    config = told(tmp_path, caplog, long_rows(lambda i: 12))
    assert config.data.step_minutes == 60


def test_stays_of_different_lengths_are_not_told_apart_by_their_end(tmp_path, caplog):
    config = told(tmp_path, caplog, long_rows(lambda i: 10 + 10 * (i % 4)))
    assert config.data.window_hours == 18  # three of four stays go on that long
    told_lengths = r"half of the series are 1[78]\S* to 3[23]\S* h long; the first 18 h were taken"
    assert re.search(told_lengths, caplog.text)
    assert "from which hours is the label to be predicted (data.window_hours)?" in caplog.text


def test_a_proposed_window_may_leave_out_most_values(tmp_path, caplog):
    """A third of the stays last 8 hours, the others 30; the tool refused its own window as a slip
    in the unit."""
    config = told(tmp_path, caplog, long_rows(lambda i: 30 if i % 3 else 9))
    assert config.data.window_hours == 9 and config.data.table.drop_outside
    assert "the first 9 h were taken" in caplog.text and "values outside the window" in caplog.text


def test_of_a_window_that_was_asked_for_no_other_is_said_to_be_taken(tmp_path, caplog):
    asked = "data.window_hours=30"
    config = told(tmp_path, caplog, long_rows(lambda i: 30 if i % 3 else 9), asked)
    assert "were taken" not in caplog.text and not config.data.table.drop_outside
    assert "30 h in steps of 60 min, as asked for" in caplog.text


def test_series_of_one_measurement_choose_no_window(tmp_path, caplog):
    config = told(tmp_path, caplog, long_rows(lambda i: 12 if i % 3 else 1))
    assert config.data.window_hours == 12
    assert "from which hours is the label to be predicted" in caplog.text


def test_the_window_in_force_is_told(tmp_path, caplog):
    told(tmp_path, caplog, long_rows(lambda i: 12), "data.step_minutes=120", "data.window_hours=8")
    assert "8 h in steps of 120 min, as asked for" in caplog.text


def test_times_from_a_named_start_have_their_window_from_there(tmp_path, caplog):
    """Numbers that begin far from 0 are refused with the advice to name it."""
    given = {"a": ([], "0"), "b": (["data.table.start=admitted"], "admitted")}
    for name, (more, zero) in given.items():
        far = 9000 if more else 0
        rows = [[r[0], r[1] + far * r[0], *r[2:], far * r[0]] for r in long_rows(lambda i: 12)]
        columns = ["stay", "minute", "variable", "value", "died", "admitted"]
        (tmp_path / name).mkdir()
        path = write(tmp_path / name / "x.csv", columns, rows)
        with caplog.at_level(logging.INFO):
            config = propose(tmp_path / name, path, *more)
        assert (config.data.window_hours, config.data.step_minutes) == (12, 60)
        assert f"minutes in `minute`, counted from {zero}" in caplog.text
        assert len(re.findall("not used +admitted", caplog.text)) == 1  # of the first
    with pytest.raises(DataError, match="no column nope; .* data.table.start names a column of th"):
        propose(tmp_path, path, "data.table.start=nope")
