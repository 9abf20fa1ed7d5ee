"""The benchmarks start: what they import is there. Those of designs run to their ends."""

import importlib
import pkgutil
import sys

import pytest

import benchmarks
from benchmarks import denoisers, few_steps
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
