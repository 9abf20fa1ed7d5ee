"""Resampling toward real series: the ratio is found where it is known, and nothing where there is
none."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from configs.runtime.processes import Processes
from data_preprocess.model_space.encoding import EncodedSeries
from tardiff.generation import density_ratio as module
from tardiff.generation.density_ratio import density_ratio
from tardiff.guidance.pool_selection import choose, draw


def series(n: int, *, jumps: float, seed: int) -> EncodedSeries:
    """Noise; a share of `jumps` has one hour that is 4 higher."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, 12, generator=generator)
    jumping = torch.rand(n, generator=generator) < jumps
    x[jumping, 0, 5] += 4.0
    return EncodedSeries(x, torch.arange(n) % 2)


def has_jump(of: EncodedSeries) -> torch.Tensor:
    return of.x[:, 0, 5] > 2.5


def test_the_ratio_is_that_of_the_shares():
    """Jumps in 10 % of the real and 40 % of the generated series: a ratio of 1/4 against 3/2, seen
    through trees that fit noise too."""
    real = series(3000, jumps=0.1, seed=0)
    generated = series(6000, jumps=0.4, seed=1)
    found = density_ratio(real, generated, seed=0)
    jump = has_jump(generated)
    gap = float(found.log_ratio[jump].mean() - found.log_ratio[~jump].mean())
    expected = math.log((0.1 / 0.4) / (0.9 / 0.6))
    assert expected < gap < 0.6 * expected
    assert found.auc > 0.6 and found.slope > 0.5
    assert 0.3 < found.to_plain()["effective_share"] < 0.95


def test_other_folds_make_it_more_certain(monkeypatch):
    """The mean of estimates from different folds tells more than each; which process made them
    changes nothing."""
    real, generated = series(600, jumps=0.1, seed=0), series(1200, jumps=0.4, seed=1)
    found = density_ratio(real, generated, seed=0)
    beside = density_ratio(real, generated, seed=0, processes=Processes(workers=2))
    assert torch.equal(beside.log_ratio, found.log_ratio)
    monkeypatch.setattr(module, "REPEATS", 1)
    each = [density_ratio(real, generated, seed=seed).auc for seed in range(4)]
    assert found.auc > max(each)


def test_most_of_what_is_too_many_goes():
    real = series(3000, jumps=0.1, seed=0)
    generated = series(6000, jumps=0.4, seed=1)
    base = density_ratio(real, generated, seed=0).log_ratio
    share = float(has_jump(generated)[draw(base, 2000, seed=0)].float().mean())
    assert 0.09 < share < 0.2


def test_equal_distributions_prefer_nothing():
    real, generated = (series(2000, jumps=0.2, seed=seed) for seed in (0, 1))
    found = density_ratio(real, generated, seed=0)
    assert found.auc == pytest.approx(0.5, abs=0.03)
    assert found.to_plain()["effective_share"] > 0.95


def test_other_class_shares_bend_no_class():
    """A perfect generator whose classes, far apart, are asked for equally often: nothing within a
    class is preferred."""

    def classes(n: int, ones: int, seed: int) -> EncodedSeries:
        generator = torch.Generator().manual_seed(seed)
        y = (torch.arange(n) < ones).long()
        return EncodedSeries(torch.randn(n, 2, 12, generator=generator) + y[:, None, None], y)

    real, generated = classes(2000, 200, seed=0), classes(1000, 500, seed=1)
    log_ratio = density_ratio(real, generated, seed=0).log_ratio
    level = generated.x.mean((1, 2)).double()
    for label in (0, 1):
        weights = log_ratio[generated.y == label].softmax(0)
        mine = level[generated.y == label]
        assert abs(float(weights @ mine - mine.mean()) / float(mine.std())) < 0.1


def test_a_copy_of_a_training_series_is_not_preferred():
    """Trees that had seen the series would know it again."""
    real = series(2000, jumps=0.2, seed=0)
    generated = series(4000, jumps=0.2, seed=1)
    generated.x[:500] = real.x[:500]
    found = density_ratio(real, generated, seed=0)
    gap = float(found.log_ratio[:500].mean() - found.log_ratio[500:].mean())
    assert abs(gap) < 0.05


def patients(count: int, each: int, seed: int) -> EncodedSeries:
    """Patients of a course of their own, with `each` series."""
    generator = torch.Generator().manual_seed(seed)
    own = torch.randn(count, 3, 12, generator=generator).repeat_interleave(each, 0)
    x = own + 0.5 * torch.randn(count * each, 3, 12, generator=generator)
    y, subject_ids = torch.arange(count * each) % 2, np.repeat(np.arange(count), each)
    return EncodedSeries(x, y, subject_ids)


def test_patients_with_many_alike_series_are_not_preferred():
    """Fresh patients of the population: trees that had seen other series of a training patient
    would know it again, and prefer what is near to it."""
    real, generated = patients(60, 20, seed=0), patients(3000, 1, seed=1)
    found = density_ratio(real, generated, seed=0)
    assert found.auc == pytest.approx(0.5, abs=0.1)
    assert found.to_plain()["effective_share"] > 0.9


def test_patients_with_series_that_are_not_alike_change_nothing():
    real, generated = series(1000, jumps=0.1, seed=0), series(2000, jumps=0.4, seed=1)
    of_patients = dataclasses.replace(real, subject_ids=np.arange(1000) // 5)
    expected = density_ratio(real, generated, seed=0).log_ratio
    assert torch.equal(density_ratio(of_patients, generated, seed=0).log_ratio, expected)


def test_a_few_patients_with_alike_series_prefer_nothing():
    found = density_ratio(patients(19, 20, seed=0), patients(1000, 1, seed=1), seed=0)
    assert (found.log_ratio == 0).all()


def test_too_few_series_are_taken_as_they_come():
    real, generated = series(199, jumps=0.0, seed=0), series(400, jumps=1.0, seed=1)
    found = density_ratio(real, generated, seed=0)
    assert found.to_plain() == {"auc": 0.5, "slope": 0.0, "effective_share": 1.0}
    assert (found.log_ratio == 0).all() and found.log_ratio.dtype == torch.float64
    assert draw(found.log_ratio, 100, seed=0).tolist() == list(range(100))


def test_real_series_of_another_class_do_not_count():
    """They weigh 0: the ratio would rest on the six others."""
    real = EncodedSeries(series(400, jumps=0.0, seed=0).x, (torch.arange(400) < 6).long())
    generated = EncodedSeries(series(400, jumps=0.5, seed=1).x, torch.ones_like(real.y))
    assert (density_ratio(real, generated, seed=0).log_ratio == 0).all()


def test_guidance_starts_from_the_resampled_set():
    """The unguided set is that of w = 0, and the shift is counted from its mean."""
    generator = torch.Generator().manual_seed(0)
    scores, base = torch.randn(2, 6000, generator=generator).double()
    unguided, none = choose(scores, 2000, 0.0, seed=0, base=base)
    assert torch.equal(unguided, draw(base, 2000, seed=0)) and none.realised == 0
    guided, outcome = choose(scores, 2000, 0.2, seed=0, base=base)
    shift = scores[guided].mean() - scores[unguided].mean()
    assert float(shift) == pytest.approx(0.2, abs=0.03)
    assert outcome.realised == pytest.approx(0.2, abs=0.01)
    # What the base prefers is preferred in both, and most series are shared.
    assert float(base[guided].mean() - base[unguided].mean()) == pytest.approx(0, abs=0.06)
    assert len(set(guided.tolist()) & set(unguided.tolist())) > 1600
