import dataclasses

import numpy as np

from data_preprocess.dataset import concatenate
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits
from scripts.quality.held_out_copies import held_out_copies, sentence
from tests.support.metric_sets import gaussian


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
    assert sentence(found["made"]) == "It holds exact copies of 40 test series."


def test_a_record_that_stands_in_train_too_may_be_in_a_set():
    train, rest = gaussian(300, 0), gaussian(300, 1)
    test = concatenate(rest, train.take(np.arange(1)))
    assert held_out_copies(splits(train, test), {"copy of train": train}) == {}
