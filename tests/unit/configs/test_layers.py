"""The structure of the library: layer order, no circle of files or of folders, small folders."""

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LAYERS = ("configs", "data_preprocess", "classifier", "tardiff", "scripts")
# The method itself: knows neither configuration nor data files nor the classifier package.
PURE = (
    "tardiff/diffusion/denoiser.py",
    "tardiff/diffusion/noise_schedule.py",
    "tardiff/diffusion/samplers.py",
    "tardiff/guidance/calibration.py",
    "tardiff/guidance/directions.py",
    "tardiff/guidance/guided_denoiser.py",
    "tardiff/influence/guidance_gradient.py",
    "tardiff/influence/guidance_losses.py",
    "tardiff/influence/input_gradient.py",
    "tardiff/influence/parameter_space.py",
    "tardiff/influence/preconditioner.py",
    "tardiff/networks/*.py",
)
MOST_ENTRIES = 14  # files and folders in one folder, __init__.py left out
FEWEST_LINES = 40
MAY_BE_SHORT = ("run_stage(", "guarded(", "\n@reader(", "\n@metric(", "\n@network(")


def modules() -> list[Path]:
    return [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


def dotted(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(path): path for path in modules()}


def imports(path: Path) -> Iterator[str]:
    """The modules of the library that a file imports, dotted, wherever the import stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in NAMES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            yield from (name for name in inner if name in NAMES)
            if node.module in NAMES and not all(name in NAMES for name in inner):
                yield node.module


def folder(name: str) -> str:
    path = NAMES[name]
    return path.parent.relative_to(ROOT).as_posix()


def require_no_circle(graph: Mapping[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail("a circle of imports: " + " <- ".join(error.args[1]))


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_left(path):
    own = LAYERS.index(path.relative_to(ROOT).parts[0])
    wrong = [n for n in imports(path) if LAYERS.index(n.split(".")[0]) > own]
    assert not wrong, f"{path} imports {wrong}, a later stage"


def test_only_the_entry_of_data_preprocess_knows_the_schema():
    """Readers get their section as a plain object; see data_preprocess/sources/registry.py."""
    knowing = {
        name
        for name, path in NAMES.items()
        if name.startswith("data_preprocess.")
        and any(found.startswith("configs.schema") for found in imports(path))
    }
    assert knowing == {"data_preprocess.build"}


def test_no_circle_between_files():
    require_no_circle({name: set(imports(path)) - {name} for name, path in NAMES.items()})


def test_no_circle_between_folders():
    """A folder stands for its own files; what lies in sub-folders counts for those."""
    graph: dict[str, set[str]] = {}
    for name, path in NAMES.items():
        found = {folder(other) for other in imports(path)}
        graph.setdefault(folder(name), set()).update(found - {folder(name)})
    # The files right under a layer are its entries and shared types: both ends of its folders.
    inner = {key: {f for f in found if "/" in f} for key, found in graph.items() if "/" in key}
    require_no_circle(inner)


@pytest.mark.parametrize("place", PURE)
def test_the_method_is_free_of_the_pipeline(place):
    found = list(ROOT.glob(place))
    assert found, place
    for path in found:
        wrong = [name for name in imports(path) if not name.startswith("tardiff.")]
        assert set(wrong) <= {"configs.runtime.errors"}, f"{path} imports {wrong}"


def test_no_folder_has_too_many_entries():
    folders = {path.parent for path in modules()}
    entries = {
        place: [p for p in place.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()]
        for place in folders
    }
    crowded = {str(p.relative_to(ROOT)): len(r) - 1 for p, r in entries.items()}
    crowded = {place: count for place, count in crowded.items() if count > MOST_ENTRIES}
    assert not crowded, f"more than {MOST_ENTRIES} files and folders: {crowded}"


def test_no_file_is_a_fragment():
    """An idea shorter than this belongs into a neighbour; entries, registries and what registers
    itself may be short."""
    short = [
        str(path.relative_to(ROOT))
        for path in modules()
        if path.name not in ("__init__.py", "registry.py")
        and not any(mark in (text := path.read_text(encoding="utf-8")) for mark in MAY_BE_SHORT)
        and len(text.splitlines()) < FEWEST_LINES
    ]
    assert not short, f"fewer than {FEWEST_LINES} lines: {short}"


def test_no_relative_imports_and_no_prints():
    for path in modules():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path
            is_print = isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print"
            assert not is_print, f"{path}:{getattr(node, 'lineno', 0)} prints; use logging"


def test_only_entries_and_from_config_import_the_schema():
    """The config stops at an entry or a package's own `..from_config.py`: all else takes plain
    values."""
    wrong = [
        str(path.relative_to(ROOT))
        for path in modules()
        if path.relative_to(ROOT).parts[0] != "configs"
        and any(name.startswith("configs.schema") for name in imports(path))
        and not (path.parent.parent == ROOT and path.stem.endswith("from_config"))
        and "run_stage(" not in path.read_text(encoding="utf-8")
    ]
    assert not wrong


def test_only_entries_and_other_from_configs_import_a_from_config():
    """Only entries, and the from_config of later layers, turn a config into values."""
    wrong = [
        name
        for name, path in NAMES.items()
        if any(found.endswith("from_config") for found in imports(path))
        and not name.endswith("from_config")
        and "run_stage(" not in path.read_text(encoding="utf-8")
    ]
    assert not wrong


def test_only_training_loads_lightning():
    """Its import takes longer than that of torch, in every process of the later stages."""
    code = (
        "import sys, classifier.train, tardiff.generate, scripts.evaluate\n"
        "print([name for name in sys.modules if 'lightning' in name])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
