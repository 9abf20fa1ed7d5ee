"""The retraining test: what it finds where the usefulness of every series is known."""

import itertools

import numpy as np
import pytest

from scripts.influence_report.retraining import (
    as_text,
    loss_change,
    repeatability,
    retraining_scores,
    tilted_halves,
)
from scripts.utility.metrics import Predictions
from scripts.utility.protocols import EncodedArrays, EvaluationData
from tardiff.influence.guidance_losses import GuidanceLoss

NLL = GuidanceLoss("nll", 2)


def predictions(margins: np.ndarray, labels: np.ndarray) -> Predictions:
    """Of a model whose logit is `margins` toward the true class."""
    p = 1 / (1 + np.exp(-np.where(labels == 1, margins, -margins)))
    return Predictions(np.stack([1 - p, p], 1), labels, minority=1, threshold=0.5)


@pytest.fixture(scope="module")
def pool():
    """Series whose first value is how useful it is to train on them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 1, 2)).astype(np.float32)
    return EncodedArrays(x=x, y=np.repeat([0, 1], [320, 80]))


def found(pool, influence, *, w, loss=NLL, spread=0.02, scales=(1.0,)):
    """The record where a model is the better, the more useful its training series are.

    Args:
        spread: of the logits of single rows.
        scales: of all logits of a model, in turn.
    """
    rng = np.random.default_rng(1)
    rows = {name: rng.integers(2, size=300) for name in ("guide", "select")}
    series = {
        name: EncodedArrays(x=np.zeros((300, 1, 2), np.float32), y=labels)
        for name, labels in rows.items()
    }

    def run(fits, data, *, on_select):
        labels = (data.select if on_select else data.test).y
        noise = np.random.default_rng(2)
        return {
            fit: predictions(
                scale
                * (
                    data.synthetic[fit.generator].x[:, 0, 0].mean()
                    + noise.normal(0, spread, len(labels))
                ),
                labels,
            )
            for fit, scale in zip(fits, itertools.cycle(scales), strict=False)
        }

    data = EvaluationData(
        train=series["guide"],
        guide=series["guide"],
        select=series["select"],
        test=series["select"],
        synthetic={},
        num_classes=2,
    )
    return retraining_scores(
        pool,
        {"convex": influence},
        data,
        model="any",
        subsets=16,
        w=w,
        seeds=[0, 1],
        loss=loss,
        run=run,
        seed=0,
        patients={"guide": np.arange(300), "held_out": np.arange(300)},
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_a_useful_tilt_lowers_the_loss_and_a_harmful_one_raises_it(pool, sign):
    usefulness = pool.x[:, 0, 0].astype(np.float64)
    record = found(pool, sign * usefulness, w=0.3)
    convex = record["estimators"]["convex"]
    for rows in ("guide", "held_out"):
        assert sign * convex[rows]["score"] > 0.9
        # Half of what the margin gains: the slope of log(1 + exp(-m)) at 0.
        assert convex["tilt"][rows]["change"] == pytest.approx(-sign * 0.15, rel=0.25)
        assert convex["tilt"][rows]["error"] < 0.02
    assert convex["tilt"]["guide"] != convex["tilt"]["held_out"]
    assert record["tilted"] == 12 and "w = 0.3, 12 halves" in as_text(record)


def test_the_size_of_logits_does_not_hide_an_order_that_was_foretold(pool):
    """As where models choose their number of trees anew on every half."""
    useful = EncodedArrays(x=pool.x + 0.5, y=pool.y)  # better than guessing, every half of them
    given = {"w": 0.0, "loss": GuidanceLoss("rank", 2), "spread": 0.4}
    for scales in ((1.0,), (1.0, 4.0, 0.5, 2.0, 9.0)):
        record = found(useful, useful.x[:, 0, 0].astype(np.float64), **given, scales=scales)
        assert record["estimators"]["convex"]["guide"]["score"] > 0.8


def test_nothing_is_tilted_without_a_strength(pool):
    record = found(pool, pool.x[:, 0, 0].astype(np.float64), w=0.0)
    assert record["estimators"]["convex"]["tilt"] == {}
    noisy = record | {"repeats": {"guide": 0.49, "held_out": None}}  # one seed: not known
    assert "no strength is supported" in as_text(noisy)
    (largest,) = [line for line in as_text(noisy).splitlines() if "largest possible" in line]
    assert largest.split()[-2:] == ["0.70", "-"]


def test_repeatability_is_the_correlation_with_as_many_other_seeds():
    rng = np.random.default_rng(0)
    truth, luck = rng.normal(size=(4000, 1)), rng.normal(scale=2, size=(4000, 6))
    outcomes = truth + luck + np.arange(6)  # seeds may differ on the whole
    others = truth + rng.normal(scale=2, size=(4000, 6))
    r = np.corrcoef(outcomes.mean(1), others.mean(1))[0, 1]  # 1 / (1 + 4 / 6) = 0.6
    assert repeatability(outcomes) == pytest.approx(0.6, abs=0.03) == pytest.approx(r, abs=0.03)
    assert repeatability(luck) < 0.1 and repeatability(np.tile(truth, 3)) == pytest.approx(1)
    assert repeatability(truth) is None and repeatability(np.zeros((5, 2))) == 0
    few = [repeatability((truth + luck)[36 * k : 36 * (k + 1)]) for k in range(100)]
    assert np.std(few) < 0.127  # from two halves of the seeds: 0.144


def test_tilted_halves_keep_classes_and_most_series(pool):
    influence = pool.x[:, 0, 0].astype(np.float64)
    rng = np.random.default_rng(0)
    halves = np.stack(
        [
            np.concatenate([rng.permutation(320)[:160], 320 + rng.permutation(80)[:40]])
            for _ in range(4)
        ]
    )
    tilted = tilted_halves(influence, pool.y, halves, 0.3, seed=0)
    for before, after in zip(halves, tilted, strict=True):
        assert len(set(after)) == len(after) == 200
        assert (np.bincount(pool.y[after]) == [160, 40]).all()
        assert len(set(before) & set(after)) > 130
        for label in (0, 1):
            mean = [influence[half[pool.y[half] == label]].mean() for half in (before, after)]
            assert mean[1] - mean[0] == pytest.approx(0.3, abs=0.05)


def test_the_error_holds_the_luck_of_rows_and_of_pairs():
    rng, labels = np.random.default_rng(0), np.repeat([0, 1], 200)
    before = predictions(np.zeros(400), labels)
    margins = rng.normal(0.2, 1.0, 400)
    after = predictions(margins, labels)
    gains = np.log1p(np.exp(-margins)) - np.log(2)
    same = loss_change([[before]] * 6, [[after]] * 6, NLL, np.arange(400))
    assert same["change"] == pytest.approx(gains.mean())
    assert same["error"] == pytest.approx(gains.std() / 20, rel=0.25)
    # Four equal rows of every patient know no more than one.
    repeated = [[one.take(np.repeat(np.arange(400), 4))] for one in (before, after)]
    patients = np.repeat(np.arange(400), 4)
    again = loss_change([repeated[0]] * 6, [repeated[1]] * 6, NLL, patients)
    assert again == pytest.approx(same)
    shifts = rng.normal(0, 0.5, 6)
    pairs = [predictions(np.full(400, shift), labels) for shift in shifts]
    losses = np.log1p(np.exp(-shifts)) - np.log(2)
    unlike = loss_change([[before]] * 6, [[pair] for pair in pairs], NLL, np.arange(400))
    assert unlike["change"] == pytest.approx(losses.mean())
    assert unlike["error"] == pytest.approx(losses.std() / 6**0.5, rel=0.25)
