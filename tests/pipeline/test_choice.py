"""Stage 3 with a guide of unguided series: chosen sets, predicted strength, what holds it back."""

import json
import logging

import numpy as np
import pytest

from configs import load_config
from configs.runtime.errors import ConfigError, MissingInputError
from data_preprocess.build import load_splits
from data_preprocess.storage.dataset_files import load_dataset, load_extra
from scripts.from_config import guided_as
from scripts.influence_report.__main__ import main as influence_report
from tardiff.from_config import resamples
from tardiff.generate import main as generate
from tardiff.generation import density_ratio
from tardiff.generation.counterpart import differences, made_with
from tardiff.records_from_config import estimator_of, held_back, retraining_score
from tardiff.train import main as train_diffusion
from tests.support.tiny_runs import tiny_arguments

PRIVATE = (
    "diffusion.class_balanced=false",
    "diffusion.marginal_rows=0",
    "diffusion.precision=32-true",
)
CONVEX = ("influence.estimator=convex", "guidance.by=choose", "generation.resample=never")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A diffusion model; no classifier, which this guide does not need."""
    root = tmp_path_factory.mktemp("choice")
    arguments = tiny_arguments(root, *CONVEX, "guidance.w=auto")
    train_diffusion(load_config(arguments))
    return root, arguments


def run(trained, *overrides):
    root, arguments = trained
    generate(load_config([*arguments, *overrides]))
    return root / "runs" / "tiny" / "synthetic"


def test_the_chosen_set_is_part_of_the_unguided_pool(trained, caplog):
    caplog.set_level(logging.INFO)
    folder = run(trained, "guidance.w=0.3")
    guided, unguided = load_dataset(folder / "guided.npz"), load_dataset(folder / "unguided.npz")
    splits = load_splits(load_config(trained[1]).data)
    np.testing.assert_array_equal(guided.labels, unguided.labels)
    np.testing.assert_array_equal(guided.class_counts, splits.train.class_counts)
    known = {series.tobytes() for series in unguided.values}
    kept = np.mean([series.tobytes() in known for series in guided.values])
    assert 0.7 < kept < 1.0  # only what the tilt changes is exchanged
    facts = load_extra(folder / "guided.npz")["guidance"]
    assert facts["pool"] == 4 * len(guided) and facts["requested"] == [0.3, 0.3]
    assert facts["realised"][0] == pytest.approx(0.3, abs=0.05)
    assert facts["facts"]["strength"]["grid"]
    assert f"chosen from {4 * len(guided)} unguided series" in caplog.text
    assert not (folder / ".parts").exists()


def test_the_unguided_set_is_that_of_a_run_without_guidance(trained):
    few = "generation.counts=[12,6]"
    beside = load_dataset(run(trained, few, "guidance.w=0.3") / "unguided.npz").values
    alone = load_dataset(run(trained, few, "guidance=none") / "unguided.npz").values
    np.testing.assert_allclose(beside, alone, rtol=1e-3, atol=1e-3)


def test_strength_zero_equals_unguided(trained):
    folder = run(trained, "guidance.w=0")
    zero, unguided = load_dataset(folder / "guided.npz"), load_dataset(folder / "unguided.npz")
    np.testing.assert_array_equal(zero.values, unguided.values)


def test_both_sets_are_resampled_from_one_pool(trained, caplog, monkeypatch):
    """Series that lie where training series do are kept; guidance starts from that set."""
    monkeypatch.setattr(density_ratio, "FEWEST", 20)
    caplog.set_level(logging.INFO)
    plain = load_dataset(run(trained, "guidance.w=0") / "unguided.npz").values
    resample = ("generation.resample=always",)
    folder = run(trained, *resample, "guidance.w=0")
    zero, unguided = load_dataset(folder / "guided.npz"), load_dataset(folder / "unguided.npz")
    np.testing.assert_array_equal(zero.values, unguided.values)
    assert 0 < np.mean([row in plain for row in unguided.values]) < 1
    facts = load_extra(folder / "unguided.npz")["resampled"]
    assert 0.5 < facts["auc"] <= 1 and facts["slope"] > 0
    assert 0 < facts["effective_share"] < 1
    assert "boosted trees tell what the model draws" in (folder / "unguided.card.md").read_text()
    assert "series sampled, which boosted trees tell from training series" in caplog.text
    guided = run(trained, *resample, "guidance.w=0.3")
    facts = load_extra(guided / "guided.npz")["guidance"]
    assert facts["realised"][0] == pytest.approx(0.3, abs=0.05)
    again = load_dataset(guided / "unguided.npz").values
    np.testing.assert_array_equal(again, unguided.values)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), True),
        (("guidance=none", "guidance.by=push"), True),
        (("guidance.by=push",), False),
        (("compat=paper",), False),
        (("diffusion.private.epsilon=8", *PRIVATE), False),
        (("data.guide_where.unit=[2]",), False),
        (("data.guide_where.unit=[2]", "generation.resample=always"), True),
        (("generation.resample=never",), False),
    ],
)
def test_resampled_unless_it_would_mislead(trained, overrides, expected):
    """Another population is meant, a push has counterparts, private training promises noise."""
    auto = "generation.resample=auto"
    assert resamples(load_config([*trained[1], auto, *overrides])) == expected


def test_auto_asks_for_what_it_predicts(trained, caplog):
    caplog.set_level(logging.INFO)
    folder = run(trained)
    facts = load_extra(folder / "guided.npz")["guidance"]
    strength = facts["facts"]["strength"]
    assert facts["requested"] == [strength["w"]] * 2
    assert "strength: w = " in caplog.text


def test_boosted_trees_choose_a_set(trained, caplog):
    caplog.set_level(logging.INFO)
    boosted = (
        "influence.estimator=boosted",
        "generation.name=by_trees",
        "evaluation.models=[gbdt]",
    )
    folder = run(trained, *boosted, "guidance.w=0.3")
    found = load_extra(folder / "by_trees.npz")
    assert found["guidance"]["realised"][0] == pytest.approx(0.3, abs=0.05)
    assert found["guidance"]["facts"]["estimator"] == "boosted"
    caplog.clear()
    run(trained, *boosted[1:], "influence.estimator=auto", "guidance.w=0.3")
    again = load_extra(folder / "by_trees.npz")
    assert again["config"] == found["config"]  # auto is written as what it stood for
    assert "made with other settings" not in caplog.text


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("evaluation.models=[gbdt,rocket]",), "boosted"),
        (("evaluation.models=[gbdt+mask]",), "boosted"),
        (("evaluation.models=[rocket,gbdt]",), "convex"),
        (("evaluation.models=[gbdt]", "guidance.by=push"), "convex"),
        (("evaluation.models=[gbdt]", "influence.vector=g.pt"), "convex"),
        (
            ("evaluation.models=[gbdt]", "influence.estimator=classifier", "guidance.w=1"),
            "classifier",
        ),
    ],
)
def test_the_estimator_follows_the_model_that_is_trained(trained, overrides, expected):
    config = load_config([*trained[1], "influence.estimator=auto", *overrides])
    assert estimator_of(config) == expected


def test_stage_4_shows_the_influence_that_guided_the_set(trained):
    """With other downstream models "auto" would be another guide."""
    stage_3 = ("influence.estimator=auto", "evaluation.models=[gbdt]", "generation.name=by_trees")
    folder = run(trained, "guidance.w=0.3", *stage_3)
    made = {name: made_with(folder / f"{name}.npz") for name in ("by_trees", "unguided")}
    asked = ("influence.estimator=auto", "evaluation.models=[rocket]")
    stage_4 = load_config([*trained[1], *asked])
    assert estimator_of(stage_4) == "convex"
    assert estimator_of(guided_as(stage_4, made)) == "boosted"
    named = load_config([*trained[1], *asked, "influence.estimator=convex"])
    assert estimator_of(guided_as(named, made)) == "convex"
    old = {"guided": {"experiment": stage_4.experiment, "guidance": {"pool": 1}}}  # says no more
    assert estimator_of(guided_as(stage_4, old)) == "convex"
    elsewhere = load_config([*trained[1], *asked, "experiment=other"])
    assert estimator_of(guided_as(elsewhere, made)) == "convex"
    folder = run(trained, "guidance.w=0.3", "generation.name=by_head")
    made["by_head"] = made_with(folder / "by_head.npz")  # two guides: none is that of all sets
    assert estimator_of(guided_as(stage_4, made)) == "convex"


def test_sets_with_and_without_copies_are_no_counterparts():
    made = [{"config": {"generation": {"allow_copies": allowed}}} for allowed in (True, False)]
    assert differences(*made) == ["generation.allow_copies"]


def test_a_push_by_the_convex_guide(trained):
    folder = run(
        trained,
        "guidance.by=push",
        "guidance.w=0.3",
        "generation.name=pushed",
    )
    pushed, unguided = load_dataset(folder / "pushed.npz"), load_dataset(folder / "unguided.npz")
    facts = load_extra(folder / "pushed.npz")["guidance"]
    assert facts["pool"] == 0 and facts["realised"][0] > 0.1
    assert np.abs(pushed.values - unguided.values).mean() > 1e-3


def test_a_missing_classifier_is_told_before_a_pool_is_sampled(trained, caplog):
    caplog.set_level(logging.INFO)
    with pytest.raises(MissingInputError, match="classifier/train.sh"):
        influence_report(load_config([*trained[1], "lds=true"]))
    assert "sampling" not in caplog.text


def test_the_retraining_test_is_heeded(trained, caplog):
    caplog.set_level(logging.INFO)
    root, arguments = trained
    lds = ["lds=true", "influence_report.lds_subsets=8", "influence_report.lds_seeds=[0]"]
    both = "influence_report.lds_estimators=[convex,boosted]"
    more = [both, "evaluation.workers=1", "guidance.w=0.3"]
    influence_report(load_config([*arguments, *lds, *more]))
    assert "linear data-modelling score" in caplog.text
    path = root / "runs/tiny/influence/retraining.json"
    found = json.loads(path.read_text())
    assert found["model"] == "classifier"  # the first of evaluation.models, which decides
    score, tilt = (found["estimators"]["convex"][name] for name in ("guide", "tilt"))
    boosted = found["estimators"]["boosted"]
    made_for = boosted["decided_by"]
    assert boosted["guide"] != score and made_for["influence"]["estimator"] == "boosted"
    assert made_for["made_with"]["diffusion"] and "w" not in made_for["guidance"]
    assert score["low"] <= score["score"] <= score["high"] and found["subsets"] == 8
    assert (
        found["w"] == found["asked"] == 0.3
        and found["tilted"] == 8
        and tilt["guide"] != tilt["held_out"]
    )
    for change, requested in ((-0.2, 0.3), (-0.1, 0.0)):
        tilt["held_out"] = {"change": change, "error": 0.15}
        path.write_text(json.dumps(found))
        facts = load_extra(run(trained, "guidance.w=0.3") / "guided.npz")["guidance"]
        assert facts["requested"] == [requested] * 2
        known = retraining_score(load_config(arguments), found["data_fingerprint"])
        assert known is not None and known.predicts == (requested > 0)
    assert "does not lower the loss of a retrained classifier here" in caplog.text
    assert retraining_score(load_config(arguments), "of other data") is None
    for other in (
        "influence.penalty=0.3",
        "influence.guidance_loss=nll",
        "sampler.cfg_scale=3",
        "sampler.num_steps=7",
        "seed=7",
        "generation.pool=2",
        "generation.resample=auto",
        "guidance.by=push",
    ):
        caplog.clear()
        config = load_config([*arguments, other])
        assert retraining_score(config, found["data_fingerprint"]) is None
        assert f"{other.split('=')[0]}: " in caplog.text
    for same in ("generation.seed=5", "generation.counts=[9,9]", "sampler.batch_size=3"):
        config = load_config([*arguments, same])
        assert retraining_score(config, found["data_fingerprint"]) is not None
    scores = found["estimators"]["convex"]
    files = scores["decided_by"]["made_with"] | {"diffusion": "another"}
    retrained = scores | {"decided_by": scores["decided_by"] | {"made_with": files}}
    path.write_text(json.dumps(found | {"estimators": {"convex": retrained}}))
    assert retraining_score(load_config(arguments), found["data_fingerprint"]) is None
    path.write_text(json.dumps(found))
    facts = load_extra(run(trained, "guidance.w=0.3", "guidance.force=true") / "guided.npz")
    assert facts["guidance"]["requested"] == [0.3, 0.3]
    # The strength that was tested is the only one that the record speaks for.
    for asked, w, want, held in (
        ("auto", 0.3, "auto", True),
        (0.3, 0.3, "auto", False),
        (-1, -1.0, 0.4, False),
        (0.3, 0.3, -0.3, False),
        ("auto", 0.0, "auto", False),
    ):
        path.write_text(json.dumps(found | {"w": w, "asked": asked}))
        caplog.clear()
        config = load_config([*arguments, f"guidance.w={want}"])
        assert (held_back(config, found["data_fingerprint"]) is not None) == held, (asked, w, want)
        untested = f"says nothing of guidance.w={want}; to test that: bash scripts/influence.sh"
        if w == 0:
            untested = "guidance.w=auto gave no strength, so none was tested"
        assert (untested in caplog.text) != held
    path.unlink()


@pytest.mark.parametrize(
    "overrides",
    [
        ("influence.estimator=classifier", "guidance.w=auto"),
        ("guidance=classifier", "guidance.w=auto"),
        ("influence.estimator=classifier", "influence.vector=g.pt", "guidance.w=0.5"),
        ("influence.estimator=boosted", "influence.vector=g.pt", "guidance.w=0.5"),
        ("influence.estimator=boosted", "guidance.by=push"),
        ("guidance.by=push", "generation.resample=always"),
        ("diffusion.private.epsilon=8", "generation.resample=always"),
    ],
)
def test_what_does_not_go_together(trained, overrides):
    with pytest.raises(ConfigError, match=r"guidance\.w=0\.5|estimator at auto|leave it at auto"):
        load_config([*trained[1], *overrides])
