"""No copy of a training stay leaves generation: planted copies are replaced, or it stops."""

import numpy as np
import pytest
import torch

from configs.runtime.errors import UserError
from data_preprocess.model_space.normaliser import Normaliser
from tardiff.generation.pilot import pilot_numbers
from tardiff.generation.reverse_process import fresh_numbers
from tardiff.privacy.memorisation import SAME, TRIES, closeness, replace_copies, telling
from tests.support.metric_sets import gaussian


def series(n, seed, shape=(3, 8)):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed))


def fresh(rows, attempt):
    return series(len(rows), 100 + attempt)


def planted(train):
    x = series(200, 1)
    x[[3, 50]] = train[[7, 8]]
    x[120] = train[9] + 0.3 * series(1, 5)[0]
    return x


def test_copies_and_near_copies_are_replaced_and_nothing_else():
    train = series(300, 0)
    x = planted(train)
    made, check = replace_copies(x, train, fresh)
    assert (check.copies, check.near, check.tries) == (2, 3, 1)
    changed = (made != x).flatten(1).any(1)
    assert changed.nonzero().flatten().tolist() == [3, 50, 120]
    assert not closeness(made, train).near.any()
    assert x[3].equal(train[7])  # the caller's tensor is left alone


def test_a_copy_with_a_little_noise_is_a_copy():
    train = series(300, 0)
    x = series(200, 1)
    x[3] = train[7] + 0.05 * series(1, 5)[0]
    assert closeness(x, train).copy.nonzero()[0].tolist() == [3]


def test_what_chance_brings_near_is_no_copy():
    """Flat series have one degree of freedom: among 2,000, many have a twin and no second one."""
    level, other = series(2000, 0, (1, 1)), series(2000, 1, (1, 1))
    found = closeness(other.expand(-1, 1, 8), level.expand(-1, 1, 8))
    assert found.near.sum() > 500
    assert np.array_equal(found.copy, found.distance <= SAME)


def test_series_with_next_to_nothing_measured_tell_of_nobody():
    real = gaussian(6, 0, (3, 8))
    real.observed[:] = False
    for row, measured in enumerate((0, 2, 8, 9, 10, 24)):
        real.observed[row].flat[:measured] = True
    normaliser = Normaliser.fit(gaussian(50, 1, (3, 8)))
    assert telling(real, normaliser).equal(normaliser.to_model(real.values[3:]))
    short = gaussian(5, 0, (1, 4))  # never more than four values: all of them are enough
    short.observed[0, 0, 1] = False
    assert len(telling(short, Normaliser.fit(short))) == 4
    nobody = closeness(series(7, 1), series(0, 0))
    assert not nobody.copy.any() and not nobody.near.any() and len(nobody.distance) == 7


def test_a_replacement_that_is_a_copy_is_replaced_too():
    train = series(300, 0)
    made, check = replace_copies(
        planted(train), train, lambda rows, t: train[rows] if t < 3 else fresh(rows, t)
    )
    assert check.tries == 3 and not closeness(made, train).near.any()


def test_a_model_that_gives_nothing_but_copies_stops_with_the_way_out():
    train = series(300, 0)
    with pytest.raises(UserError, match=r"3 of 200 .*generation.allow_copies=true"):
        replace_copies(planted(train), train, lambda rows, _: train[rows])


def test_copies_are_looked_for_behind_what_a_set_goes_through():
    """A bound that is applied at release can turn a series into a copy."""
    train = series(300, 0).clamp(-1, 1)
    x = series(20, 1)
    x[4] = 2.5 * torch.where(train[11].abs() < 1, train[11] / 2.5, train[11])
    assert not closeness(x, train).copy.any()
    _, check = replace_copies(x, train, fresh, through=lambda s: s.clamp(-1, 1))
    assert check.copies == 1


def test_ordinary_sets_are_left_as_they_are():
    train = series(2000, 0)
    x = series(2000, 1)
    made, check = replace_copies(x, train, lambda rows, _: pytest.fail("replaced"))
    assert made is x and check.near == 0


def test_replacements_have_numbers_of_their_own():
    used = {n for t in range(1, TRIES + 1) for n in fresh_numbers(np.arange(50), t)}
    assert len(used) == 50 * TRIES
    assert min(used) > max(pilot_numbers(1000, 1 << 20)[-1], 1 << 32)
    np.random.SeedSequence([0, max(used)])
