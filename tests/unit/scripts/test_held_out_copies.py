import dataclasses

import numpy as np

from data_preprocess.dataset import concatenate
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits
from scripts.quality.common.metric_report import merge
from scripts.quality.held_out_copies import held_out_copies, sentence, sentence_of_nearness
from scripts.quality.privacy.distances import distances_report
from scripts.quality.privacy.membership import membership_report
from tests.support.metric_sets import comparison, gaussian
from tests.support.verdict_rows import privacy


def splits(train, test):
    parts = {"train": train, "val_guide": gaussian(20, 4), "val_select": gaussian(30, 5)}
    parts["test"] = test
    apart = {
        name: dataclasses.replace(part, subject_ids=1000 * k + np.arange(len(part)))
        for k, (name, part) in enumerate(parts.items())
    }
    return Splits(**apart, normaliser=Normaliser.fit(train), fingerprint="")


def test_every_copy_of_a_large_test_split_is_found():
    test = gaussian(400, 1)
    made = concatenate(gaussian(60, 2), test.take(np.arange(300, 340)))
    found = held_out_copies(splits(gaussian(50, 0), test), {"made": made, "own": gaussian(50, 3)})
    assert found == {"made": {"test": 40}}
    assert sentence(found["made"]) == "It holds copies of 40 test series."


def test_a_set_of_nothing_but_noisy_test_series_is_found():
    test = gaussian(400, 1)
    noise = 0.03 * np.random.default_rng(9).normal(size=test.values.shape)
    made = dataclasses.replace(test, values=(test.values + noise).astype(np.float32))
    assert held_out_copies(splits(gaussian(300, 0), test), {"made": made}) == {
        "made": {"test": 400}
    }


def test_a_record_that_stands_in_train_too_may_be_in_a_set():
    train, rest = gaussian(300, 0), gaussian(300, 1)
    test = concatenate(rest, train.take(np.arange(1)))
    assert held_out_copies(splits(train, test), {"copy of train": train}) == {}


def test_a_stay_with_next_to_nothing_measured_may_be_in_a_set_by_chance():
    train, test = gaussian(300, 0), gaussian(300, 1)
    test.observed[:2] = False
    test.observed[:2, 0, :2] = True
    assert held_out_copies(splits(train, test), {"made": test.take(np.arange(3))}) == {
        "made": {"test": 1}
    }


def test_stays_that_all_have_next_to_nothing_measured_are_no_error():
    """A laboratory value, four times in 48 hours: no copy would tell of a patient."""
    train, test = gaussian(300, 0), gaussian(300, 1)
    test.observed[:] = False
    test.observed[:, 0, :4] = True
    assert held_out_copies(splits(train, test), {"made": test}) == {}


def nearness(made, train, test):
    compared = comparison(train, test, made)
    reports = (metric(compared, seed=0) for metric in (distances_report, membership_report))
    return sentence_of_nearness(merge(list(reports)))


def test_noisy_test_series_are_found_and_fresh_or_training_ones_are_not():
    train, test, fresh = gaussian(300, 0), gaussian(200, 1), gaussian(300, 2)

    def noisy(real):
        noise = np.random.default_rng(3).normal(size=real.values.shape).astype(np.float32)
        return dataclasses.replace(real, values=real.values + 0.05 * noise)

    assert "nearer to test series" in nearness(noisy(test), train, test)
    half = concatenate(fresh.take(np.arange(150)), noisy(test.take(np.arange(150))))
    assert "p < 0.001): test series may have gone into it." in nearness(half, train, test)
    assert nearness(noisy(train), train, test) == ""
    assert not any(nearness(gaussian(300, 10 + seed), train, test) for seed in range(20))


def test_either_rule_finds_test_series_and_few_patients_tell_nothing():
    far = {"membership_auc": 0.431, "membership_auc_high": 0.460}
    assert "(membership_auc 0.431, p < 0.001)" in sentence_of_nearness(privacy(**far))
    few = privacy(**far, few_patients=5.0)
    assert sentence_of_nearness(few) == sentence_of_nearness(privacy()) == ""
    assert not sentence_of_nearness(privacy(**far, train_closer_to_train_high=0.49))
    unsure = privacy(closer_to_train_share=0.43, closer_to_train_share_high=0.49)  # p = 0.01
    assert sentence_of_nearness(unsure) == ""


def test_test_series_that_lie_more_centrally_are_near_to_any_set():
    train = gaussian(1000, 0)
    for seed in range(5):
        wide, made = gaussian(1000, 10 + seed), gaussian(1000, 20 + seed)
        test = dataclasses.replace(wide, values=0.8 * wide.values)
        report = distances_report(comparison(train, test, made), seed=0)
        assert report.values["closer_to_train_share"] < 0.45 and not report.remarks
        assert nearness(made, train, test) == ""
