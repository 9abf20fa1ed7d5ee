"""What gives the label away is told where an experiment is proposed."""

import logging

import numpy as np
import pytest

from data_preprocess.build import ensure_built
from data_preprocess.cohort import Cohort
from data_preprocess.doubts import leaks
from tests.support.user_tables import changed, long_rows, propose, told, write

LEAKS = {
    "static": (
        {"age": lambda r: 50 + 9 * r["died"] + r["stay_id"] % 9},
        "`age` (AUROC 1.000 for died)",
    ),
    "falling": (
        {"age": lambda r: 90 - 45 * r["died"] + r["stay_id"] % 40},
        "`age` (AUROC 1.000 for died)",
    ),
    "category": (
        {"sex": lambda r: "ACE"[r["stay_id"] % 3] if r["died"] else "BD"[r["stay_id"] % 2]},
        "(AUROC 1.000 for died)",
    ),
    "rare category": (  # of 20 levels most are of one class by chance
        {"sex": lambda r: "ABCDEFGHIJKLMNOPQRST"[r["stay_id"] % 20]},
        "",
    ),
    "known": (
        {"age": lambda r: 50 + r["stay_id"] % 9 if r["died"] else ""},
        "whether `age` is known",
    ),
    "value": (
        {"lactate": lambda r: 0.5 if r["died"] and r["hour"] == 4 else r["hour"] + 1},
        "the smallest value of `lactate` (AUROC 1.000 for died)",
    ),
    "values": (
        {"lactate": lambda r: 9 if r["died"] and r["hour"] == 4 else r["hour"] + 1},
        "the largest value of `lactate` (AUROC 1.000 for died)",
    ),
    "few": (
        {"age": lambda r: 50 + 9 * r["died"] + r["stay_id"] % 7 if r["stay_id"] % 20 < 10 else ""},
        "",
    ),
    "count": (
        {"lactate": lambda r: r["lactate"] if r["died"] or r["hour"] < 3 else ""},
        "the number of values of `lactate` (AUROC 1.000 for died)",
    ),
    "nothing": ({"age": lambda r: 50 + r["died"] * 3 + r["stay_id"] % 9}, ""),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_what_gives_the_label_away_is_told(tmp_path, caplog, leak):
    rules, sentence = LEAKS[leak]
    rules = {k: lambda r, f=f: f(r | {"died": r["outcome"] == "died"}) for k, f in rules.items()}
    with caplog.at_level(logging.WARNING):
        config = propose(tmp_path, write(tmp_path / "x.csv", *changed(**rules)))
        ensure_built(config.data)
    assert caplog.text.count("alone these predict the label") == bool(sentence)
    assert sentence in caplog.text


def test_the_length_of_a_stay_may_give_the_label_away(tmp_path, caplog):
    told(tmp_path, caplog, long_rows(lambda i: 8 if i % 4 else 12))
    assert "label of the training stays: the length of a stay (AUROC 1.000 for True)" in caplog.text


def test_any_of_several_classes_may_be_given_away():
    labels = np.arange(60) % 3
    cohort = Cohort(
        values=np.random.default_rng(0).normal(size=(60, 1, 4)),
        labels=labels,
        subject_ids=np.arange(60),
        feature_names=("heart_rate[bpm]",),
        label_names=("home", "ward", "died"),
        static=(labels == 0)[:, None] + 0.0,
        static_names=("followed_up",),
    )
    assert "`followed_up` (AUROC 1.000 for home)" in leaks(cohort)[0]
