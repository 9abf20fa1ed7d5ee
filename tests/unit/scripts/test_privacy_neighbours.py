import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score

from scripts.quality.common.metric_report import auc_interval, wilson
from tardiff.privacy.memorisation import nearest


@pytest.mark.parametrize("exclude_self", [False, True])
def test_equals_all_pairwise_distances_in_order(exclude_self):
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(1500, 6, generator=generator)
    query = reference if exclude_self else torch.randn(900, 6, generator=generator)
    distances, rows = nearest(query, reference, k=3, exclude_self=exclude_self)
    every = cdist(query.numpy(), reference.numpy())
    if exclude_self:
        np.fill_diagonal(every, np.inf)
    order = every.argsort(1)[:, :3]
    assert np.array_equal(rows.numpy(), order)
    assert distances.numpy() == pytest.approx(np.take_along_axis(every, order, 1), rel=1e-5)


def test_near_copies_far_from_the_origin_keep_their_distance():
    """|q|^2 - 2qr + |r|^2 in single precision gives 0, or noise of 0.1, here."""
    reference = torch.randn(500, 100, generator=torch.Generator().manual_seed(0)) * 5 + 300
    query = reference + 1e-3
    distances, rows = nearest(query, reference)
    assert rows[:, 0].tolist() == list(range(500))
    assert distances.numpy() == pytest.approx(1e-2, rel=0.05)


def test_row_numbers_follow_the_exact_distances():
    """Twins so close that the fast formula orders them at random."""
    base = torch.randn(200, 100, generator=torch.Generator().manual_seed(0)) * 300
    reference = torch.cat([base + 0.02, base])
    _, rows = nearest(base + 0.005, reference, k=2)
    assert rows[:, 0].tolist() == list(range(200, 400))
    assert rows[:, 1].tolist() == list(range(200))


def test_a_second_equal_row_is_a_neighbour_the_row_itself_is_not():
    reference = torch.tensor([[0.0], [0.0], [5.0]])
    distances, rows = nearest(reference, reference, exclude_self=True)
    assert distances[:, 0].tolist() == [0.0, 0.0, 5.0] and rows[:2, 0].tolist() == [1, 0]


def test_a_copy_far_from_the_origin_is_at_distance_zero():
    """|q|^2 - 2qr + |r|^2 gives about 1e-4 here, in double precision too."""
    reference = torch.randn(500, 100, generator=torch.Generator().manual_seed(0)) * 5 + 300
    distances, rows = nearest(reference.clone(), reference)
    assert rows[:, 0].tolist() == list(range(500)) and not distances.any()


def test_more_neighbours_than_rows_are_refused():
    with pytest.raises(ValueError, match="n_neighbors = 3, n_samples_fit = 3"):
        nearest(torch.zeros(3, 1), torch.zeros(3, 1), k=3, exclude_self=True)


@pytest.mark.parametrize(("hits", "trials"), [(0, 20), (3, 50), (50, 50), (41, 77)])
def test_wilson_equals_scipy(hits, trials):
    expected = binomtest(hits, trials).proportion_ci(method="wilson")
    assert wilson(hits / trials, trials) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_nothing_seen_is_not_surely_above_zero():
    assert all(wilson(0.0, n)[0] == 0.0 and wilson(1.0, n)[1] == 1.0 for n in range(1, 500))


def test_auc_interval_covers_the_true_auc():
    rng = np.random.default_rng(0)
    true, covered = norm.cdf(1 / np.sqrt(2)), 0
    labels = np.r_[np.zeros(60), np.ones(40)]
    for _ in range(400):
        auc = float(roc_auc_score(labels, rng.normal(size=100) + labels))
        low, high = auc_interval(auc, 40, 60)
        covered += low <= true <= high
    assert 0.92 <= covered / 400 <= 0.98
