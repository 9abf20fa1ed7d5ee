"""The predicted strength: positive where guidance rows know more, 0 where they know nothing."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data_preprocess.dataset import patient_strata
from tardiff.guidance.auto_strength import (
    FOLDS,
    GRID,
    REPEATS,
    AutoStrength,
    _fold_changes,
    cross_validated_strength,
)
from tardiff.guidance.pool_selection import tilted_weights
from tardiff.influence.convex_guide import LabelledDesign, fit_guide
from tardiff.influence.guidance_losses import GuidanceLoss

LOSS = GuidanceLoss("rank", 2)


def rows(n: int, seed: int, *, slope: float) -> LabelledDesign:
    """Ten features; the class moves the first by 1 and the second by `slope`."""
    generator = torch.Generator().manual_seed(seed)
    y = (torch.arange(n) % 5 == 0).long()
    x = torch.randn(n, 10, generator=generator).double()
    x[:, 0] += y
    x[:, 1] += slope * y
    return LabelledDesign(torch.cat([x, torch.ones(n, 1).double()], 1), y)


def test_a_generator_that_has_a_relation_wrong_is_put_right():
    """In the pool the second feature says the opposite of what it says in the guidance rows."""
    pool = rows(1500, 0, slope=-0.5)
    known = rows(600, 1, slope=0.5)
    later = rows(4000, 2, slope=0.5)
    guide = fit_guide(pool.rows, pool.y, num_classes=2, penalty=0.1)
    found = cross_validated_strength(guide, known, LOSS, seed=0)
    assert found.w > 0.2 and found.change < -2 * found.error
    scores = guide.influence(guide.toward(guide.gradient(known, LOSS)))
    head = guide.refitted(tilted_weights(scores, pool.y, found.w))
    measured = LOSS.value(later.rows @ head, later.y) - LOSS.value(
        later.rows @ guide.theta, later.y
    )
    assert abs(measured - found.change) < 0.5 * abs(found.change)
    assert "predicted change of the guidance loss" in found.line()


def test_guidance_rows_that_know_nothing_ask_for_next_to_nothing():
    """Pool and guidance rows of one distribution: whatever G says of a pool this large is noise."""
    pool = rows(3000, 0, slope=0.5)
    later = rows(4000, 77, slope=0.5)
    guide = fit_guide(pool.rows, pool.y, num_classes=2, penalty=0.01)
    asked, harm = [], []
    for seed in range(1, 7):
        known = rows(100, seed, slope=0.5)
        found = cross_validated_strength(guide, known, LOSS, seed=0)
        scores = guide.influence(guide.toward(guide.gradient(known, LOSS)))
        head = guide.refitted(tilted_weights(scores, pool.y, found.w))
        asked.append(found.w)
        assert (found.w > 0) == (np.add(found.changes, found.errors).min() < 0)
        harm.append(
            LOSS.value(later.rows @ head, later.y) - LOSS.value(later.rows @ guide.theta, later.y)
        )
    assert sum(w == 0 for w in asked) >= 2 and sum(asked) / len(asked) <= 0.05
    assert sum(harm) / len(harm) < 0.003


def test_several_series_of_a_patient_are_not_taken_for_several_patients():
    """G that follows few patients lowers the loss of their further series and of nobody else's."""
    pool = rows(1500, 0, slope=0.5)
    guide = fit_guide(pool.rows, pool.y, num_classes=2, penalty=0.01)
    asked = {"patients": [], "series": []}
    for seed in range(1, 5):
        once = rows(80, seed, slope=0.5)
        member = np.repeat(np.arange(80), 5)
        known = LabelledDesign(once.rows[member], once.y[member], member)
        for name, given in {"patients": known, "series": replace(known, subject_ids=None)}.items():
            asked[name].append(cross_validated_strength(guide, given, LOSS, seed=0).w)
    assert sum(asked["patients"]) / 4 < 0.05 < 0.2 < sum(asked["series"]) / 4


def test_a_class_of_one_patient_cannot_be_left_out():
    pool = rows(200, 0, slope=0.5)
    guide = fit_guide(pool.rows, pool.y, num_classes=2, penalty=0.1)
    known = rows(50, 1, slope=0.5)
    patients = np.where(known.y.numpy() == 1, 0, np.arange(1, 51))
    found = cross_validated_strength(guide, replace(known, subject_ids=patients), LOSS, seed=0)
    assert found.w == 0 and found.grid == []


@pytest.mark.parametrize("codes", [[0, 1], [1, 0]])
def test_patients_with_series_of_both_classes_are_patients_of_both(codes):
    """Whichever is coded 1: each of 60 patients has one series of the rarer class and four others,
    or four others alone."""
    pool, once = rows(1500, 0, slope=-0.5), rows(300, 1, slope=0.5)
    swapped = torch.tensor(codes)
    guide = fit_guide(pool.rows, swapped[pool.y], num_classes=2, penalty=0.1)
    known = LabelledDesign(once.rows, swapped[once.y], np.arange(300) // 5)
    select = replace(known, subject_ids=known.subject_ids + 60)
    found = cross_validated_strength(guide, known, LOSS, select=select, seed=0)
    assert found.grid == list(GRID) and found.w > 0.2
    rng = np.random.default_rng(0)
    assert _fold_changes(guide, known, select, LOSS, rng).shape == (FOLDS + 5, len(GRID))


def test_unknown_patients_are_each_their_own():
    labels = np.array([0, 1, 0, 1, 1])
    for ids in (None, np.full(5, -1)):
        member, strata = patient_strata(ids, labels)
        assert member.tolist() == [0, 1, 2, 3, 4] and strata.tolist() == labels.tolist()
    member, strata = patient_strata(np.array([7, 7, -1, 3, -1]), labels)
    assert member.tolist() == [0, 0, 1, 2, 3] and strata.tolist() == [0, 0, 1, 1]


def test_selection_rows_make_the_strength_surer_or_stop_it():
    """They are folds like the left-out guidance rows: the error shrinks where they agree, and
    nothing is asked for where the guidance rows are of another population."""
    pool, known = rows(1500, 0, slope=-0.5), rows(100, 1, slope=0.5)
    guide = fit_guide(pool.rows, pool.y, num_classes=2, penalty=0.1)
    alone = cross_validated_strength(guide, known, LOSS, seed=0)
    agree = rows(1000, 2, slope=0.5)
    surer = cross_validated_strength(guide, known, LOSS, select=agree, seed=0)
    assert surer.errors[3] < 0.6 * alone.errors[3] and surer.w >= alone.w > 0
    stopped = cross_validated_strength(guide, known, LOSS, select=rows(1000, 2, slope=-1.0), seed=0)
    assert stopped.w == 0


def test_selection_rows_without_a_class_are_not_used():
    pool, known = rows(1500, 0, slope=-0.5), rows(100, 1, slope=0.5)
    guide = fit_guide(pool.rows, pool.y, num_classes=2, penalty=0.1)
    one_class = known.where(known.y == 0)
    found = cross_validated_strength(guide, known, LOSS, select=one_class, seed=0)
    assert found == cross_validated_strength(guide, known, LOSS, seed=0)


def test_too_few_guidance_rows_of_a_class():
    pool = rows(200, 0, slope=0.5)
    guide = fit_guide(pool.rows, pool.y, num_classes=2, penalty=0.1)
    known = rows(5, 1, slope=0.5)
    found = cross_validated_strength(guide, known, LOSS, seed=0)
    loss = LOSS.value(known.rows @ guide.theta, known.y)
    nothing = {"grid": [], "changes": [], "errors": []}
    assert found == AutoStrength(w=0.0, change=0.0, error=0.0, loss=loss, **nothing)
    assert found.line() == (
        "strength: w = 0, since the guidance rows cannot be cut into 5 parts with patients of "
        "every class, to test a strength on: nothing is guided"
    )
    for n, tested in ((20, False), (24, True)):  # 4 and 5 rows of the rarer class
        given = cross_validated_strength(guide, rows(n, 1, slope=0.5), LOSS, seed=0)
        assert given.grid == (list(GRID) if tested else [])


def test_an_unsupported_strength_predicts_no_change():
    pool, known = rows(1500, 0, slope=-0.5), rows(100, 1, slope=0.5)
    guide = fit_guide(pool.rows, pool.y, num_classes=2, penalty=0.1)
    other = rows(1000, 2, slope=-1.0)
    found = cross_validated_strength(guide, known, LOSS, select=other, seed=0)
    assert (found.w, found.change, found.error) == (0, 0, 0)
    assert min(found.changes[k] + found.errors[k] for k in range(len(GRID))) >= 0
    assert found.line() == (
        "strength: w = 0, since no tilt lowers the guidance loss of rows that G has not seen by "
        "more than its standard error: nothing is guided"
    )


class Counting(GuidanceLoss):
    """Keeps on how many rows it was taken."""

    def value(self, logits, y):
        self.sizes.append(len(y))
        return super().value(logits, y)


def test_the_error_is_that_of_folds_some_of_which_share_what_g_comes_from():
    pool, known = rows(1500, 0, slope=-0.5), rows(100, 1, slope=0.5)
    select = rows(60, 2, slope=0.5)
    guide = fit_guide(pool.rows, pool.y, num_classes=2, penalty=0.1)
    counting = Counting("rank", 2)
    counting.sizes = []
    rng = np.random.default_rng(0)
    repeats = [_fold_changes(guide, known, select, counting, rng) for _ in range(REPEATS)]
    # 20 rows a fold, of both; each is taken once before the tilt and once for every strength.
    assert counting.sizes == [20] * REPEATS * (FOLDS + 3) * (len(GRID) + 1)
    found = cross_validated_strength(guide, known, LOSS, select=select, seed=0)
    variances = [((one - one.mean(0)) ** 2).sum(0) / (8 - 1) for one in repeats]
    assert np.allclose(found.changes, sum(repeats).mean(0) / REPEATS)
    # Five eighths of the mean are of left-out rows, three eighths of selection rows.
    factor = (5 / 8) ** 2 * (1 / 5 + 1 / 4) + (3 / 8) ** 2 / 3
    assert np.allclose(np.square(found.errors), factor * sum(variances) / REPEATS)


def test_another_strength_has_its_own_prediction():
    """What is asked for by number is not told by the change that `auto` would bring."""
    pool, known = rows(1500, 0, slope=-0.5), rows(600, 1, slope=0.5)
    guide = fit_guide(pool.rows, pool.y, num_classes=2, penalty=0.1)
    found = cross_validated_strength(guide, known, LOSS, seed=0)
    for w, change, error in zip(found.grid, found.changes, found.errors, strict=True):
        other = found.at(w)
        assert other is not None and (other.w, other.change, other.error) == (w, change, error)
    between = found.at((found.grid[0] + found.grid[1]) / 2)
    assert between is not None
    assert abs(between.change - (found.changes[0] + found.changes[1]) / 2) < 1e-12
    none = found.at(0.0)
    assert none is not None and none.change == none.error == 0
    assert found.at(-0.1) is None and found.at(found.grid[-1] + 0.1) is None
