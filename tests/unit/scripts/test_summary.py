"""Do intervals cover what they promise, and do equals come out as equals?"""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from configs.runtime.errors import DataError
from scripts.utility.bootstrap import (
    CORRECTED_LEVEL,
    LARGEST_LOSS,
    compare,
    enough_resamples,
    fewest_patients,
    holm,
    interval,
    resample_counts,
    two_sided_p,
)
from scripts.utility.metrics import Predictions, ranking_scores
from scripts.utility.protocols import REAL, Fit
from scripts.utility.summary import select, summarise


def draw_series(rng, rows=400, prevalence=0.3, separation=1.0):
    y = rng.random(rows) < prevalence
    return y, rng.normal(size=rows) + separation * y


def auroc_draws(y, scores, counts):
    return ranking_scores(scores, y, counts)[0]


def point(y, scores):
    return auroc_draws(y, scores, np.ones((1, len(y))))[0]


def test_interval_covers_the_true_auroc_of_a_fixed_scorer():
    # N(0, 1) against N(1, 1): AUROC = Phi(1 / sqrt(2)).
    truth, hits, repeats = stats.norm.cdf(1 / np.sqrt(2)), 0, 300
    for repeat in range(repeats):
        y, scores = draw_series(np.random.default_rng(repeat))
        counts = resample_counts(np.arange(len(y)), y.astype(int), resamples=300, seed=repeat)
        low, high = interval(auroc_draws(y, scores, counts))
        hits += low <= truth <= high
    # 0.95 +- 3 binomial standard deviations, and a little for the percentile bootstrap itself.
    assert 0.91 <= hits / repeats <= 0.985


@pytest.mark.parametrize(
    ("seeds", "row_noise", "fit_noise"),
    [(3, 0.5, 0.0), (3, 0.2, 0.2), (5, 0.5, 0.1)],
    ids=["seeds_agree", "seeds_differ", "both"],
)
def test_two_sets_of_one_generator_are_rarely_told_apart(seeds, row_noise, fit_noise):
    """Both sets' fits are drawn alike: a better or worse fit, and its own noise per series."""
    repeats, found = 200, 0
    for repeat in range(repeats):
        rng = np.random.default_rng(repeat)
        y, signal = draw_series(rng)
        counts = resample_counts(np.arange(len(y)), y.astype(int), resamples=200, seed=repeat)
        tables, points = [], []
        for _ in range(2):
            fits = [
                signal + fit_noise * rng.normal() * y + row_noise * rng.normal(size=len(y))
                for _ in range(seeds)
            ]
            tables.append(np.stack([auroc_draws(y, fit, counts) for fit in fits]))
            points.append(np.array([point(y, fit) for fit in fits]))
        found += compare(*tables, *points).excludes_zero
    # Nominal 5 %; 0.095 is 2.9 binomial standard deviations above it. Ignoring seeds gives
    # 30-80 % where fits differ; counting them twice gives 0-1 % where they agree.
    assert 0.01 <= found / repeats <= 0.095


def test_a_real_difference_is_found():
    rng = np.random.default_rng(0)
    y, signal = draw_series(rng, rows=1500)
    counts = resample_counts(np.arange(len(y)), y.astype(int), resamples=400, seed=0)
    good = [signal + 0.3 * rng.normal(size=len(y)) for _ in range(3)]
    poor = [signal + 1.5 * rng.normal(size=len(y)) for _ in range(3)]
    tables = [np.stack([auroc_draws(y, s, counts) for s in fits]) for fits in (good, poor)]
    points = [np.array([point(y, s) for s in fits]) for fits in (good, poor)]
    difference = compare(*tables, *points)
    assert difference.low > 0 and difference.p < 0.05
    assert difference.mean == pytest.approx(points[0].mean() - points[1].mean())


def test_identical_predictions_differ_by_exactly_nothing():
    rng = np.random.default_rng(0)
    table, points = rng.random((3, 100)), rng.random(3)
    difference = compare(table, table, points, points)
    assert (difference.mean, difference.low, difference.high, difference.p) == (0, 0, 0, 1)


def test_differences_of_rounding_are_none():
    """Resamples are scored in single precision: equal models can differ by its last digits."""
    reference = np.full((2, 100), 0.5)
    found = compare(reference - 2e-6, reference, np.full(2, 0.5), np.full(2, 0.5))
    assert (found.mean, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)


def test_resamples_on_which_no_seed_differs_are_no_evidence():
    """A third of the draws is exactly 0, as of a rare class whose few series all models rank alike;
    shrinking the draws about their mean had moved them to one side (p = 0.002)."""
    rng = np.random.default_rng(0)
    draws = np.where(rng.random(999) < 0.34, 0.0, rng.random(999))
    table = draws * (1 + 1e-3 * rng.normal(size=(2, 999)))
    points = np.full(2, draws.mean())
    found = compare(table, 0 * table, points, 0 * points)
    assert found.p > 0.2 and not found.excludes_zero


def test_draws_are_shrunk_to_the_covariance_between_seeds():
    """What seeds share is the mean covariance of two of them; written down without the algebra."""
    rng = np.random.default_rng(1)
    table = 0.01 + 0.02 * rng.normal(size=500) + 0.03 * rng.normal(size=(4, 500))
    points = np.full(4, 0.01)  # the fits agree on the test set: no error of seeds is added
    found = compare(table, 0 * table, points, 0 * points)
    covariance = np.cov(table, ddof=0)
    shared = covariance[~np.eye(4, dtype=bool)].mean()
    mean = table.mean(axis=0)
    draws = mean.mean() + (mean - mean.mean()) * (shared / mean.var()) ** 0.5
    assert (found.low, found.high) == pytest.approx(interval(draws), rel=1e-9)
    assert found.test_high - found.test_low > 1.2 * (found.high - found.low)


def test_resamples_are_those_of_their_seed_and_enough_for_holm():
    ids, labels = np.arange(40), np.arange(40) % 2
    one, same, other = (resample_counts(ids, labels, resamples=5, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(one, same) and not np.array_equal(one, other)
    # The smallest p-value, 2 / (resamples + 1), times 30 sets is below 0.05.
    assert enough_resamples(10, 30) == 1200 and enough_resamples(2000, 30) == 2000


def test_without_test_variation_the_interval_is_that_of_the_t_test():
    points = np.array([0.03, 0.01, 0.05, 0.02])
    table = np.repeat(points[:, None], 2000, axis=1)
    difference = compare(table, 0 * table, points, 0 * points)
    expected = stats.t.interval(0.95, 3, loc=points.mean(), scale=stats.sem(points))
    assert (difference.low, difference.high) == pytest.approx(expected, abs=2e-4)
    assert difference.p == pytest.approx(stats.ttest_1samp(points, 0).pvalue, rel=0.05)


def test_one_seed_leaves_the_interval_over_series():
    rng = np.random.default_rng(0)
    table = rng.normal(0.02, 0.01, size=(1, 500))
    difference = compare(table, 0 * table, np.array([0.02]), np.array([0.0]))
    assert (difference.low, difference.high) == (difference.test_low, difference.test_high)


def test_two_sided_p_counts_both_tails():
    draws = np.concatenate([np.full(30, -1.0), np.full(970, 1.0)])
    assert two_sided_p(draws) == pytest.approx(2 * 31 / 1001)
    assert two_sided_p(-draws) == two_sided_p(draws)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


def test_series_of_one_patient_are_drawn_together():
    subjects = np.repeat(np.arange(50), 3)
    counts = resample_counts(subjects, np.arange(150) % 2, resamples=20, seed=0)
    assert np.array_equal(counts[:, 0::3], counts[:, 1::3])
    assert np.array_equal(counts[:, 0::3], counts[:, 2::3])
    assert (counts[:, 0::3].sum(axis=1) == 50).all()
    assert len(np.unique(counts, axis=0)) == 20


def test_every_resample_holds_every_class():
    labels = np.array([0] * 40 + [1] * 2)
    counts = resample_counts(np.arange(42), labels, resamples=200, seed=0)
    assert (counts[:, labels == 1].sum(axis=1) > 0).all()
    many = np.array([0] * 3000 + list(range(1, 12)))
    with pytest.raises(DataError, match="keep missing a class"):
        resample_counts(np.arange(len(many)), many, resamples=100, seed=0)


def predictions(rng, y, noise):
    p = 1 / (1 + np.exp(-(y + noise * rng.normal(size=len(y)))))
    return Predictions(probabilities=np.stack([1 - p, p], 1), labels=y, minority=1, threshold=0.5)


def make_results(generators=("unguided", "influence")):
    rng = np.random.default_rng(0)
    y = (rng.random(200) < 0.3).astype(np.int64)
    other = (rng.random(150) < 0.3).astype(np.int64)
    rows = [("TRTR", REAL, 0.0)]
    rows += [(protocol, g, None) for protocol in ("TSTR", "TRTS") for g in generators]
    rows += [("TSRTR", g, 0.5) for g in generators]
    return {
        Fit(*row, "classifier", seed): predictions(rng, other if row[0] == "TRTS" else y, 1.0)
        for row in rows
        for seed in (0, 1, 2)
    }


def test_summary_averages_seeds_and_pairs_with_the_right_reference():
    results = make_results()
    summaries = summarise(results, np.arange(200), resamples=150)
    by_key = {(s.protocol, s.generator, s.metric): s for s in summaries}
    assert len(by_key) == len(summaries) == 7 * 5

    def points(protocol, generator):
        fits = [c for c in results if (c.protocol, c.generator) == (protocol, generator)]
        return np.array(
            [point(results[c].labels == 1, results[c].probabilities[:, 1]) for c in fits]
        )

    row = by_key["TSRTR", "influence", "auroc"]
    own = points("TSRTR", "influence")
    assert row.mean == pytest.approx(own.mean())
    assert row.sd == pytest.approx(own.std(ddof=1))
    assert row.low < row.mean < row.high
    assert row.vs_unguided is not None and row.vs_real is not None
    assert row.vs_unguided.mean == pytest.approx((own - points("TSRTR", "unguided")).mean())
    assert row.vs_real.mean == pytest.approx((own - points("TRTR", REAL)).mean())
    assert by_key["TSTR", "unguided", "auroc"].vs_unguided is None
    assert by_key["TRTS", "influence", "auroc"].vs_unguided is None
    assert by_key["TRTR", REAL, "auroc"].vs_real is None


def test_differences_stay_within_what_scores_can_differ_by():
    """Of two seeds t reaches 12.7 standard errors, here those of AUROC near 0 and near 1."""
    rng, y = np.random.default_rng(0), np.arange(60) % 2
    signs = {("TRTR", REAL, 0.0): (1, 1), ("TSTR", "unguided", None): (-1, 1)}
    results = {
        Fit(protocol, generator, ratio, "classifier", seed): Predictions(
            probabilities=np.stack([1 - p, p], 1), labels=y, minority=1, threshold=0.5
        )
        for (protocol, generator, ratio), pair in signs.items()
        for seed, sign in enumerate(pair)
        for p in [1 / (1 + np.exp(sign * (rng.normal(size=60) - 4 * y + 2)))]
    }
    summaries = summarise(results, np.arange(60), resamples=100)
    (auroc,) = [s.vs_real for s in summaries if s.vs_real and s.metric == "auroc"]
    assert (auroc.low, auroc.high) == (-1, 1)


def test_the_gap_of_testing_on_synthetic_series_is_that_of_the_same_models():
    results = make_results()
    summaries = summarise(results, np.arange(200), resamples=150)
    for s in summaries:
        assert (s.vs_testing is not None) == (s.protocol == "TRTS")
    real = next(s for s in summaries if (s.protocol, s.metric) == ("TRTR", "auroc"))
    gap = next(s for s in summaries if (s.protocol, s.metric) == ("TRTS", "auroc"))
    assert gap.vs_testing is not None
    assert gap.vs_testing.mean == pytest.approx(gap.mean - real.mean)
    # Other rows, drawn independently: the variances of both scores add up.
    width = np.hypot(real.high - real.low, gap.high - gap.low)
    assert gap.vs_testing.test_high - gap.vs_testing.test_low == pytest.approx(width, rel=0.2)


def test_a_family_is_one_question_about_all_sets():
    results = make_results()
    results |= {replace(fit, model="conv"): p for fit, p in results.items()}
    results |= {replace(fit, ratio=1.0): p for fit, p in results.items() if fit.protocol == "TSRTR"}
    summaries = summarise(results, np.arange(200), resamples=150)
    for protocol, ratio in (("TSTR", None), ("TSRTR", 0.5), ("TSRTR", 1.0)):
        rows = select(summaries, model="classifier", metric="auprc", protocol=protocol, ratio=ratio)
        differences = [s.vs_real for s in rows if s.vs_real is not None]
        assert len(differences) == 2
        assert [d.p_holm for d in differences] == holm([d.p for d in differences])
        alone = [
            summarise(
                {f: p for f, p in results.items() if f.generator in (REAL, s.generator)},
                np.arange(200),
                resamples=150,
                metrics=["auprc"],
            )
            for s in rows
        ]
        key = {"model": "classifier", "protocol": protocol, "ratio": ratio}
        raw = [select(found, **key)[0].vs_real.p_lost for found in alone]
        assert [d.p_lost for d in differences] == holm(raw) != raw


def test_a_family_of_sets_at_the_limit_is_rarely_said_to_lose_more():
    """Six sets whose models lose LARGEST_LOSS: far below 0, and none is surely below the limit."""
    rng, families, found = np.random.default_rng(0), 200, 0
    for _ in range(families):
        p_values = []
        for _ in range(6):
            points = -LARGEST_LOSS + rng.normal(0, 0.005) + rng.normal(0, 0.003, 5)
            draws = points[:, None] + rng.normal(0, 0.005, 500)
            difference = compare(draws, 0 * draws, points, 0 * points)
            p_values.append(difference.p_lost if difference.high < -LARGEST_LOSS else 1.0)
        found += min(holm(p_values)) < CORRECTED_LEVEL
    assert found / families < 0.05


def test_without_an_unguided_set_there_is_no_such_difference():
    results = make_results(generators=("influence",))
    summaries = summarise(results, np.arange(200), resamples=150)
    assert all(s.vs_unguided is None for s in summaries)
    assert any(s.vs_real is not None for s in summaries)


def test_calibration_errors_lie_inside_their_intervals():
    """Resampling adds chance to every bin: percentiles as they are lie about a larger error."""
    rng = np.random.default_rng(0)
    p = rng.uniform(0.02, 0.4, size=600)
    y = (rng.random(600) < p).astype(np.int64)
    calm = Predictions(probabilities=np.stack([1 - p, p], 1), labels=y, minority=1, threshold=0.5)
    bold = Predictions(
        probabilities=np.stack([1 - p**0.3, p**0.3], 1), labels=y, minority=1, threshold=0.5
    )
    results = {
        Fit("TRTR", REAL, 0.0, "classifier", 0): calm,
        Fit("TSTR", "own", None, "classifier", 0): bold,
    }
    summaries = summarise(results, np.arange(600), resamples=400)
    rows = {s.protocol: s for s in summaries if s.metric == "ece"}
    assert rows["TSTR"].vs_real is not None
    for found in (rows["TRTR"], rows["TSTR"].vs_real):
        middle = (found.low + found.high) / 2
        assert abs(middle - found.mean) < 0.15 * (found.high - found.low)


def test_enough_resamples_for_the_correction():
    """The smallest p must survive Holm's correction, or no gain ever could."""
    for sets in (1, 3, 26):
        resamples = enough_resamples(100, sets)
        assert holm([2 / (resamples + 1)] * sets)[0] < 0.05
    assert enough_resamples(1000, 3) == 1000


def test_three_patients_of_three_classes_are_resampled():
    labels = np.array([0, 1, 2] * 4)
    counts = resample_counts(np.arange(12) % 3, labels, resamples=300, seed=0)
    assert (counts == 1).all()  # a resample of patients with every class is the set itself
    assert fewest_patients(np.arange(12) % 3, labels) == 1
    assert fewest_patients(np.array([1, 1, 2, 3]), np.array([0, 0, 0, 1])) == 1
