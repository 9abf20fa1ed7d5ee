"""The benchmarks start: what they import is there. Those of designs run to their ends."""

import importlib
import pkgutil
import sys

import pytest
import torch

import benchmarks
from benchmarks import denoisers, few_steps, findings_picture, limits_of_guidance, many_lstms
from classifier.models.networks import RNNClassifier
from classifier.training import FitRecipe, fit_classifier, predict_logits
from configs import load_config
from tardiff.generate import main as generate
from tardiff.train import main as train_diffusion
from tests.support.tiny_runs import tiny_arguments

MODULES = [
    module.name for module in pkgutil.walk_packages(benchmarks.__path__, prefix="benchmarks.")
]


@pytest.mark.parametrize("name", MODULES)
def test_imports(name):
    importlib.import_module(name)


def test_denoisers_are_trained_sampled_and_scored(tmp_path, monkeypatch, capsys):
    asked = "--seconds 0.5 --setting unet --ema 0.5 --setting".split()
    arguments = tiny_arguments(tmp_path, "evaluation.seeds=[0]")
    monkeypatch.setattr(
        sys, "argv", ["denoisers", *arguments, *asked, "flat multipliers=[1] width=8"]
    )
    denoisers.main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[0].strip("| ") for row in rows[-4:]] == ["real only", "unet", "unet_ema0.5", "flat"]
    for name, *cells in rows[-3:]:
        steps, loss, auroc = int(cells[1]), float(cells[4]), float(cells[5].split()[0])
        assert steps >= 1 and 0.1 < loss < 2 and 0 <= auroc <= 1, name


def test_sets_of_few_steps_are_scored(tmp_path, monkeypatch, capsys):
    asked = ["--steps", "3", "9", "--w", "0.2"]
    keys = ("evaluation.seeds=[0]", "evaluation.models=[gbdt]", "influence.estimator=convex")
    arguments = tiny_arguments(tmp_path, *keys)
    monkeypatch.setattr(sys, "argv", ["few_steps", *arguments, *asked])
    few_steps.main()
    head, _, few, many = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("|")
    )
    assert [few[0], many[0]] == ["3", "9"]
    for row in (few, many):
        found = dict(zip(head, row, strict=True))
        assert 0.5 < float(found["AUC as sampled"]) <= 1
        assert float(found["realised by class, chosen"].split()[0]) == pytest.approx(0.2, abs=0.1)
    assert few[2:4] != many[2:4]  # other steps, other series


def test_many_lstms_are_trained_as_one_is():
    torch.manual_seed(0)
    y = torch.arange(120) % 2
    x = torch.randn(120, 2, 6) + y[:, None, None]
    rows = torch.stack([torch.arange(0, 80), torch.arange(40, 120)])
    recipe = FitRecipe(max_epochs=6, patience=6, patience_steps=0, batch_size=16)
    weights = many_lstms.train(x, y, rows, (x[80:], y[80:]), recipe, seed=0)
    found = many_lstms.predict(weights, x)
    for number in range(2):
        alone = many_lstms.as_classifier(weights, number, length=6)
        torch.testing.assert_close(predict_logits(alone, x)[:, 0], found[number])
    fitted = fit_classifier(
        (x[:80], y[:80]),
        (x[80:], y[80:]),
        build=lambda: RNNClassifier(2, 6, 1, cell="lstm", layers=1),
        recipe=recipe,
        seed=0,
    )
    one = many_lstms.auroc(predict_logits(fitted.model, x[80:])[:, 0][None], y[80:])
    many = many_lstms.auroc(found[:, 80:], y[80:])
    assert one > 0.85 and (many > 0.85).all()


@pytest.mark.slow
def test_limits_of_guidance_are_measured(tmp_path, monkeypatch, capsys):
    keys = ("guidance.kind=none", "generation.counts=[200,100]", "classifier.max_epochs=2")
    arguments = tiny_arguments(tmp_path, *keys)
    config = load_config(arguments)
    train_diffusion(config)
    generate(config)
    lstms = {"real", "one", "six", "encoders"}
    for model, halves, more in (("lstm", 4, ""), ("gbdt", 0, "--without-lstms")):
        asked = f"--model {model} --halves {halves} --seeds 2 --draws 2 {more}".split()
        monkeypatch.setattr(sys, "argv", ["limits", *arguments, *asked])
        limits_of_guidance.main()
        lines = capsys.readouterr().out.splitlines()
        names = {line.strip("| ").split(" | ")[0] for line in lines if line.startswith("| ")}
        assert {"convex", "boosted"} <= names and (lstms <= names) == (not more)
        rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| convex")]
        assert [row[1] for row in rows[:3]] == ["0.1", "0.2", "0.4"]
        assert len(rows) == 3 + (halves > 0)  # the last: its data-modelling score


TABLE = """# Results

| setting | training | real only | real + guidance stays | synthetic alone, unguided | \
synthetic alone, guided | real + synthetic, guided |
| --- | --- | --- | --- | --- | --- | --- |
| **another unit**: death | 9 / 4 | 0.65 / 0.66 | 0.70 / 0.70 | 0.64 / 0.65 | **0.78 / 0.76** | \
0.66 / **0.67** |
| simulated | 8 / 3 | 0.70 | 0.71 | 0.72 | 0.73 | **0.74** |

| another | table |
"""


def test_the_picture_of_findings_draws_the_numbers_of_its_table():
    rows = findings_picture.settings(TABLE)
    assert [row.name for row in rows] == ["another unit: death", "simulated"]
    sure = {
        name: [score.sure for score in found if score] for name, found in rows[0].scores.items()
    }
    assert sure["synthetic alone, guided"] == [True, True]
    assert sure["real + synthetic, guided"] == [False, True]
    panels = findings_picture.findings_figure(rows).axes
    drawn = {
        (line.get_label(), round(float(line.get_xdata()[0]), 3), line.get_markerfacecolor())
        for axes in panels
        for line in axes.lines
        if line.get_linestyle() == "None"
    }
    assert ("synthetic alone, guided", 0.13, "#d1740f") in drawn
    assert ("real + synthetic, guided", 0.01, "white") in drawn  # not bold
    assert ("real + synthetic, guided", 0.01, "#d1740f") in drawn
    assert ("synthetic alone, unguided", -0.01, "#33608c") in drawn
    assert len(panels[0].texts) == 0 and len(panels[1].texts) == 1  # one model alone: "not run"


def test_the_picture_of_the_readme_is_of_the_table_in_the_results():
    docs = findings_picture.DOCS
    rows = findings_picture.settings((docs / "results.md").read_text("utf-8"))
    assert findings_picture.digest(rows) in (docs / "findings.svg").read_text("utf-8")


def test_a_number_of_the_findings_belongs_to_the_model_of_its_place():
    rows = findings_picture.settings(TABLE.replace("0.66 / **0.67**", "not run / **0.67**"))
    first, second = rows[0].scores["real + synthetic, guided"]
    assert first is None and second.value == 0.67
    panels = findings_picture.findings_figure(rows).axes
    labels = [[line.get_label() for line in axes.lines] for axes in panels]
    assert [found.count("real + synthetic, guided") for found in labels] == [1, 1]


def test_a_page_without_the_table_of_findings_is_refused():
    with pytest.raises(ValueError, match=r"no table that begins with"):
        findings_picture.settings("# Results\n")
    with pytest.raises(ValueError, match=r"has no column real only"):
        findings_picture.settings(TABLE.replace("real only", "real"))
