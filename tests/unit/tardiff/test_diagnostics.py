"""Scores of whole sets."""

import logging

import torch

from configs.runtime import progress
from tardiff.guidance.diagnostics import score_all


def direction(x, y):
    return x.sum((1, 2)) + y, x


def test_the_scores_of_many_series_tell_how_far_they_are(monkeypatch, caplog):
    """Minutes of double backward between two lines of compat=paper were silent."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    caplog.set_level(logging.INFO)
    x, y, cpu = torch.randn(600, 2, 3), torch.arange(600) % 2, torch.device("cpu")
    torch.testing.assert_close(score_all(direction, x, y, cpu), x.sum((1, 2)) + y)
    assert not caplog.records
    told = score_all(direction, x, y, cpu, title="influence")
    torch.testing.assert_close(told, x.sum((1, 2)) + y)
    said = [record.message.split(", about")[0] for record in caplog.records]
    assert said == ["influence: 512 of 600 series", "influence: 600 of 600 series"]
