"""A report of fidelity or privacy is computed once, kept, and made anew when its input changes."""

import dataclasses

import numpy as np
import pytest

from configs.runtime.errors import DataError
from configs.runtime.processes import Processes
from data_preprocess.model_space.normaliser import Normaliser
from data_preprocess.splits import Splits
from scripts.quality import suite as set_scores
from scripts.quality.common import registry
from scripts.quality.common.metric_report import MetricReport
from scripts.quality.common.registry import KINDS
from scripts.quality.suite import fingerprint, score_sets
from scripts.results.quality_tables import flag_table, quality_tables
from tests.support.metric_sets import gaussian


def make_splits():
    train, guide, select, test = (gaussian(60, seed) for seed in range(4))
    patients = np.arange(60)
    named = {
        name: dataclasses.replace(split, subject_ids=patients + 100 * index)
        for index, (name, split) in enumerate(
            {"train": train, "val_guide": guide, "val_select": select, "test": test}.items()
        )
    }
    return Splits(**named, normaliser=Normaliser.fit(train), fingerprint="f" * 64)


@pytest.fixture
def calls(monkeypatch):
    made = []

    def suite(kind, train, holdout, synthetic, *, normaliser, seed):
        made.append((len(train), len(holdout), len(synthetic)))
        value = {"membership_auc": 0.5 + len(made) / 100, "membership_auc_reference": 0.5}
        return MetricReport(values=value, arrays={"a": np.arange(3)}, remarks=["look"])

    monkeypatch.setattr(set_scores, "quality_report", suite)
    return made


def test_what_is_kept_is_not_computed_again(calls, tmp_path):
    splits, sets = make_splits(), {"one": gaussian(50, 7), "two": gaussian(50, 8)}
    first = score_sets(splits, sets, KINDS, seed=0, cache=tmp_path)
    assert len(calls) == 4
    again = score_sets(splits, sets, KINDS, seed=0, cache=tmp_path)
    assert len(calls) == 4
    assert again["privacy"]["two"].values == first["privacy"]["two"].values
    assert again["privacy"]["two"].remarks == ["look"]
    score_sets(splits, {"one": gaussian(50, 9)}, KINDS, seed=0, cache=tmp_path)
    assert len(calls) == 6
    score_sets(splits, sets, KINDS, seed=1, cache=tmp_path)
    assert len(calls) == 10
    score_sets(splits, sets, KINDS, seed=0, cache=tmp_path, members=["train"])  # of privacy
    assert len(calls) == 12
    other = dataclasses.replace(splits, fingerprint="e" * 64)
    score_sets(other, sets, KINDS, seed=0, cache=tmp_path)
    assert len(calls) == 16


def test_reports_of_two_processes_are_those_of_one(tmp_path):
    splits, sets = make_splits(), {"two": gaussian(50, 8), "one": gaussian(50, 7)}
    one = score_sets(splits, sets, KINDS, seed=0, cache=tmp_path / "one")
    two = score_sets(
        splits, sets, KINDS, seed=0, cache=tmp_path / "two", processes=Processes(workers=2)
    )
    assert [list(of) for of in two.values()] == [["two", "one"]] * len(KINDS)
    for kind in KINDS:
        for name in sets:
            assert two[kind][name].values == pytest.approx(one[kind][name].values, nan_ok=True)


def test_an_interrupted_run_keeps_what_was_done(calls, tmp_path, monkeypatch):
    splits, sets = make_splits(), {"one": gaussian(50, 7), "two": gaussian(50, 8)}
    suite = set_scores.quality_report

    def failing(kind, *args, **kwargs):
        if kind == "privacy":
            raise KeyError
        return suite(kind, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(set_scores, "quality_report", failing)
        with pytest.raises(KeyError):
            score_sets(splits, sets, KINDS, seed=0, cache=tmp_path)
    score_sets(splits, sets, KINDS, seed=0, cache=tmp_path)
    assert len(calls) == 2 + 2


def test_privacy_counts_guidance_rows_as_seen(calls, tmp_path):
    score_sets(make_splits(), {"one": gaussian(50, 7)}, KINDS, seed=0, cache=tmp_path)
    assert calls == [(60, 60, 50), (120, 60, 50)]


def test_the_fingerprint_sees_every_array_and_name():
    static = {"static": np.zeros((30, 1), np.float32), "static_names": ("age[years]",)}
    one, same = (gaussian(30, 0, **static) for _ in range(2))
    flipped = dataclasses.replace(one, labels=1 - one.labels)
    unmeasured = dataclasses.replace(one, observed=~one.observed)
    moved = dataclasses.replace(one, values=one.values + np.float32(1e-3))
    older = dataclasses.replace(one, static=one.static + 1)
    names = [f"{kind}_names" for kind in ("feature", "label", "static")]
    renamed = [dataclasses.replace(one, **{k: getattr(one, k)[::-1]}) for k in names[:2]]
    renamed.append(dataclasses.replace(one, static_names=("weight[kg]",)))
    prints = {fingerprint(d) for d in (one, flipped, unmeasured, moved, older, *renamed)}
    assert len(prints) == 8 and fingerprint(same) == fingerprint(one)


def test_a_report_survives_the_disk(tmp_path, monkeypatch):
    report = MetricReport(
        values={"a/b[mmHg]": 0.1 + 0.2}, arrays={"d c": np.linspace(0, 1, 5)}, remarks=["é"]
    )
    monkeypatch.setattr(set_scores, "quality_report", lambda *_, **__: report)
    for _ in range(2):
        found = score_sets(make_splits(), {"one": gaussian(30, 0)}, KINDS, seed=0, cache=tmp_path)
        monkeypatch.setattr(set_scores, "quality_report", lambda *_, **__: pytest.fail("again"))
    back = found["privacy"]["one"]
    assert back.values == report.values and back.remarks == report.remarks
    assert np.array_equal(back.arrays["d c"], report.arrays["d c"])


def test_a_new_metric_registers_itself_with_its_flag(monkeypatch):
    assert all(registry.metrics(kind) for kind in KINDS)  # the modules register themselves once
    known = {kind: list(entries) for kind, entries in registry._METRICS.items()}
    monkeypatch.setattr(registry, "_METRICS", known)

    @registry.metric("fidelity", registry.above("novelty", 0.1, "it is new"))
    def novelty_report(comparison, *, seed):
        return MetricReport(values={"novelty": 0.5, "novelty_reference": 0.3})

    sets = [gaussian(60, seed) for seed in range(3)]
    found = set_scores.quality_report("fidelity", *sets, normaliser=Normaliser.fit(sets[0]), seed=0)
    assert "novelty" in {flag.metric for flag in registry.raised_flags(found.values)}
    rows = flag_table("fidelity", {"new": found}).rows
    assert ["novelty", "0.500*", "0.300", "> real + 0.1", "it is new"] in rows


def test_a_damaged_report_is_computed_again(tmp_path, caplog):
    sets = {"one": gaussian(30, 0)}
    before = score_sets(make_splits(), sets, ["privacy"], seed=0, cache=tmp_path)
    (path,) = tmp_path.glob("*.npz")
    path.write_bytes(path.read_bytes()[:200])
    after = score_sets(make_splits(), sets, ["privacy"], seed=0, cache=tmp_path)
    assert "computed again" in caplog.text
    assert after["privacy"]["one"].values == before["privacy"]["one"].values


def test_a_set_that_cannot_be_compared_is_named(tmp_path):
    with pytest.raises(DataError, match=r"fidelity of set 'few'.*evaluation\.fidelity=false"):
        score_sets(make_splits(), {"few": gaussian(10, 7)}, KINDS, seed=0, cache=tmp_path)


def test_tables_show_intervals_references_and_flags():
    values = {
        "membership_auc": 0.7,
        "membership_auc_low": 0.68,
        "membership_auc_high": 0.72,
        "membership_auc_reference": 0.5,
    }
    quiet = values | {"membership_auc": 0.51, "membership_auc_low": 0.45}
    reports = {"leaky": MetricReport(values=values), "kept": MetricReport(values=quiet)}
    (table,) = quality_tables({"privacy": reports})
    rows = {row[0]: row for row in table.rows}
    assert rows["leaky"][1] == "0.700 [0.680, 0.720]" and rows["leaky"][-1] == "1 of 1"
    assert rows["kept"][-1] == "0 of 1" and rows["real series"][1] == "0.500"
    reports["kept"].values["membership_auc_reference"] = 0.52  # sets of another size
    assert quality_tables({"privacy": reports})[0].rows[-1][1] == "0.500 to 0.520"
    reports["kept"].values["membership_auc_reference"] = 0.5
    ((metric, leaky, kept, real, threshold, meaning),) = flag_table("privacy", reports).rows
    assert metric == "membership_auc" and leaky == "0.700 [0.680, 0.720] p<0.0001*"
    assert kept == "0.510 [0.450, 0.720] p=0.3720"  # one-sided, of 0.01 / (0.06 / 1.96)
    assert (real, threshold) == ("0.500", "> real, p < 0.001") and "attacker" in meaning
