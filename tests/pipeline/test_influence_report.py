"""The influence report on the tiny config: what it writes, that it is true, what it refuses."""

import csv
import json
import logging

import pytest

from classifier.losses import per_sample_loss
from classifier.train import main as train_classifier
from configs import load_config
from configs.runtime.device import pick_device
from configs.runtime.errors import ConfigError
from data_preprocess.build import load_splits
from data_preprocess.storage.dataset_files import save_dataset
from scripts.influence_report.__main__ import main as report
from tardiff.from_config import direction_loader
from tardiff.influence.parameter_space import inner, row_gradients
from tests.support.tiny_runs import tiny_arguments


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    root = tmp_path_factory.mktemp("influence")
    arguments = tiny_arguments(
        root,
        "influence_report.guide_sizes=[10,20]",
        "influence_report.step_rows=40",
    )
    config = load_config(arguments)
    train_classifier(config)
    splits = load_splits(config.data)
    save_dataset(root / "mine.npz", splits.val_select)  # stands for a synthetic set
    config = load_config([*arguments, f"influence_report.sets=[train,{root}/mine.npz]"])
    folder = root / "runs" / "tiny" / "influence_report"
    folder.mkdir(parents=True)
    for name in ("series_train.png", "influence_val_guide.csv"):  # of a report before
        (folder / name).touch()
    report(config)
    return config, arguments, splits, folder


def test_every_series_is_ranked_by_its_own_influence(reported):
    config, _, splits, folder = reported
    with (folder / "influence_train.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == len(splits.train)
    assert sorted(int(row["rank"]) for row in rows) == list(range(1, len(rows) + 1))
    best = min(rows, key=lambda row: int(row["rank"]))
    assert float(best["influence"]) == max(float(row["influence"]) for row in rows)
    inputs = direction_loader(config, splits, pick_device("cpu"))
    model = inputs.classifier().double()
    vector, _ = inputs.vector(inputs.classifier())
    series = inputs.series(splits.train)
    row = int(best["row"])
    assert best["label"] == splits.train.label_names[splits.train.labels[row]]
    (part,) = row_gradients(model, per_sample_loss, series.x[[row]].double(), series.y[[row]])
    # finite difference in float32 against the inner product in float64
    assert float(best["influence"]) == pytest.approx(inner(vector, part), rel=2e-3)


def test_prediction_and_truth_agree_in_the_report(reported):
    numbers = json.loads((reported[3] / "report.json").read_text())
    assert numbers["one_step"]["spearman"] >= 0.99
    assert 0.95 <= numbers["one_step"]["slope"] <= 1.05
    assert numbers["one_step"]["sign_agreement"] >= 0.97
    assert "no diffusion model" in numbers["overhead"]


def test_tables_hold_every_class_of_every_set(reported):
    numbers, splits = json.loads((reported[3] / "report.json").read_text()), reported[2]
    counts = {(row["set"], row["class"]): row["series"] for row in numbers["gradient_norms"]}
    assert [counts["val_guide", name] for name in splits.val_guide.label_names] == list(
        splits.val_guide.class_counts
    )
    assert {row["set"] for row in numbers["distribution"]} == {"train", "mine"}
    cosines = {row["guidance"]: row for row in numbers["class_cosines"]}
    assert cosines["only died"]["only died"] == pytest.approx(1)
    assert cosines["only died"]["all"] == pytest.approx(cosines["all"]["only died"])
    died = [row for row in numbers["class_influence"] if row["guidance"] == "only died"]
    assert all(row["died"] > row["survived"] for row in died)  # more of the class helps the class
    sizes = [row["guidance_rows"] for row in numbers["guidance_size"]]
    assert sizes == [10, 20]
    assert numbers["guidance_size"][0]["cosine"] < numbers["guidance_size"][1]["cosine"]


def test_patients_are_drawn_only_on_request(reported):
    folder = reported[3]
    assert (folder / "series_mine.png").is_file() and not (folder / "series_train.png").exists()
    assert {path.stem for path in folder.glob("*.csv")} == {"influence_train", "influence_mine"}
    for name in ("distribution.png", "one_step.png", "guidance_size.png"):
        assert (folder / name).stat().st_size > 5000
    with (folder / "influence_train.csv").open() as handle:
        assert "subject" not in handle.readline()
    assert "| row |" in (folder / "report.md").read_text()


def test_the_test_split_and_unclear_names_are_refused(reported, caplog):
    caplog.set_level(logging.INFO)
    _, arguments, _, folder = reported
    mine = folder.parents[2] / "mine.npz"
    for sets, message in (
        ("[test]", "names the test split"),
        ("[]", "name a split"),
        (f"[{mine},{mine}]", "names two sets"),
    ):
        with pytest.raises(ConfigError, match=message):
            report(load_config([*arguments, f"influence_report.sets={sets}"]))
    assert load_config([*arguments, "set=val_select"]).influence_report.sets == ["val_select"]
