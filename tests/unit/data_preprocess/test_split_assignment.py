"""Rules on static covariates: who may enter which split, and what they must not change."""

from dataclasses import replace

import numpy as np
import pytest

from configs import load_config
from configs.runtime.errors import ConfigError, DataError
from configs.schema.experiment import DataConfig
from data_preprocess.build import make_splits, settings_of
from data_preprocess.cohort import Cohort
from data_preprocess.sources.registry import SourceData
from data_preprocess.split_assignment import allowed, assign, only_allowed


def cohort(n=400, seed=0, first=0):
    rng = np.random.default_rng(seed)
    return Cohort(
        values=rng.normal(size=(n, 2, 4)).astype(np.float32),
        labels=rng.integers(0, 2, n),
        subject_ids=np.arange(n) // 2 + first,  # two stays a patient
        feature_names=("a[x]", "b[x]"),
        label_names=("no", "yes"),
        static=np.stack([rng.uniform(20, 90, n), np.repeat(rng.integers(1, 5, n // 2), 2)], 1),
        static_names=("age[years]", "icu_type[1=coronary]"),
    )


RULES = {
    "train_where": {"icu_type": [1.0, 2.0]},
    "guide_where": {"icu_type": [3.0]},
    "select_where": {"icu_type": [3.0]},
    "test_where": {"icu_type": [3.0]},
}


def made(source, data):
    return make_splits(assign(source, data), data)


def types(split):
    return set(split.static[:, 1].tolist())


@pytest.mark.parametrize("own_val", [True, False])
@pytest.mark.parametrize("own_test", [True, False])
def test_every_split_holds_its_own_population(own_test, own_val):
    pool = cohort()
    test = cohort(seed=1, first=1000) if own_test else None
    val = cohort(seed=2, first=2000) if own_val else None
    data = replace(DataConfig(), val_guide=0.4, val_select=0.3, test=0.2, **RULES)
    splits = made(SourceData(pool, test, val), data)
    assert types(splits.train) == {1, 2}
    for held_out in (splits.val_guide, splits.val_select, splits.test):
        assert types(held_out) == {3}
    medical, share = int(((pool if val is None else val).static[:, 1] == 3).sum()), 0.4
    share = share if val is None else 0.4 / 0.7  # of a set of its own the two shares are all
    assert abs(len(splits.val_guide) - share * medical) <= 4  # a share of those who may enter
    assert len(splits.train) == int((pool.static[:, 1] <= 2).sum())
    if test is not None:
        assert len(splits.test) == int((test.static[:, 1] == 3).sum())


def test_without_rules_the_splits_are_what_they_were():
    source = SourceData(cohort())
    plain = made(source, DataConfig())
    every = {name: {"icu_type": [1.0, 2.0, 3.0, 4.0]} for name in RULES}
    assert made(source, replace(DataConfig(), **every)).fingerprint == plain.fingerprint
    assert not any(name.endswith("_where") for name in settings_of(DataConfig()))
    assert settings_of(replace(DataConfig(), **RULES))["guide_where"] == {"icu_type": [3.0]}


def test_a_patient_enters_with_all_stays_or_not_at_all():
    pool = cohort()
    pool.static[0::2, 1], pool.static[1::2, 1] = 3, 3
    pool.static[:100:2, 1] = 1  # these 50 patients were in both units
    data = replace(DataConfig(), test=0.2, train_where={"icu_type": [3.0]})
    splits = made(SourceData(pool), data)
    assert types(splits.train) == {3}
    assert splits.train.subject_ids.min() >= 50


def test_unknown_facts_and_empty_rules_are_named():
    pool = cohort()
    with pytest.raises(ConfigError, match=r"'unit'.*age, icu_type"):
        allowed(pool, {"unit": [1.0]}, "train")
    with pytest.raises(DataError, match=r"may enter the train split: .* icu_type 9"):
        allowed(pool, {"icu_type": [9.0]}, "train")
    pool.static[:, 1] = np.nan
    with pytest.raises(DataError, match="no stay may enter"):
        allowed(pool, {"icu_type": [3.0]}, "test")


def test_the_flow_counts_who_was_left_out():
    pool = cohort()
    kept = only_allowed(pool, {"icu_type": [3.0, 4.0]}, "test")
    assert len(kept) == int((pool.static[:, 1] >= 3).sum())
    assert kept.flow[-1].removed == len(pool) - len(kept) and "test split" in kept.flow[-1].rule


def test_rules_in_the_config_may_name_any_fact():
    told = ["configs/base/tiny.yaml", "data.guide_where={icu_type: [4]}"]
    assert load_config(told).data.guide_where == {"icu_type": [4.0]}
    with pytest.raises(ConfigError, match="guide_where"):
        load_config(["configs/base/tiny.yaml", "data.guide_were={icu_type: [4]}"])
    shift = load_config(["configs/base/physionet2012_icu_shift.yaml"]).data
    assert shift.train_where == {"icu_type": [2.0]} and shift.test_where == {"icu_type": [4.0]}
