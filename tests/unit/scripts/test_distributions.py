"""Histograms of the channels in the report."""

import numpy as np
import pytest

from scripts.pictures.distributions import BINS, bin_edges, distribution_picture
from scripts.pictures.styles import Styles
from scripts.quality.fidelity.marginals import marginals_report
from tests.support.metric_sets import comparison, dataset, gaussian


def per_bin(values, step):
    """How many charted steps lie in each bin."""
    edges = bin_edges(values)
    grid = np.arange(round(values.min() / step) - 500, round(values.max() / step) + 500) * step
    counts, _ = np.histogram(grid, edges)
    low, high = np.quantile(values, [0.005, 0.995])
    assert edges[0] <= low and edges[-1] >= high
    assert len(counts) <= BINS + 1
    return set(counts.tolist())


@pytest.mark.parametrize(("mean", "sd", "step", "held"), [(97, 2, 1, 1), (120, 20, 1, 3)])
def test_every_bin_holds_equally_many_charted_steps(mean, sd, step, held):
    rng = np.random.default_rng(0)
    values = (rng.normal(mean, sd, 20000) / step).round() * step
    assert per_bin(values.astype(np.float32), step) == {held}


def test_tenths_in_single_precision_are_steps_too():
    values = np.random.default_rng(1).normal(37, 0.5, 20000).round(1).astype(np.float32)
    assert per_bin(values, 0.1) == {1}
    odd = np.concatenate([values, np.float32([36.37, 37.22])])  # two from Fahrenheit
    assert per_bin(odd, 0.1) == {1}


def test_other_values_have_bins_of_equal_width_without_the_tails():
    values = np.random.default_rng(2).normal(size=20000)
    edges = bin_edges(values)
    assert len(edges) == BINS + 1 and np.ptp(np.diff(edges)) < 1e-12
    assert edges[[0, -1]] == pytest.approx(np.quantile(values, [0.005, 0.995]))
    assert bin_edges(np.full(9, 5.0)).tolist() == [4.5, 5.5]
    assert bin_edges(np.full(9, 5.003))[[0, -1]] == pytest.approx([5.003, 6.003])


def test_heights_are_shares_of_all_values():
    """A set that lies mostly beyond the axis is not drawn as high as one within."""
    test = gaussian(200, 0)
    sets = {"wide": dataset(10 * gaussian(200, 1).values), "off": dataset(test.values + 50)}
    figure = distribution_picture(test, sets, Styles(list(sets)), seed=0, reports={}).figure
    for axes, channel in zip(figure.axes, range(test.num_channels), strict=True):
        edges = bin_edges(test.values[:, channel])
        for patch, made in zip(axes.patches, (test, *sets.values()), strict=True):
            values = made.values[:, channel]
            within = ((values >= edges[0]) & (values <= edges[-1])).mean()
            assert patch.get_data().values.sum() == pytest.approx(within)


def test_the_distances_named_are_those_of_the_tables():
    """Metrics draw other series; of few, the farthest channel can be another one."""
    train, test, made = gaussian(60, 0), gaussian(60, 1), gaussian(40, 2)
    sets = {"made": made}
    report = marginals_report(comparison(train, test, made), seed=0)
    arguments = test, sets, Styles(list(sets))
    caption = distribution_picture(*arguments, seed=0, reports={"made": report}).caption
    assert f"{report.values['marginal_ks']:.3f} on average over 2 channels" in caption
    own = distribution_picture(*arguments, seed=0, reports={}).caption
    assert "on average" in own and own != caption
