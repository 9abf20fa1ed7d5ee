"""Layering configs <- data_preprocess <- classifier <- tardiff <- scripts: imports point left."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LAYERS = ("configs", "data_preprocess", "classifier", "tardiff", "scripts")
# The method itself: knows neither configuration nor data nor the classifier package.
PURE = (
    "blocks",
    "calibrate",
    "denoiser",
    "diffusion",
    "direction",
    "ensemble",
    "gru_denoiser",
    "guidance_losses",
    "guided",
    "influence",
    "influence_gradients",
    "networks",
    "noise",
    "one_step",
    "parameters",
    "precondition",
    "ranks",
    "reverse",
    "row_gradients",
    "samplers",
    "schedule",
    "transformer1d",
    "unet1d",
)


def imported_layers(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [node.module for node in froms if node.module]
    return {name.split(".")[0] for name in names} & set(LAYERS)


def modules():
    return [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_left(path):
    own = LAYERS.index(path.relative_to(ROOT).parts[0])
    wrong = [name for name in imported_layers(path) if LAYERS.index(name) > own]
    assert not wrong, f"{path} imports {wrong}, a later stage"


@pytest.mark.parametrize("name", PURE)
def test_the_method_is_free_of_the_pipeline(name):
    assert imported_layers(ROOT / "tardiff" / f"{name}.py") <= {"tardiff"}


def test_no_relative_imports_and_no_prints():
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path
            is_print = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
            assert not is_print, f"{path}:{getattr(node, 'lineno', 0)} prints; use logging"
