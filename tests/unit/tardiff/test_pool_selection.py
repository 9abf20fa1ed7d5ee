"""Choosing and weighting by influence: the asked shift arrives, class by class."""

import pytest
import torch

from tardiff.guidance.calibration import Calibration, unguided_scale, winsorised, winsorised_mean
from tardiff.guidance.pool_selection import choose, tilted_weights


def heavy_tailed(n: int = 2000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, generator=generator).double() ** 3


@pytest.mark.parametrize("w", [0.1, 0.4, -0.4])
def test_the_chosen_have_the_asked_mean(w):
    scores = heavy_tailed()
    rows, outcome = choose(scores, 1000, w, seed=0)
    assert len(rows.unique()) == 1000
    unguided = winsorised_mean(scores[:1000])
    shift = (winsorised_mean(scores[rows]) - unguided) / unguided_scale(scores)
    assert shift == pytest.approx(w, abs=0.004) and outcome.realised == pytest.approx(shift)
    assert (outcome.requested, outcome.scale) == (w, unguided_scale(scores))


@pytest.mark.parametrize("w", [0.05, 0.3])
def test_only_what_the_tilt_changes_is_exchanged(w):
    """Maximal coupling: the share that leaves is the total variation between the distributions."""
    scores = torch.randn(40_000, generator=torch.Generator().manual_seed(1)).double()
    rows, outcome = choose(scores, 20_000, w, seed=0)
    exponent = outcome.multiplier * scores / unguided_scale(scores)
    weights = exponent.exp() / exponent.exp().mean()
    expected = float((1 - weights).clamp(min=0).mean())
    assert float((rows >= 20_000).double().mean()) == pytest.approx(expected, abs=0.01)
    # What stays and what comes are together a sample of the tilted distribution.
    above = float((scores[rows] > 1).double().mean())
    assert above == pytest.approx(float((weights * (scores > 1)).mean()), abs=0.01)
    if w == 0.05:  # few enough that the pool is not depleted
        # Those that come are drawn in proportion to what the tilt adds.
        excess = (weights[20_000:] - 1).clamp(min=0)
        mean = float((excess * scores[20_000:]).sum() / excess.sum())
        assert float(scores[rows[rows >= 20_000]].mean()) == pytest.approx(mean, abs=0.06)


def test_the_seed_decides_the_draw():
    scores = heavy_tailed()
    first, again, other = (choose(scores, 1000, 0.2, seed=seed)[0].tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_no_strength_takes_the_first():
    rows, outcome = choose(heavy_tailed(), 50, 0.0, seed=0)
    assert rows.tolist() == list(range(50))
    assert outcome.multiplier == outcome.requested == outcome.realised == 0


def test_an_unreachable_shift_is_reported():
    rows, outcome = choose(heavy_tailed(100), 90, 3.0, seed=0)
    assert outcome.realised is not None and 0 < outcome.realised < 1.0
    assert len(rows.unique()) == 90


def test_what_is_asked_for_beyond_the_reachable_gives_no_less():
    """Beyond its best multiplier the shift falls again."""
    within, beyond = (choose(heavy_tailed(4000), 1000, w, seed=0)[1].realised for w in (0.87, 5.0))
    assert within == pytest.approx(0.87, abs=0.01)
    assert beyond is not None and beyond > 0.87


def test_a_class_of_a_few_series_is_guided_too():
    """Multipliers of w and 2 w exchange none of twelve series; larger ones do."""
    generator = torch.Generator().manual_seed(0)
    for seed in range(20):
        scores = torch.randn(48, generator=generator).double()
        assert choose(scores, 12, 0.2, seed=seed)[1].realised > 0.05


def test_a_class_that_nobody_asked_for():
    rows, outcome = choose(torch.zeros(0).double(), 0, 0.2, seed=0)
    assert rows.shape == (0,) and rows.dtype == torch.int64
    # Nothing is asked of no series, whatever the strength of the other classes.
    assert outcome == Calibration(multiplier=0.0, scale=1.0, requested=0.0, realised=0.0)


@pytest.mark.parametrize("w", [0.4, -0.4])
def test_weights_are_an_exponential_that_has_the_asked_mean_in_each_class(w):
    scores = heavy_tailed(600).abs()  # skewed: exp(0.4 I / s) would raise the mean by 0.8 s
    y = torch.arange(600) % 3
    scores[y == 1] = scores[y == 1] * 5 + 7
    weights = tilted_weights(scores, y, w)
    for label in (0, 1, 2):
        mine = weights[y == label]
        assert float(mine.mean()) == pytest.approx(1.0)
        inner = scores[y == label]
        shift = float((mine * winsorised(inner)).mean()) - winsorised_mean(inner)
        assert shift / unguided_scale(inner) == pytest.approx(w, abs=1e-5)
        low, middle, high = (inner.kthvalue(k).indices for k in (50, 120, 190))
        exponents = [float((mine[k] / mine[low]).log()) for k in (middle, high)]
        gaps = [float(inner[k] - inner[low]) for k in (middle, high)]
        assert exponents[0] / exponents[1] == pytest.approx(gaps[0] / gaps[1])


def test_no_strength_weighs_every_series_alike():
    weights = tilted_weights(heavy_tailed(), torch.zeros(2000, dtype=torch.int64), 0.0)
    assert weights.tolist() == [1.0] * 2000


def test_a_strength_whose_exponential_overflows_gives_finite_weights():
    weights = tilted_weights(heavy_tailed(), torch.zeros(2000, dtype=torch.int64), 300.0)
    assert bool(weights.isfinite().all()) and float(weights.mean()) == pytest.approx(1.0)
