"""Progress: a bar on a terminal, elsewhere a log line now and then with the time left."""

import logging

import pytest

from configs.runtime import progress
from configs.runtime.progress import Progress


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_line_every_half_minute_where_nobody_watches(clock, caplog, capsys):
    caplog.set_level(logging.INFO)
    with Progress("guided", 100, "series", done=40) as shown, Progress(None, 9, "x") as silent:
        for _ in range(5):
            silent.update(1)
            clock[0] += 20.0
            shown.update(10)
            shown.show("loss=0.5" if clock[0] > 150 else "")
    said = [record.message for record in caplog.records]
    # After 40 s 20 of the 60 series that were left are done: 40 more take 80 s.
    assert said == [
        "guided: 60 of 100 series, about 80 s left",
        "guided: 80 of 100 series, about 40 s left (loss=0.5)",
    ]
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal(clock, caplog, capsys, monkeypatch):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: True, raising=False)
    with Progress("guided", 100, "series") as shown:
        clock[0] += 60.0
        shown.update(100)
    assert "guided" in capsys.readouterr().err and not caplog.records
