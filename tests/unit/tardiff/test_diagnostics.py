"""Scores of whole sets, and the line that says what guidance did to them."""

import logging
from types import SimpleNamespace

import pytest
import torch

from configs.runtime import progress
from tardiff.generation.session import GenerationSession
from tardiff.guidance.diagnostics import GuidanceOutcome, score_all


class Sums:
    def score(self, x, y):
        return x.sum((1, 2)) + y


def test_the_scores_of_many_series_tell_how_far_they_are(monkeypatch, caplog):
    """Minutes of double backward between two lines of compat=paper were silent."""
    monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
    monkeypatch.setattr(progress.sys.stderr, "isatty", lambda: False, raising=False)
    caplog.set_level(logging.INFO)
    x, y, cpu = torch.randn(600, 2, 3), torch.arange(600) % 2, torch.device("cpu")
    plain = score_all(Sums(), x, y, cpu)
    torch.testing.assert_close(plain, x.sum((1, 2)) + y)
    assert not caplog.records
    session = SimpleNamespace(
        _score=lambda x, y: score_all(Sums(), x, y, cpu, title="influence"),
        splits=SimpleNamespace(train=SimpleNamespace(num_classes=2)),
        y=y,
    )
    for found, wanted in zip(
        GenerationSession._scores(session, x), (plain[::2], plain[1::2]), strict=True
    ):
        torch.testing.assert_close(found, wanted)
    said = [record.message.split(", about")[0] for record in caplog.records]
    assert said == ["influence: 512 of 600 series", "influence: 600 of 600 series"]


@pytest.mark.parametrize(
    ("realised", "requested", "warned"),
    [
        ([0.004, -0.009], [0.3, 0.3], True),
        ([0.004, -0.009], [None, None], True),  # a multiplier of Algorithm 1
        ([0.0, 0.0], [0.0, 0.0], False),  # nothing was asked for
        ([0.0, 0.0], [0.0, 0.3], True),
        ([0.004, -0.2], [0.3, 0.3], False),
    ],
)
def test_guidance_that_moved_nothing_is_told(realised, requested, warned):
    none = dict.fromkeys(("mean_score", "mean_score_unguided", "multiplier", "scale"), [0.0, 0.0])
    push = {"shift_rms": 0.0, "relative_to_step": 0.0, "clipped": 0.0, "facts": {}}
    outcome = GuidanceOutcome(
        score="influence", requested=requested, realised=realised, **none, **push
    )
    assert outcome.line(("survived", "died")).endswith("GUIDANCE HAD NO EFFECT") == warned
