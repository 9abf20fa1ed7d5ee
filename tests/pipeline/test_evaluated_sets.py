"""Which sets stage 4 takes and refuses, and what it says of their origin."""

import dataclasses
import json
import logging

import numpy as np
import pandas as pd
import pytest

from classifier import train
from classifier.checkpoint import save_classifier
from configs import load_config, to_plain
from configs.run_record import sha256_file
from configs.runtime.atomic_files import write_text
from configs.runtime.errors import ConfigError, DataError, MismatchError, MissingInputError
from data_preprocess.storage.dataset_files import save_dataset
from scripts import evaluate
from scripts.from_config import documents, other_influence
from scripts.synthetic_sets import find_sets, load_set, origin_notes
from scripts.utility.downstream import Downstream
from tardiff.records_from_config import diffusion_settings, model_path, other_settings
from tests.support.evaluated import arguments, as_synthetic


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
    with pytest.raises(ConfigError, match="names no set"):
        find_sets([], own)


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
    save_dataset(folder / "_mine.npz", as_synthetic(splits.train))
    with pytest.raises(ConfigError, match="may not begin with an underscore.*rename _mine"):
        find_sets([str(folder / "_mine.npz")], own)


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


def test_a_set_that_another_influence_guided_is_told():
    tiny = load_config(["configs/base/tiny.yaml"])
    facts = made()
    facts["config"] |= {name: to_plain(tiny)[name] for name in ("guidance", "influence")}
    sets = {"guided": facts, "unguided": made(guided=False)}
    assert not other_influence(tiny, sets)
    more = ("influence.estimator=convex", "influence.damping=0.1")
    (told,) = other_influence(load_config(["configs/base/tiny.yaml", *more]), sets)
    assert told.startswith("guided: ") and "influence.estimator: classifier -> convex" in told
    assert "influence.damping: 0.015 -> 0.1" in told
    auto = load_config(["configs/base/tiny.yaml", "influence.estimator=auto"])
    assert not other_influence(auto, sets)  # which then is the one that guided it


def test_sets_of_other_noise_are_not_compared_as_guidance(experiment):
    folder, splits = experiment
    own = folder / "runs/tiny/synthetic"
    for noise, (name, facts) in enumerate(
        {"unguided": made(guided=False), "influence": made(), "other_seed": made(seed=1)}.items()
    ):
        facts |= {"data_fingerprint": splits.fingerprint}
        save_dataset(own / f"{name}.npz", as_synthetic(splits.train, noise), facts)
    evaluate.main(load_config(arguments(folder, "evaluation.protocols=[TSTR]")))
    out = folder / "runs/tiny/evaluation"
    notes = json.loads((out / "summary.json").read_text())["notes"]
    (told,) = [note for note in notes if "differ in more than guidance" in note]
    assert told.startswith("other_seed and unguided") and "(generation.seed)" in told
    compared = (out / "guidance_change.csv").read_text()
    assert "influence" in compared and "other_seed" not in compared


def test_a_set_of_the_unguided_series_is_told_and_not_compared(experiment, caplog):
    """Its rows are in results.csv, where several splits are pooled from."""
    folder, splits = experiment
    own = folder / "runs/tiny/synthetic"
    for name, facts in {"unguided": made(guided=False), "influence": made()}.items():
        facts |= {"data_fingerprint": splits.fingerprint}
        save_dataset(own / f"{name}.npz", as_synthetic(splits.train, 3), facts)
    with caplog.at_level(logging.INFO):
        evaluate.main(load_config(arguments(folder, "evaluation.protocols=[TSTR]")))
    out = folder / "runs/tiny/evaluation"
    rows = pd.read_csv(out / "results.csv").set_index("generator")
    unguided, copy = (rows.loc[name].reset_index(drop=True) for name in ("unguided", "influence"))
    pd.testing.assert_frame_equal(unguided, copy)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["same_as_unguided"] == ["influence"]
    assert {row["generator"] for row in summary["rows"]} == {"unguided", "real", "simulator"}
    assert {verdict["name"] for verdict in summary["verdicts"]} == {"unguided"}
    assert not (out / "guidance_change.csv").exists()
    assert "influence: the same series as unguided, as where" in caplog.text


def origins(config, sets):
    files = {"model": model_path(config), "classifier": train.checkpoint_path(config)}
    return origin_notes(sets, {}, experiment=config.experiment, **files)


def test_sets_of_an_earlier_model_are_told(experiment):
    folder, _ = experiment
    config = load_config(arguments(folder))
    model = folder / "runs/tiny/diffusion/model.pt"
    model.parent.mkdir()
    model.write_bytes(b"weights")
    now, elsewhere = made(model=sha256_file(model)), made() | {"experiment": "another"}
    assert not origins(config, {"a": now, "b": elsewhere, "c": {}})
    (told,) = origins(config, {"a": now, "old": made()})
    assert told.startswith("old: made by a different diffusion model than the current ")


def test_sets_of_an_earlier_classifier_are_told(experiment):
    """Of sets that the classifier guided; the convex guide needs none."""
    folder, _ = experiment
    config = load_config(arguments(folder, f"classifier.checkpoint_dir={folder}/c"))
    write_text(train.checkpoint_path(config), "weights")
    now = sha256_file(train.checkpoint_path(config))

    def guided(kind, estimator, *weights, compat="none", by=True):
        facts = made(guided=by)
        facts["made_with"]["guidance"] = list(weights)
        parts = {"guidance": {"kind": kind}, "influence": {"estimator": estimator}}
        return facts | {"config": facts["config"] | parts | {"compat": compat}}

    sets = {
        "current": guided("influence", "classifier", now, "of the retraining test"),
        "convex": guided("influence", "convex", "of the retraining test"),
        "unguided": guided("influence", "classifier", "before", by=False),  # as stage 3 writes it
        "old": guided("influence", "classifier", "before"),
        "likelihood": guided("classifier", "convex", "before"),
        "paper": guided("influence", "convex", "before", compat="paper"),
    }
    (told,) = origins(config, sets)
    assert told.startswith("old, likelihood, paper: guided by a different classifier than the ")


def test_a_set_from_elsewhere_has_no_card_of_ours(experiment, tmp_path):
    """Though it is called as a set of the experiment is."""
    folder, splits = experiment
    card = folder / "runs/tiny/synthetic/influence.card.md"
    card.write_text("ours")
    own, other = card.with_name("influence.npz"), tmp_path / "elsewhere" / "influence.npz"
    config = load_config(arguments(folder))
    assert documents(config, {"influence": own})["Card of set influence"] == "ours"
    assert documents(config, {"influence": other})["Card of set influence"] == ""


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


def test_settings_that_no_model_was_trained_with_are_told(experiment):
    folder, splits = experiment

    def load(*more):
        return load_config(arguments(folder, f"classifier.checkpoint_dir={folder}/c", *more))

    config = load()
    assert not other_settings(config, of_classifier=True)  # nothing trained
    facts = train._facts(config, splits)
    save_classifier(train.checkpoint_path(config), facts.build(), facts)
    model = folder / "runs/tiny/diffusion/model.pt"
    write_text(model, "weights")
    settings = {"diffusion": diffusion_settings(config)}
    write_text(model.with_name("settings.json"), json.dumps(settings))
    assert not other_settings(config, of_classifier=True)  # the same
    again = {1: f"or remove {model.parent} and run stage 1 again.", 2: "or run stage 2 again."}
    for given, stage, change in (
        (
            "classifier.model_args={hidden: 5}",
            2,
            "model_args: {'hidden': 8, 'layers': 1} -> {'hidden': 5}",
        ),
        ("classifier.max_epochs=7", 2, "(classifier.max_epochs: 1 -> 7)"),
        ("diffusion.width=16", 1, "(diffusion.width: 8 -> 16)"),
    ):
        (told,) = other_settings(load(given), of_classifier=True)
        assert change in told and told.endswith(again[stage])
        shown = documents(load(given), {})["All settings"]
        assert shown.startswith(f"# {told}\n") and not shown.startswith("#", len(told) + 3)
    assert not other_settings(load("classifier.max_epochs=7"), of_classifier=False)
    train.checkpoint_path(config).write_bytes(b"torn")
    assert "best.ckpt" in str(other_settings(config, of_classifier=True))
