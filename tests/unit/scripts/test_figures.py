"""What the figures show: every set, told apart, with its numbers."""

import dataclasses
import itertools

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from scripts.pictures.curves import (
    GRID,
    average_curves,
    curve_figure,
    reliability,
    reliability_figure,
    training_sources,
)
from scripts.pictures.distances import distance_picture
from scripts.pictures.distributions import distribution_picture
from scripts.pictures.embedding import embedding_picture
from scripts.pictures.examples import example_picture
from scripts.pictures.guidance_change import guidance_change, guidance_change_picture
from scripts.pictures.influence import Influence, influence_picture
from scripts.pictures.scores import (
    difference_figure,
    file_name,
    headline_figure,
    headline_rows,
    reading,
    score_pictures,
    tsrtr_figure,
)
from scripts.pictures.styles import Styles, save
from scripts.quality.common.metric_report import MetricReport, bounded
from scripts.utility.bootstrap import Difference
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import EncodedArrays, Fit
from scripts.utility.summary import summarise
from tests.support.metric_sets import dataset, gaussian
from tests.unit.scripts.test_summary import make_results

STYLES = Styles(["unguided", "influence"])


@pytest.fixture(scope="module")
def results():
    return make_results()


@pytest.fixture(scope="module")
def summaries(results):
    return summarise(results, np.arange(200), resamples=100)


def legend_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_tsrtr_curve_starts_at_the_real_baseline(summaries):
    figure = tsrtr_figure(summaries, STYLES)
    assert legend_of(figure) == ["real only", "unguided", "influence"]
    values = {(s.protocol, s.generator, s.metric): s.mean for s in summaries}
    for axes, metric in zip(figure.axes, ("auroc", "auprc"), strict=True):
        line = next(line for line in axes.lines if line.get_label() == "influence")
        assert line.get_xdata().tolist() == [0.0, 0.5]
        expected = [values["TRTR", "real", metric], values["TSRTR", "influence", metric]]
        assert line.get_ydata().tolist() == expected


@pytest.mark.parametrize("amounts", [[0.5], [0.25, 0.5]])
def test_a_curve_needs_two_amounts_of_synthetic_data(results, summaries, amounts):
    mixed = [s for s in summaries if s.protocol == "TSRTR"]
    rows = [s for s in summaries if s.protocol != "TSRTR"]
    rows += [dataclasses.replace(s, ratio=amount) for s in mixed for amount in amounts]
    names = [picture.name for picture in score_pictures(rows, results, STYLES)]
    assert ("tsrtr_classifier" in names) == (len(amounts) > 1)


def test_headline_shows_each_source_with_its_interval(summaries):
    figure = headline_figure(summaries, STYLES)
    axes = figure.axes[0]
    rows = headline_rows(summaries)
    wanted = ("TRTR", "TSTR", "TSRTR")
    expected = [s for w in wanted for s in summaries if (s.protocol, s.metric) == (w, "auroc")]
    assert rows == expected
    smaller = [dataclasses.replace(s, ratio=0.25) for s in summaries if s.protocol == "TSRTR"]
    assert headline_rows([*smaller, *summaries]) == rows
    drawn = [line.get_xdata().tolist() for line in axes.lines]
    assert drawn == [x for row in rows for x in ([row.low, row.high], [row.mean])]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[0] == "real" and names[-1] == "real + 0.5 synthetic: influence"
    assert not figure.legends


def test_the_true_risk_is_a_line_where_it_is_known(results):
    bound = results[Fit("TRTR", "real", 0.0, "classifier", 0)]
    known = results | {Fit("UPPER", "simulator", None, "classifier", 0): bound}
    summaries = summarise(known, np.arange(200), resamples=100)
    figure = headline_figure(summaries, STYLES)
    assert "true risk" in legend_of(figure)[0]
    last = figure.axes[0].lines[-1].get_xdata()
    assert last[0] == pytest.approx(roc_auc_score(bound.labels, bound.probabilities[:, 1]))


def test_differences_are_to_unguided_or_else_to_real(summaries):
    figure = difference_figure(summaries, STYLES)
    assert "unguided set" in figure.get_suptitle()
    assert legend_of(figure) == ["influence"]
    alone = [
        dataclasses.replace(s, vs_unguided=None) for s in summaries if s.generator != "unguided"
    ]
    figure = difference_figure(alone, STYLES)
    assert "real-only" in figure.get_suptitle()


def test_differences_of_equal_sets_have_an_axis(summaries):
    """Where the strength is 0 they are all 0, and rounding would be the scale."""
    zero = dict.fromkeys(("mean", "low", "high", "test_low", "test_high"), 0.0)
    equal = [
        dataclasses.replace(s, vs_unguided=dataclasses.replace(s.vs_unguided, **zero))
        for s in summaries
        if s.vs_unguided is not None
    ]
    for axes in difference_figure(equal, STYLES).axes:
        low, high = axes.get_xlim()
        assert low <= -0.005 and high >= 0.005


def test_every_set_is_told_apart_without_colour(results):
    names = ["unguided", "a", "b", "c"]
    styles = Styles(names)
    assert len({styles.line(name)["marker"] for name in names}) == 4
    assert len({styles.colour(name) for name in names}) == 4
    assert legend_of(
        curve_figure(training_sources(results, "classifier"), "classifier", STYLES)
    ) == [
        "real only",
        "unguided",
        "influence",
        "chance",
    ]


def test_averaged_curves_enclose_the_scores():
    rng = np.random.default_rng(0)
    y = (rng.random(2000) < 0.2).astype(np.int64)
    p = 1 / (1 + np.exp(-(rng.normal(size=2000) + 1.5 * y)))
    one = Predictions(probabilities=np.stack([1 - p, p], 1), labels=y, minority=1, threshold=0.5)
    rate, precision = average_curves([one, one])
    assert auc(GRID, rate) == pytest.approx(roc_auc_score(y, p), abs=0.005)
    assert precision[1:].mean() == pytest.approx(average_precision_score(y, p), abs=0.01)


def test_reliability_of_honest_probabilities_is_the_diagonal():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.6, size=20_000)
    y = (rng.random(20_000) < p).astype(np.int64)
    one = Predictions(probabilities=np.stack([1 - p, p], 1), labels=y, minority=1, threshold=0.5)
    predicted, observed = reliability([one, one])
    assert len(predicted) == 10 and (np.diff(predicted) > 0).all()
    assert np.abs(predicted - observed).max() < 0.04
    curves = training_sources({Fit("TRTR", "real", 0.0, "classifier", 0): one}, "classifier")
    figure = reliability_figure(curves, "classifier", STYLES)
    assert legend_of(figure) == ["real only", "perfectly calibrated"]


def test_seeds_with_other_ties_have_other_bins():
    """Equal confidences share a bin, so trees leave some empty, each seed others."""
    y = np.arange(60) % 2
    seeds = [
        Predictions(probabilities=np.stack([1 - p, p], 1), labels=y, minority=1, threshold=0.5)
        for p in (np.repeat([0.2, 0.8], 30), np.linspace(0.1, 0.9, 60))
    ]
    predicted, observed = reliability(seeds)
    assert len(predicted) == len(observed) == 10
    spread = seeds[1].probabilities[:, 1]
    assert predicted[0] == pytest.approx((0.2 + spread[:6].mean()) / 2)
    assert predicted[1] == pytest.approx(spread[6:12].mean())  # of the one seed that has the bin


def test_file_names_are_safe():
    assert file_name("my.package:Net v2") == "my.package_Net_v2"


@pytest.mark.parametrize(
    ("low", "p_holm", "lower_is_better", "said"),
    [
        (0.01, 0.01, False, "better"),
        (0.01, 0.01, True, "worse"),
        (0.01, 0.06, False, "better, but not surely: corrected p = 0.060"),
        (-0.01, 0.01, False, "no difference can be seen"),
    ],
)
def test_a_caption_does_not_promise_what_the_answer_takes_back(low, p_holm, lower_is_better, said):
    found = Difference(
        mean=0.02, low=low, high=0.03, p=0.01, test_low=low, test_high=0.03, p_holm=p_holm
    )
    assert reading(found, lower_is_better=lower_is_better) == said


def test_a_dollar_sign_in_a_name_is_a_dollar_sign(summaries, tmp_path):
    names = {"influence": "a$^$b"}
    named = [
        dataclasses.replace(row, generator=names.get(row.generator, row.generator))
        for row in summaries
    ]
    figure = headline_figure(named, Styles([names.get(name, name) for name in STYLES.sets]))
    save(figure, tmp_path / "headline.png")  # as mathematics it cannot be read
    texts = {label.get_text() for axes in figure.axes for label in axes.get_yticklabels()}
    assert any("a$^$b" in text for text in texts)


def overlap(texts):
    """Whether a text covers a part of the next one."""
    boxes = [text.get_window_extent() for text in texts]
    return any(first.overlaps(second) for first, second in itertools.pairwise(boxes))


def test_long_names_stand_beside_each_other():
    names = tuple(f"fraction_of_inspired_oxygen_{index}[mmol/L]" for index in range(20))
    classes = {"label_names": ("length of stay up to 3 days", "length of stay over 3 days")}
    train, made = (gaussian(60, k, (20, 6), feature_names=names, **classes) for k in range(2))
    sets = {name: made for name in ("unguided", "guided with a strength of 0.5 over all classes")}
    options = {"seed": 0, "show_real_series": False, "hours_per_step": 1.0}
    examples = example_picture(train, sets, 1, Styles(list(sets)), **options)
    assert "The first 8 of 20 channels are drawn." in examples.caption
    examples.figure.draw_without_rendering()
    panels = np.reshape(examples.figure.axes, (8, 2))
    assert not overlap([axes.yaxis.label for axes in panels[:, 0]])
    last = panels[0, -1].title.get_window_extent()
    assert last.x0 >= panels[0, 0].title.get_window_extent().x1
    assert last.x1 <= examples.figure.bbox.x1
    _, name = sets
    found = guidance_change(
        train,
        made,
        {name: made, "other": made},
        "",
        realised=dict.fromkeys((name, "other"), [0.0, 0.0]),
        hours_per_step=1.0,
    )
    change = guidance_change_picture(found).figure
    change.draw_without_rendering()
    assert not overlap([axes.title for axes in change.axes[:2]])


def test_a_very_long_channel_name_leaves_room_for_the_picture():
    name = "fraction_of_oxygen_in_the_air_that_a_ventilated_patient_breathes_in[mmol/L]"
    train, made = (gaussian(60, k, feature_names=(name, f"mean_{name}")) for k in range(2))
    sets = {"unguided": made}
    channels = distribution_picture(train, sets, Styles(list(sets)), seed=0, reports={}).figure
    channels.draw_without_rendering()
    assert not overlap([axes._left_title for axes in channels.axes])
    realised = {"guided": [0.0, 0.0]}
    found = guidance_change(
        train, made, {"guided": made}, "", realised=realised, hours_per_step=1.0
    )
    change = guidance_change_picture(found).figure
    change.draw_without_rendering()
    assert change.axes[0].get_window_extent().width > change.bbox.width / 3
    assert not overlap(change.axes[0].get_yticklabels())


def test_a_map_of_under_an_hour_is_in_the_unit_of_its_axis():
    """Eleven steps of five minutes are 55 minutes; their twelve edges span an hour."""
    train, made = (gaussian(60, k, (2, 11)) for k in range(2))
    options = {"realised": {"guided": [0.0, 0.0]}, "hours_per_step": 5 / 60}
    found = guidance_change(train, made, {"guided": gaussian(60, 2, (2, 11))}, "", **options)
    picture = guidance_change_picture(found)
    for axes in picture.figure.axes[:2]:
        assert axes.get_xlim() == pytest.approx((0.0, 3300.0))
    assert picture.figure.axes[1].get_xlabel() == "seconds"
    assert "e+" not in picture.caption


def test_the_band_is_compared_with_what_it_holds_of_real_entries():
    """Of tied values, and so of a binary channel, more than 80 % lie between the quantiles."""
    train, made = (dataset(np.random.default_rng(k).random((80, 1, 6)) < 0.05) for k in range(2))
    options = {"seed": 0, "show_real_series": False, "hours_per_step": 1.0}
    caption = example_picture(train, {"made": made}, 0, Styles(["made"]), **options).caption
    real, other = train.values[train.labels == 0], made.values[made.labels == 0]
    low, high = np.quantile(real, [0.1, 0.9], axis=0)
    shares = [100 * ((v >= low) & (v <= high)).mean() for v in (real, other)]
    assert "In the band lie {:.0f} % of real, {:.0f} % of made entries.".format(*shares) in caption
    assert shares[0] > 90


def test_maps_of_all_sets_have_the_same_axes():
    series = [gaussian(40, k).values * (1 + 9 * k) for k in range(3)]
    test, near, far = (EncodedArrays(x=x, y=np.zeros(40, np.int64)) for x in series)
    sets = {"near": near, "far": far}
    axes = embedding_picture(test, sets, Styles(list(sets)), seed=0).figure.axes
    for first, second in (axes[:2], axes[2:]):
        assert (first.get_xlim(), first.get_ylim()) == (second.get_xlim(), second.get_ylim())


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((0.48, 0.56), "no nearer to training series than chance can explain;"),
        ((0.503, 0.537), "nearer to training series than chance, but not surely"),
        ((0.56, 0.60), "nearer to training series than chance;"),
    ],
)
def test_a_share_that_raises_no_flag_is_not_surely_nearer(interval, said):
    """The answer on privacy is that of the flag, p < 0.001; 95 % intervals are narrower."""
    values = {"copies": 0.0} | bounded("near_copy_share", 0.741, (0.66, 0.81), 0.0)
    values |= bounded("closer_to_train_share", float(np.mean(interval)), interval, 0.5)
    arrays = {f"dcr_{side}": np.linspace(0.5, 1, 20) for side in ("train", "holdout")}
    reports = {"made": MetricReport(values=values, arrays=arrays)}
    caption = distance_picture(reports, Styles(["made"])).caption
    assert said in caption and "74.1 % near copies" in caption


def test_heights_of_influence_are_shares_of_a_set():
    """Of a small set most can lie beyond the axis, which holds 99 % of all series."""
    values = {"unguided": np.linspace(-1, 1, 2000), "guided": np.array([0.0, 9.0, 9.0, 9.0])}
    found = Influence("unguided", {"died": values}, {"died": np.arange(2000)}, {})
    picture = influence_picture(found, Styles(list(values)))
    _, guided = picture.figure.axes[0].patches
    assert guided.get_data().values.sum() == pytest.approx(0.25)
    assert "vertical lines: means" in picture.caption


def test_axes_of_several_classes_say_what_is_averaged():
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=90)
    three = Predictions(probabilities=p, labels=np.arange(90) % 3, minority=0, threshold=None)
    axes = reliability_figure({"real": [three]}, "gbdt", STYLES).axes[0]
    assert axes.get_ylabel() == "share of right answers"
    assert "mean over classes" in curve_figure({"real": [three]}, "gbdt", STYLES).get_suptitle()
