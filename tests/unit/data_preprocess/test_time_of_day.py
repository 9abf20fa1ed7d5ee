"""Times that begin anew every day: refused beside their day, asked about where they may."""

import logging

import pytest

from configs.runtime.errors import DataError
from tests.support.user_tables import changed, propose, require_true, write


def beside_days(path, clock, day):
    """The wide table with other times, and the day beside them; stays begin at 21:00."""
    header, rows = changed(hour=clock, patient_id=lambda r: day((21 + r["hour"]) // 24 + 1))
    return write(path, ["day" if c == "patient_id" else c for c in header], rows)


@pytest.mark.parametrize(
    ("clock", "day"),
    [("{}", "{}"), ("{:02d}:00:00", "2020-02-{:02d}"), ("{:02d}:00:00", "{:02d}.02.2020")],
)
def test_a_time_of_day_beside_its_day_is_refused(tmp_path, clock, day):
    """Of a length of time the days would lie on top of each other."""
    path = beside_days(
        tmp_path / "x.csv", lambda r: clock.format((21 + r["hour"]) % 24), day.format
    )
    with pytest.raises(
        DataError, match="`hour` begins anew on another `day` .80 of 80 .*Write one"
    ):
        propose(tmp_path, path)


@pytest.mark.parametrize("clock", ["{}", "{:02d}:00:00"])
def test_a_length_of_time_beside_a_day_is_read(tmp_path, caplog, clock):
    path = beside_days(
        tmp_path / "x.csv",
        lambda r: clock.format(r["hour"]),
        lambda number: "31.01.2020" if number == 1 else "01.02.2020",
    )
    require_true(propose(tmp_path, path))
    assert "time of day" not in caplog.text


@pytest.mark.parametrize("evening", [0, 21])
def test_times_that_pass_midnight_are_asked_about(tmp_path, caplog, evening):
    rule = {"hour": lambda r: f"{(evening + r['hour']) % 24:02d}:00:00"}
    with caplog.at_level(logging.INFO):
        propose(tmp_path, write(tmp_path / "x.csv", *changed(**rule)))
    asked = "`hour` goes back from row to row in 80 of 80 series and stays below 24 h: if it is a"
    assert (asked in caplog.text) == bool(evening)
