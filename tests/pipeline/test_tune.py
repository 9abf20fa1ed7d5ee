"""Tuning and the matrix on the tiny config: what is chosen, from what, and what is made twice."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from classifier.train import main as train_classifier
from configs import load_config
from configs.run_record import run_dir
from configs.runtime.errors import ConfigError, MismatchError, MissingInputError
from configs.schema.evaluation import BASELINES
from data_preprocess.build import load_splits
from data_preprocess.storage.dataset_files import load_dataset, load_extra
from scripts import matrix, tune
from scripts.from_config import changed
from scripts.utility.protocols import EvaluationData
from tardiff.from_config import load
from tardiff.generate import is_current
from tardiff.generate import main as generate
from tardiff.records_from_config import (
    estimator_of,
    retraining_path,
    tuning_path,
    with_tuned_strength,
)
from tardiff.train import build_module
from tardiff.train import main as train_diffusion
from tardiff.training.checkpoint import load_model
from tests.support.tiny_runs import tiny_arguments


def point(w, auroc, cfg_scale=1.0):
    return {"w": w, "cfg_scale": cfg_scale, "auroc": auroc}


def test_the_best_non_negative_strength_is_chosen_and_the_weaker_of_equals():
    points = [point(-1.0, 0.9), point(0.0, 0.7), point(0.5, 0.8), point(1.0, 0.8)]
    assert tune.choose(points)["w"] == 0.5
    assert tune.choose([point(0.0, 0.7), point(0.5, 0.7)])["w"] == 0.0


def test_names_tell_strength_and_scale():
    assert (
        tune.candidate_name(0.0, 1.0) == "unguided"
        and tune.candidate_name(0.0, 2.0) == "unguided_cfg2"
    )
    assert tune.candidate_name(-0.5, 1.0) == "guided_w-0.5"
    assert tune.candidate_name(0.25, 1.5) == "guided_w0.25_cfg1.5"


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A tuned tiny experiment: (config, record)."""
    root = tmp_path_factory.mktemp("tune")
    config = load_config(
        tiny_arguments(
            root,
            "diffusion.num_steps=10",
            "diffusion.max_steps=20",
            "classifier.max_epochs=2",
            "tuning.w=[-0.5,0,0.5]",
            "tuning.seeds=[0,1]",
            "evaluation.workers=1",
            "evaluation.fidelity=false",
            "evaluation.privacy=false",
        )
    )
    train_diffusion(config)
    train_classifier(config)
    tune.main(config)
    return config, json.loads(tuning_path(config).read_text())


def test_curve_holds_every_candidate_and_the_strength_it_realised(tuned):
    config, record = tuned
    points = {p["w"]: p for p in record["points"]}
    assert sorted(points) == [-0.5, 0.0, 0.5]
    assert points[0.0]["realised"] == [0.0, 0.0]
    assert max(points[-0.5]["realised"]) < 0 < min(points[0.5]["realised"])
    for p in points.values():
        parts = p["protocols"].values()
        assert p["auroc"] == pytest.approx(np.mean([part["auroc"] for part in parts]))
    best = max((p for p in record["points"] if p["w"] >= 0), key=lambda p: p["auroc"])
    assert record["chosen"]["w"] == best["w"]
    assert tuning_path(config).with_suffix(".png").is_file()


def test_sets_of_the_grid_share_their_noise_and_record_their_own_strength(tuned):
    config, _ = tuned
    folder = tuning_path(config).parent / "sets"
    unguided = load_dataset(folder / "unguided.npz").values
    guided = load_dataset(folder / "guided_w0.5.npz").values
    spread = load_splits(config.data).train.values.std()
    assert 0 < np.abs(guided - unguided).mean() < spread
    assert load_extra(folder / "guided_w0.5.npz")["config"]["guidance"]["w"] == 0.5
    assert load_extra(folder / "unguided.npz")["config"]["guidance"]["kind"] == "none"


def test_tuning_is_blind_to_the_test_split(tuned, monkeypatch):
    """Other test rows, other labels: the same scores."""
    config, record = tuned
    candidates, splits = tune.generate_grid(config)
    honest = tune.score_candidates(config, candidates, splits)
    evaluation_data = tune.evaluation_data

    def other_test(*args) -> EvaluationData:
        data = evaluation_data(*args)
        noise = np.random.default_rng(0).normal(size=data.test.x.shape).astype(np.float32)
        return dataclasses.replace(
            data, test=dataclasses.replace(data.test, x=noise, y=1 - data.test.y)
        )

    monkeypatch.setattr(tune, "evaluation_data", other_test)
    blind = tune.score_candidates(config, candidates, splits)
    assert {key: rows.tolist() for key, rows in honest.items()} == {
        key: rows.tolist() for key, rows in blind.items()
    }
    assert record["points"][0]["protocols"]["TSTR"]["auroc"] in [
        pytest.approx(rows[:, 0].mean()) for rows in honest.values()
    ]


def test_tuned_takes_the_choice_and_says_what_is_missing(tuned, tmp_path):
    config, record = tuned
    fingerprint = load_splits(config.data).fingerprint
    automatic = dataclasses.replace(
        config,
        guidance=dataclasses.replace(config.guidance, w="tuned"),
        sampler=dataclasses.replace(config.sampler, cfg_scale="tuned"),
    )
    resolved = with_tuned_strength(automatic, fingerprint)
    assert resolved.guidance.w == record["chosen"]["w"] and resolved.sampler.cfg_scale == 1.0
    assert with_tuned_strength(config, "whatever") is config
    loaded = load(automatic).config
    sampler = dataclasses.replace(loaded.sampler, batch_size="auto")  # a number by now
    assert dataclasses.replace(loaded, sampler=sampler) == resolved
    with pytest.raises(MismatchError, match="tuned on other data"):
        with_tuned_strength(automatic, "other")
    elsewhere = dataclasses.replace(automatic, runs_dir=str(tmp_path))
    with pytest.raises(MissingInputError, match=r"bash scripts/tune\.sh"):
        with_tuned_strength(elsewhere, fingerprint)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tuning.w=[0.5,1]", "must hold 0"),
        ("tuning.protocols=[TRTS]", "expected some of TSTR and TSRTR"),
        ("tuning.cfg_scale=[-1]", "non-negative"),
        ("guidance.w=strong", "expected a number or auto, tuned"),
        ("influence_report.lds_seeds=[0,0]", "twice"),
        ("sampler.cfg_scale=true", "expected a number or tuned"),
        ("evaluation.baselines=[mixup]", "unknown"),
    ],
)
def test_wrong_settings_are_refused_at_the_door(override, message):
    with pytest.raises(ConfigError, match=message):
        load_config(["configs/base/tiny.yaml", override])


def test_tuning_without_guidance_is_refused():
    with pytest.raises(ConfigError, match="guidance=none: tuning compares strengths"):
        tune.main(load_config(["configs/base/tiny.yaml", "guidance=none"]))


def test_tuning_of_the_algorithm_as_printed_is_refused():
    with pytest.raises(ConfigError, match="guidance.paper_w"):
        tune.generate_grid(load_config(["configs/base/tiny.yaml", "compat=paper"]))


def test_sets_too_small_for_tuning_are_refused_before_one_is_made():
    config = load_config(["configs/base/tiny.yaml", "generation.ratio=0.5"])
    with pytest.raises(ConfigError, match=r"generation.ratio=0.5.*tuning.protocols=\[TSTR\]"):
        tune.main(config)


def test_the_matrix_evaluates_every_set_and_makes_none_twice(tuned, monkeypatch):
    config, _ = tuned
    config = changed(config, evaluation={"baselines": ["guide_rows"]})  # of evaluate.sh alone
    matrix.main(config)
    results = pd.read_csv(tuning_path(config).parents[1] / "matrix" / "results.csv")
    candidates = {"unguided", "guided_w0.5", "guided_w-0.5", "guided"}  # which is pushed
    candidates |= {"classifier_guided", "paper", matrix.WITH_GUIDE, matrix.AS_SAMPLED}
    assert set(results[results["protocol"] == "TSTR"]["generator"]) == candidates
    assert set(results[results["protocol"] == "TRTR+"]["generator"]) == set(BASELINES)
    own = tuning_path(config).parents[2] / "tiny_with_guide"
    fair = load_extra(own / "synthetic" / f"{matrix.WITH_GUIDE}.npz")
    assert load_model(own / "diffusion/model.pt", "").with_guide
    assert not load_model(run_dir(config) / "diffusion/model.pt", "").with_guide
    assert (
        fair["made_with"]
        != load_extra(tuning_path(config).parent / "sets/unguided.npz")["made_with"]
    )

    def refuse(*_):
        raise AssertionError("generated again")

    monkeypatch.setattr(matrix, "generate", refuse)
    monkeypatch.setattr(tune, "_write_candidate", refuse)
    matrix.main(config)
    stronger = dataclasses.replace(config, guidance=dataclasses.replace(config.guidance, trust=0.5))
    with pytest.raises(AssertionError, match="generated again"):
        matrix.main(stronger)


def test_a_generator_may_train_on_guidance_rows_when_asked(tuned):
    config, _ = tuned
    splits = load_splits(config.data)
    diffusion = dataclasses.replace(config.diffusion, include_guide=True)
    plain, _ = build_module(config, splits)
    fair, _ = build_module(dataclasses.replace(config, diffusion=diffusion), splits)
    assert len(plain.train_data.y) == len(splits.train)
    assert len(fair.train_data.y) == len(splits.train) + len(splits.val_guide)


@pytest.mark.parametrize(
    "unknown",
    ["matrix.configurations=[paper,gan]", "influence_report.lds_estimators=[convex,gan]"],
)
def test_unknown_arms_are_refused_before_anything_is_trained(unknown):
    with pytest.raises(ConfigError, match="gan"):
        load_config(["configs/base/tiny.yaml", unknown])


def test_generation_takes_a_tuned_strength(tuned):
    config, record = tuned
    automatic = dataclasses.replace(
        config, guidance=dataclasses.replace(config.guidance, w="tuned")
    )
    generate(automatic)
    made = load_extra(tuning_path(config).parents[1] / "synthetic" / "guided.npz")
    assert made["config"]["guidance"]["w"] == record["chosen"]["w"]


def test_the_generator_of_guidance_rows_is_sampled_as_the_others_are():
    for by, resample in (("push", "never"), ("choose", "auto")):
        arguments = ["configs/base/tiny.yaml", f"guidance.by={by}", "generation.resample=auto"]
        names = f"matrix.configurations=[{matrix.WITH_GUIDE}]"
        (config,) = matrix.other_configurations(load_config([*arguments, names]))
        assert config.generation.resample == resample


@pytest.mark.parametrize(("by", "names"), [("choose", ["guided", "pushed"]), ("push", ["guided"])])
def test_the_set_of_stage_3_is_not_made_again_as_pushed(by, names):
    arguments = ["configs/base/tiny.yaml", f"guidance.by={by}", "generation.resample=auto"]
    asked = [*arguments, "matrix.configurations=[guided,pushed]"]
    assert [
        each.generation.name for each in matrix.other_configurations(load_config(asked))
    ] == names
    alone = [*arguments, "matrix.configurations=[pushed]"]
    (pushed,) = matrix.other_configurations(load_config(alone))
    assert pushed.guidance.by == "push" and pushed.generation.resample == "never"
    trees, classifier = [*alone, "influence.estimator=boosted"], "influence.estimator=classifier"
    if by == "choose":  # boosted trees have no gradient to push along
        (pushed,) = matrix.other_configurations(load_config(trees))
        assert estimator_of(pushed) == "convex"
    (pushed,) = matrix.other_configurations(load_config([*alone, classifier, "guidance.w=1"]))
    assert estimator_of(pushed) == "classifier"


def test_a_strength_of_another_model_is_not_used(tuned):
    config, record = tuned
    asked = dataclasses.replace(config, guidance=dataclasses.replace(config.guidance, w="tuned"))
    path, fingerprint = tuning_path(config), record["data_fingerprint"]
    assert with_tuned_strength(asked, fingerprint).guidance.w == record["chosen"]["w"]
    path.write_text(json.dumps(record | {"model": "another"}))
    with pytest.raises(MismatchError, match="tuned with another diffusion model"):
        with_tuned_strength(asked, fingerprint)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("influence", "estimator", "convex"),
        ("influence", "guidance_loss", "nll"),
        ("guidance", "kind", "classifier"),
        ("guidance", "by", "choose"),
        ("sampler", "num_steps", 4),
        ("generation", "pool", 2),
    ],
)
def test_a_strength_of_other_settings_is_not_used(tuned, section, key, value):
    config, record = tuned
    other = changed(config, **{section: {key: value}})
    asked = changed(other, guidance={"w": "tuned"})
    with pytest.raises(MismatchError, match=rf"tuned with other settings \(.*{section}\.{key}: "):
        with_tuned_strength(asked, record["data_fingerprint"])


def test_a_strength_serves_other_numbers_and_seeds(tuned):
    config, record = tuned
    other = {"seed": 3, "counts": [5, 5], "name": "more", "unguided_too": False}
    asked = changed(config, generation=other, guidance={"w": "tuned"}, sampler={"cfg_scale": 2.0})
    found = with_tuned_strength(asked, record["data_fingerprint"])
    assert found.guidance.w == record["chosen"]["w"] and found.sampler.cfg_scale == 2.0


def test_a_set_of_other_settings_is_not_current(tuned):
    """What of a series the guide sees, and whether a retraining test held the set back."""
    config, _ = tuned
    path = run_dir(config) / "synthetic" / "guided.npz"
    generate(config)
    assert is_current(path, load(config))
    sees = dataclasses.replace(config.classifier, inputs=["values", "mask"])
    assert not is_current(path, load(dataclasses.replace(config, classifier=sees)))
    retraining_path(config).parent.mkdir(exist_ok=True)
    retraining_path(config).write_text("{}")
    assert not is_current(path, load(config))
    retraining_path(config).unlink()
