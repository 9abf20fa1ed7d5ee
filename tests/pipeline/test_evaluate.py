"""Stage 4 end to end on the tiny config."""

import csv
import json
import logging
import shutil

import numpy as np
import pytest

from configs import load_config
from configs.runtime.errors import ConfigError, MissingInputError, UserError
from data_preprocess.build import ensure_built, load_splits
from data_preprocess.dataset import concatenate
from data_preprocess.storage.dataset_files import save_dataset
from scripts import evaluate
from scripts.quality import suite as set_scores
from scripts.utility.downstream import Downstream
from tests.support.evaluated import arguments, as_synthetic

MEMBERSHIP = "membership_auc"


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
        "roc_pr_classifier.png",
        "calibration_classifier.png",
        "tsrtr_classifier.png",
        "auroc_classifier.png",
        "differences_classifier.png",
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
    monkeypatch.setattr(
        set_scores, "quality_report", lambda *_, **__: pytest.fail("computed again")
    )
    monkeypatch.setattr(Downstream, "fit", lambda *_, **__: pytest.fail("fitted again"))
    assert "replacing the report" not in caplog.text
    with caplog.at_level(logging.INFO):
        evaluate.main(config)
    assert (out / "results.csv").read_text() == before
    assert f"replacing the report in {out}" in caplog.text


def test_fidelity_and_privacy_can_be_left_out(experiment, monkeypatch):
    folder, _ = experiment
    monkeypatch.setattr(set_scores, "quality_report", lambda *_, **__: pytest.fail("computed"))
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
    monkeypatch.setattr(set_scores, "quality_report", lambda *_, **__: pytest.fail("computed"))
    monkeypatch.setattr(evaluate, "generator_report", lambda *_: pytest.fail("attacked"))
    evaluate.main(config)
    out = tmp_path / "runs/tiny/evaluation"
    summary = json.loads((out / "summary.json").read_text())
    assert "privacy" not in summary
    note = "What the sets give away about training series and guidance series is not measured"
    assert any(found.startswith(note) for found in summary["notes"])
    assert "Not measured: the notes at the top say why." in (out / "report.md").read_text()


@pytest.mark.parametrize("leaks", [False, True])
def test_guidance_stays_are_attacked_where_only_they_are_like_the_test_stays(
    tmp_path, monkeypatch, leaks
):
    """The set holds training stays, which nobody can attack here, or guidance stays, as a copy."""
    units = {"train": "[1,2]", "guide": "[3,4]", "select": "[3,4]", "test": "[3,4]"}
    more = [f"data.{split}_where.unit_type={those}" for split, those in units.items()]
    more += ["data.simulated.num_subjects=400"]
    config = load_config(
        arguments(tmp_path, *more, "evaluation.fidelity=false", "evaluation.protocols=[TSTR]")
    )
    ensure_built(config.data)
    splits = load_splits(config.data)
    leaked = splits.val_guide if leaks else splits.train
    save_dataset(tmp_path / "runs/tiny/synthetic/unguided.npz", as_synthetic(leaked))
    monkeypatch.setattr(evaluate, "generator_report", lambda *_: pytest.fail("attacked"))
    evaluate.main(config)
    out = tmp_path / "runs/tiny/evaluation"
    summary = json.loads((out / "summary.json").read_text())
    (answer,) = [one for one in summary["verdicts"] if one["question"] == "private"]
    if leaks:
        assert answer["outcome"] == "no" and "It leaks guidance series" in answer["reason"]
    else:
        assert answer["outcome"] == "cannot tell"
    assert (summary["privacy"]["unguided"]["values"]["near_copy_share"] > 0.5) == leaks
    assert "The training series were not attacked" in (out / "report.md").read_text()


def test_a_set_that_holds_test_series_is_voided(tmp_path, caplog):
    told = arguments(tmp_path, "evaluation.privacy=false", "evaluation.protocols=[TSTR]")
    config = load_config(told)
    ensure_built(config.data)
    splits = load_splits(config.data)
    few = concatenate(splits.train, splits.test.take(np.arange(3)))
    few = concatenate(few, splits.val_select.take(np.arange(1)))
    save_dataset(tmp_path / "runs/tiny/synthetic/unguided.npz", as_synthetic(few, noise=0.0))
    with caplog.at_level(logging.WARNING):
        evaluate.main(config)
    copies = "It holds copies of 1 selection series and 3 test series."
    assert copies in caplog.text
    summary = json.loads((tmp_path / "runs/tiny/evaluation/summary.json").read_text())
    assert summary["held_out_copies"] == {"unguided": {"val_select": 1, "test": 3}}
    found = {one["question"]: one for one in summary["verdicts"]}
    assert {one["outcome"] for one in found.values()} == {"cannot tell"}
    assert {one["reason"] for one in found.values()} == {copies}


def test_a_set_of_noisy_test_series_is_voided(tmp_path, caplog):
    config = load_config(arguments(tmp_path, "evaluation.protocols=[TSTR]"))
    ensure_built(config.data)
    leaked = as_synthetic(load_splits(config.data).test, noise=0.05)
    save_dataset(tmp_path / "runs/tiny/synthetic/unguided.npz", leaked)
    with caplog.at_level(logging.WARNING):
        evaluate.main(config)
    summary = json.loads((tmp_path / "runs/tiny/evaluation/summary.json").read_text())
    (told,) = [note for note in summary["notes"] if "nearer to test series" in note]
    assert told in caplog.text and "What is measured on this set need not hold" in told
    found = [one["outcome"] for one in summary["verdicts"]]
    assert found == ["cannot tell"] * 3


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
        ("synthetic=[/tmp]", r"/tmp is a folder; name a file, such as a set's .npz"),
        (
            "evaluation.models=[nosuch]",
            "unknown 'nosuch'; expected classifier, lstm, gru, gbdt, rocket, ",
        ),
    ],
)
def test_a_mistyped_name_is_answered_with_those_there_are(experiment, argument, message):
    with pytest.raises(UserError, match=message):
        evaluate.main(load_config(arguments(experiment[0], argument)))


def test_real_only_needs_no_synthetic_set(experiment):
    folder, _ = experiment
    shutil.rmtree(folder / "runs/tiny/synthetic")
    old = folder / "runs/tiny/evaluation/privacy.png"  # of an evaluation with sets
    old.parent.mkdir(exist_ok=True)
    old.touch()
    evaluate.main(load_config(arguments(folder, "evaluation.protocols=[TRTR]")))
    assert old.with_name("roc_pr_classifier.png").is_file() and not old.exists()
    with pytest.raises(MissingInputError, match="absent"):  # a set that was named is looked at
        evaluate.main(
            load_config(arguments(folder, "evaluation.protocols=[TRTR]", "synthetic=[absent]"))
        )
    with pytest.raises(MissingInputError, match=r"no synthetic set in .*generation\.sh"):
        evaluate.main(load_config(arguments(folder)))


def test_an_unknown_downstream_model_is_refused_before_any_fit(experiment):
    folder, _ = experiment
    with pytest.raises(ConfigError, match="nonsense"):
        evaluate.main(load_config(arguments(folder, "evaluation.models=[nonsense]")))


def test_several_models_stand_side_by_side(experiment):
    folder, _ = experiment
    path = "classifier.models.networks:ConvClassifier"
    more = ("evaluation.protocols=[TSTR]", f"evaluation.models=[classifier,'{path}']")
    evaluate.main(load_config(arguments(folder, *more)))
    out = folder / "runs/tiny/evaluation"
    assert (out / "auroc_classifier.models.networks_ConvClassifier.png").is_file()
    assert path in (out / "report.md").read_text()
