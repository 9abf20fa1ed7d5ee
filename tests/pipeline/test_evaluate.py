"""Stage 4 end to end on the tiny config, and what it refuses before it computes."""

import csv
import dataclasses
import json
import logging
import shutil

import numpy as np
import pytest

from configs import load_config
from configs.run_record import sha256_file
from configs.runtime.errors import (
    ConfigError,
    DataError,
    MismatchError,
    MissingInputError,
    UserError,
)
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.storage.dataset_files import save_dataset
from scripts import evaluate
from scripts.quality import suite as set_scores
from scripts.synthetic_sets import find_sets, load_set
from scripts.utility.downstream import Downstream

MEMBERSHIP = "membership_auc"


def as_synthetic(dataset, seed=0, noise=0.3):
    rng = np.random.default_rng(seed)
    scale = noise * dataset.values.std(axis=(0, 2), keepdims=True)
    values = dataset.values + scale * rng.normal(size=dataset.values.shape)
    n = len(dataset)
    return dataclasses.replace(
        dataset,
        values=values.astype(np.float32),
        observed=np.ones_like(dataset.observed),
        subject_ids=np.full(n, -1),
        static=np.zeros((n, 0), np.float32),
        static_names=(),
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The tiny experiment with two synthetic sets: (folder, splits)."""
    folder = tmp_path_factory.mktemp("stage4")
    config = load_config(arguments(folder))
    ensure_built(config.data)
    splits = load_splits(config.data)
    for seed, name in enumerate(("influence", "unguided")):
        path = folder / "runs/tiny/synthetic" / f"{name}.npz"
        facts = {"data_fingerprint": splits.fingerprint}
        save_dataset(path, as_synthetic(splits.train, seed), facts)
    return folder, splits


def arguments(folder, *more):
    return [
        "configs/base/tiny.yaml",
        f"data.dir={folder}/data",
        f"runs_dir={folder}/runs",
        "evaluation.workers=1",
        "classifier.max_epochs=1",
        *more,
    ]


@pytest.fixture
def experiment(built, tmp_path):
    """A copy that a test may change."""
    folder, splits = built
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path, splits


def test_main_writes_every_file_and_a_second_run_fits_nothing(experiment, caplog, monkeypatch):
    folder, _ = experiment
    more = (
        "evaluation.protocols=[TRTR,TSTR,TRTS,TSRTR]",
        "evaluation.ratios=[0.5,1.0]",
        "evaluation.seeds=[0,1]",
    )
    config = load_config(arguments(folder, *more))
    with caplog.at_level(logging.INFO):
        evaluate.main(config)
    out = folder / "runs/tiny/evaluation"
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    fits = 1 + 2 + 2 + 2 * 2
    of_sets = [r for r in rows if r["protocol"] in ("fidelity", "privacy")]
    assert len(rows) - len(of_sets) == fits * 2 * 5 + 5  # the true risk once
    assert list(rows[0]) == ["protocol", "generator", "ratio", "model", "seed", "metric", "value"]
    assert {r["ratio"] for r in rows if r["protocol"] in ("TSTR", "TRTS")} == {""}
    summary = json.loads((out / "summary.json").read_text())
    assert len(summary["rows"]) == (fits + 1) * 5
    simulated, note = summary["notes"]
    assert simulated.startswith("The patients are simulated")
    assert set(summary["beside_linear"]) == set(config.evaluation.models)
    assert note.startswith("2 seeds:") and "at least 5" in note
    mean = np.mean(
        [
            float(r["value"])
            for r in rows
            if (r["protocol"], r["generator"], r["metric"]) == ("TSTR", "influence", "auprc")
        ]
    )
    (stated,) = [
        r["mean"]
        for r in summary["rows"]
        if (r["protocol"], r["generator"], r["metric"]) == ("TSTR", "influence", "auprc")
    ]
    assert stated == pytest.approx(mean, abs=1e-6)
    names = {
        "roc_pr_rnn.png",
        "calibration_rnn.png",
        "tsrtr_rnn.png",
        "auroc_rnn.png",
        "differences_rnn.png",
    }
    sections = {"distributions", "examples_0", "examples_1", "embedding", "privacy"}
    assert {path.name for path in out.glob("*.png")} == names | {f"{n}.png" for n in sections}
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in out.glob("*.png"))
    assert "unguided" in caplog.text and str(out / "results.csv") in caplog.text
    assert "evaluation" in json.loads((folder / "runs/tiny/record.json").read_text())

    measured = {(r["protocol"], r["generator"]) for r in of_sets}
    names = ("unguided", "influence")
    assert measured == {(k, n) for k in ("fidelity", "privacy") for n in names}
    (auc,) = [r for r in of_sets if (r["generator"], r["metric"]) == ("influence", MEMBERSHIP)]
    stored = summary["privacy"]["influence"]
    assert float(auc["value"]) == pytest.approx(stored["values"][MEMBERSHIP], abs=1e-5)
    # The sets are training series with noise: an attacker finds them.
    assert MEMBERSHIP in stored["quality_flags"]
    assert "membership AUC" in caplog.text

    before = (out / "results.csv").read_text()
    monkeypatch.setattr(set_scores, "_score", lambda *_: pytest.fail("computed again"))
    monkeypatch.setattr(Downstream, "fit", lambda *_, **__: pytest.fail("fitted again"))
    assert "replacing the report" not in caplog.text
    with caplog.at_level(logging.INFO):
        evaluate.main(config)
    assert (out / "results.csv").read_text() == before
    assert f"replacing the report in {out}" in caplog.text


def test_fidelity_and_privacy_can_be_left_out(experiment, monkeypatch):
    folder, _ = experiment
    monkeypatch.setattr(set_scores, "_score", lambda *_: pytest.fail("computed"))
    more = ("evaluation.fidelity=false", "evaluation.privacy=false", "evaluation.protocols=[TSTR]")
    evaluate.main(load_config(arguments(folder, *more)))
    summary = json.loads((folder / "runs/tiny/evaluation/summary.json").read_text())
    assert "privacy" not in summary and "fidelity" not in summary


def test_privacy_is_not_measured_against_another_population(tmp_path, monkeypatch):
    more = ("data.train_where.unit_type=[1,2]", "data.test_where.unit_type=[3,4]")
    config = load_config(
        arguments(tmp_path, *more, "evaluation.fidelity=false", "evaluation.protocols=[TSTR]")
    )
    ensure_built(config.data)
    train = load_splits(config.data).train
    save_dataset(tmp_path / "runs/tiny/synthetic/unguided.npz", as_synthetic(train))
    monkeypatch.setattr(set_scores, "_score", lambda *_: pytest.fail("computed"))
    monkeypatch.setattr(evaluate, "generator_report", lambda *_: pytest.fail("attacked"))
    evaluate.main(config)
    out = tmp_path / "runs/tiny/evaluation"
    summary = json.loads((out / "summary.json").read_text())
    assert "privacy" not in summary
    assert any(note.startswith("Privacy is not measured") for note in summary["notes"])
    assert "Not measured: the notes at the top say why." in (out / "report.md").read_text()


def test_without_an_unguided_set_the_reader_is_told(experiment, caplog):
    folder, _ = experiment
    (folder / "runs/tiny/synthetic/unguided.npz").unlink()
    with caplog.at_level(logging.INFO):
        evaluate.main(load_config(arguments(folder, "evaluation.protocols=[TSTR]")))
    assert "No set is called 'unguided'" in caplog.text.replace("\n", " ")
    assert "One seed" in caplog.text
    notes = json.loads((folder / "runs/tiny/evaluation/summary.json").read_text())["notes"]
    assert len(notes) == 3


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("synthetic=[nosuch]", r"no set of .* has this name \(there are: influence, unguided\)"),
        ("evaluation.models=[nosuch]", "unknown 'nosuch'; expected rnn, lstm, gru, gbdt, rocket, "),
    ],
)
def test_a_mistyped_name_is_answered_with_those_there_are(experiment, argument, message):
    with pytest.raises(UserError, match=message):
        evaluate.main(load_config(arguments(experiment[0], argument)))


def test_real_only_needs_no_synthetic_set(experiment):
    folder, _ = experiment
    shutil.rmtree(folder / "runs/tiny/synthetic")
    evaluate.main(load_config(arguments(folder, "evaluation.protocols=[TRTR]")))
    assert (folder / "runs/tiny/evaluation/roc_pr_rnn.png").is_file()
    with pytest.raises(MissingInputError, match=r"no synthetic set in .*generation\.sh"):
        evaluate.main(load_config(arguments(folder)))


def test_a_set_too_small_is_refused_before_any_fit(experiment, monkeypatch):
    folder, splits = experiment
    monkeypatch.setattr(Downstream, "fit", lambda *_, **__: pytest.fail("fitted"))
    small = as_synthetic(splits.train.take(np.arange(30)))
    save_dataset(folder / "runs/tiny/synthetic/influence.npz", small)
    with pytest.raises(DataError, match="'influence', TSRTR ratio 1: .* generate at least"):
        evaluate.main(load_config(arguments(folder)))


def test_unguided_is_compared_whatever_was_asked_for(experiment):
    folder, splits = experiment
    own = folder / "runs/tiny/synthetic"
    outside = folder / "timegan.npz"
    save_dataset(outside, as_synthetic(splits.train, seed=5))
    assert list(find_sets([str(outside)], own)) == ["unguided", "timegan"]
    assert list(find_sets(None, own)) == ["unguided", "influence"]
    assert list(find_sets(["influence"], own)) == ["unguided", "influence"]


def test_sets_that_do_not_fit_are_refused(experiment):
    folder, splits = experiment
    own, bad = folder / "runs/tiny/synthetic", folder / "bad.npz"
    fake = as_synthetic(splits.train)

    def refused(dataset, error, match, facts=None):
        save_dataset(bad, dataset, facts)
        with pytest.raises(error, match=match):
            load_set(bad, splits, step_minutes=60.0)

    channels = ("a", *fake.feature_names[1:])
    refused(
        dataclasses.replace(fake, feature_names=channels), MismatchError, "feature_names differ"
    )
    shorter = dataclasses.replace(
        fake, values=fake.values[:, :, :-1], observed=fake.observed[:, :, :-1]
    )
    refused(shorter, MismatchError, "length differ")
    labels = dataclasses.replace(fake, label_names=("no", "yes"))
    refused(labels, MismatchError, "label_names differ")
    refused(fake, MismatchError, "model of other data", {"data_fingerprint": "0" * 64})
    one_class = fake.take(np.flatnonzero(fake.labels == 0))
    refused(one_class, DataError, "no stay of class")
    with pytest.raises(MissingInputError, match="absent.npz does not exist"):
        find_sets([str(folder / "absent.npz")], own)


def test_names_must_tell_sets_apart(experiment):
    folder, splits = experiment
    own = folder / "runs/tiny/synthetic"
    other = folder / "elsewhere/influence.npz"
    save_dataset(other, as_synthetic(splits.train))
    with pytest.raises(ConfigError, match="influence names more than one file"):
        find_sets([str(other), str(own / "influence.npz")], own)
    save_dataset(folder / "real.npz", as_synthetic(splits.train))
    with pytest.raises(ConfigError, match="may not be called 'real'"):
        find_sets([str(folder / "real.npz")], own)


def test_an_unknown_downstream_model_is_refused_before_any_fit(experiment):
    folder, _ = experiment
    with pytest.raises(ConfigError, match="nonsense"):
        evaluate.main(load_config(arguments(folder, "evaluation.models=[nonsense]")))


def test_several_models_stand_side_by_side(experiment):
    folder, _ = experiment
    path = "classifier.models.networks:ConvClassifier"
    more = ("evaluation.protocols=[TSTR]", f"evaluation.models=[rnn,'{path}']")
    evaluate.main(load_config(arguments(folder, *more)))
    out = folder / "runs/tiny/evaluation"
    assert (out / "auroc_classifier.models.networks_ConvClassifier.png").is_file()
    assert path in (out / "report.md").read_text()


def made(seed=0, model="m", guided=True):
    """What stage 3 writes into a set's file."""
    config = {"compat": "none", "sampler": {}, "generation": {"seed": seed, "ratio": 1.0}}
    return {
        "experiment": "tiny",
        "made_with": {"diffusion": model},
        "config": config,
        "resampled": None,
        "guidance": {"realised": [0.1, 0.1], "facts": {}} if guided else None,
    }


def test_sets_of_other_noise_are_not_compared_as_guidance(experiment):
    folder, splits = experiment
    own = folder / "runs/tiny/synthetic"
    for name, facts in {
        "unguided": made(guided=False),
        "influence": made(),
        "other_seed": made(seed=1),
    }.items():
        facts |= {"data_fingerprint": splits.fingerprint}
        save_dataset(own / f"{name}.npz", as_synthetic(splits.train, 3), facts)
    evaluate.main(load_config(arguments(folder, "evaluation.protocols=[TSTR]")))
    out = folder / "runs/tiny/evaluation"
    notes = json.loads((out / "summary.json").read_text())["notes"]
    (told,) = [note for note in notes if "differ in more than guidance" in note]
    assert told.startswith("other_seed and unguided") and "(generation.seed)" in told
    compared = (out / "guidance_change.csv").read_text()
    assert "influence" in compared and "other_seed" not in compared


def test_sets_of_an_earlier_model_are_told(experiment):
    folder, _ = experiment
    config = load_config(arguments(folder))
    model = folder / "runs/tiny/diffusion/model.pt"
    model.parent.mkdir()
    model.write_bytes(b"weights")
    now, elsewhere = made(model=sha256_file(model)), made() | {"experiment": "another"}
    assert not evaluate._origin_notes(config, {"a": now, "b": elsewhere, "c": {}}, {})
    (told,) = evaluate._origin_notes(config, {"a": now, "old": made()}, {})
    assert told.startswith("old: made by a different diffusion model than the current ")


def test_a_set_from_elsewhere_has_no_card_of_ours(experiment, tmp_path):
    """Though it is called as a set of the experiment is."""
    folder, splits = experiment
    card = folder / "runs/tiny/synthetic/influence.card.md"
    card.write_text("ours")
    own, other = card.with_name("influence.npz"), tmp_path / "elsewhere" / "influence.npz"
    config = load_config(arguments(folder))
    assert evaluate._documents(config, {"influence": own})["Card of set influence"] == "ours"
    assert evaluate._documents(config, {"influence": other})["Card of set influence"] == ""


def test_plain_arrays_are_a_set(experiment, tmp_path):
    _, splits = experiment
    path = tmp_path / "arrays.npz"
    synthetic = as_synthetic(splits.train)
    np.savez(path, x=synthetic.values, y=synthetic.labels)
    np.testing.assert_allclose(
        load_set(path, splits, step_minutes=60.0).values, synthetic.values, rtol=1e-6
    )


def test_sets_that_no_metric_takes_are_refused_before_any_fit(experiment, monkeypatch):
    folder, splits = experiment
    monkeypatch.setattr(Downstream, "fit", lambda *_, **__: pytest.fail("fitted"))
    monkeypatch.setattr("scripts.quality.common.comparison.MIN_LENGTH", splits.train.length + 1)
    remedy = "leave the metrics out: evaluation.fidelity=false evaluation.privacy=false"
    with pytest.raises(DataError, match=remedy):
        evaluate.main(load_config(arguments(folder)))


def test_a_guided_set_that_is_the_unguided_one_is_told(experiment):
    _, splits = experiment
    one, other = as_synthetic(splits.train, 0), as_synthetic(splits.train, 1)
    sets = {"unguided": one, "guided": dataclasses.replace(one), "stronger": other}
    config = load_config(arguments(experiment[0]))
    (told,) = [note for note in evaluate._notes(config, sets) if "the same series" in note]
    assert told.startswith("guided: the same series as unguided")
    assert not any("the same series" in note for note in evaluate._notes(config, {"a": one}))
