"""Masks, channel types and static covariates through all four stages of a tiny experiment."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from classifier.train import main as train_classifier
from configs import load_config
from configs.runtime.errors import ConfigError
from data_preprocess.build import load_splits
from data_preprocess.export.writers import export
from data_preprocess.impute import impute
from data_preprocess.storage.dataset_files import load_dataset
from scripts.evaluate import main as evaluate
from tardiff.generate import main as generate
from tardiff.train import main as train_diffusion
from tests.support.tiny_runs import tiny_arguments

SPACE = (
    "data.space.masks=true",
    "data.space.static=[age,sex]",
    "data.space.types={heart_rate: positive}",
    "data.space.ordered=[[diastolic_pressure,systolic_pressure]]",
)
INPUTS = "classifier.inputs=[values,mask,time,static]"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("masked")
    arguments = tiny_arguments(root, *SPACE, INPUTS)
    config = load_config(arguments)
    train_diffusion(config)
    train_classifier(config)
    generate(config)
    return root, arguments, load_splits(config.data)


def sets(made):
    folder = made[0] / "runs/tiny/synthetic"
    return {name: load_dataset(folder / f"{name}.npz") for name in ("guided", "unguided")}


def test_sets_have_masks_and_carry_values_over_their_gaps(made):
    fill = np.array(made[2].normaliser.layout.fill)
    for dataset in sets(made).values():
        assert 0 < dataset.observed.mean() < 1
        measured = np.where(dataset.observed, dataset.values, np.nan)
        np.testing.assert_allclose(impute(measured, fill)[0], dataset.values, rtol=1e-6)


def test_guidance_acts_through_masks_too(made):
    guided, unguided = sets(made).values()
    assert (guided.observed != unguided.observed).any()
    assert np.abs(guided.values - unguided.values).mean() > 1e-3


def test_sets_have_static_facts_and_the_card_counts_them(made):
    train = made[2].train
    dataset = sets(made)["guided"]
    assert [name.split("[")[0] for name in dataset.static_names] == ["age", "sex"]
    sex = train.static[:, 1]
    assert set(np.unique(dataset.static[:, 1])) <= set(np.unique(sex))
    card = (made[0] / "runs/tiny/synthetic/guided.card.md").read_text()
    name = dataset.static_names[1]
    level = np.unique(sex)[0]
    assert f"| {name} {level:g} | {(dataset.static[:, 1] == level).sum()} |" in card
    first = train.feature_names[0]
    assert f"| {first} | {dataset.observed[:, 0].mean():.1%} |" in card


def test_the_long_table_holds_measurements_only_and_labels_come_with_facts(made):
    folder = made[0] / "exported"
    export(made[0] / "runs/tiny/synthetic/guided.npz", "csv", folder, step_minutes=60.0)
    dataset = sets(made)["guided"]
    assert len(pd.read_csv(folder / "series.csv")) == dataset.observed.sum()
    labels = pd.read_csv(folder / "series_labels.csv")
    np.testing.assert_allclose(labels[dataset.static_names[0]], dataset.static[:, 0], rtol=1e-5)


def test_models_with_and_without_masks_stand_in_one_table(made):
    root, arguments, _ = made
    models = "evaluation.models=[lstm,lstm+mask,gbdt+mask]"
    config = load_config([*arguments, models, "evaluation.workers=1", "evaluation.privacy=false"])
    evaluate(config)
    summary = json.loads((root / "runs/tiny/evaluation/summary.json").read_text())
    models = {row["model"] for row in summary["rows"]}
    assert models == {"lstm", "lstm+mask", "gbdt+mask"}
    rows = pd.read_csv(root / "runs/tiny/evaluation/results.csv")
    assert "missing_rate_difference" in set(rows["metric"])


def test_a_mask_aware_model_of_data_without_masks_is_refused(made, tmp_path):
    config = load_config(tiny_arguments(tmp_path, "evaluation.models=[lstm+mask]"))
    train_diffusion(config)
    generate(
        dataclasses.replace(config, guidance=dataclasses.replace(config.guidance, kind="none"))
    )
    with pytest.raises(ConfigError, match="lstm.mask.*need data.space.masks=true"):
        evaluate(config)
