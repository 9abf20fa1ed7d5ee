"""Ctrl-C, exhausted memory, a full disk and a read-only one in every stage: one message, the right
exit code, and no half file."""

import errno
import logging
import os
import shutil
from pathlib import Path

import pytest

from benchmarks.faults_compare import half_written, leftovers
from classifier import training
from classifier.train import main as classifier
from configs import cli as entry
from configs.runtime import atomic_files as atomic
from data_preprocess import build
from scripts import tune
from scripts.evaluate import main as evaluate
from scripts.influence_report import __main__ as influence_report
from tardiff.generate import main as generate
from tardiff.generation.reverse_process import ReverseProcess
from tardiff.train import main as train
from tardiff.training.module import DiffusionModule
from tests.support.tiny_runs import tiny_arguments

FEW = (
    "experiment=faults",
    "diffusion.width=8",
    "diffusion.max_steps=4",
    "diffusion.val_every=2",
    "classifier.max_epochs=1",
    "influence.cg_iterations=1",
    "guidance.kind=none",
    "generation.counts=[24,8]",
    "influence_report.guide_sizes=[10]",
    "influence_report.step_rows=20",
    "tuning.w=[0]",
    "tuning.seeds=[0]",
    "evaluation.protocols=[TSTR]",
    "evaluation.workers=1",
)
# Per stage: what runs, where its work is done, what to remove so that it has work to do.
STAGES = {
    "data": (build.main, (build, "assign"), ["data"]),
    "train": (train, (DiffusionModule, "training_step"), ["runs/faults/diffusion"]),
    "classifier": (classifier, (training, "weighted_loss"), ["classifier"]),
    "generate": (generate, (ReverseProcess, "run"), ["runs/faults/synthetic"]),
    "evaluate": (evaluate, (training, "weighted_loss"), ["runs/faults/evaluation"]),
    "influence": (influence_report.main, (influence_report, "measured_steps"), []),
    "tune": (tune.main, (ReverseProcess, "run"), []),
}
READ_ONLY = OSError(errno.EROFS, os.strerror(errno.EROFS))
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
# What happens, whether in the work or in a write, the exit code, and the words of the message.
FAULTS = {
    "ctrl-c": (KeyboardInterrupt(), "work", 130, "run the same command again to go on"),
    "memory": (MemoryError("Unable to allocate 9 GiB"), "work", 2, "out of memory"),
    "full disk": (FULL, "write", 2, "the disk is full; free some space"),
    "read-only": (READ_ONLY, "write", 2, "the file system is read-only"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An experiment with data, diffusion model, classifier and an unguided set."""
    root = tmp_path_factory.mktemp("finished")
    arguments = tiny_arguments(root, *FEW)
    assert [entry._guarded(stage, arguments) for stage in (train, classifier, generate)] == [0] * 3
    return root


def broken(monkeypatch, place, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(*place, fail)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_fault_ends_in_one_message(stage, fault, finished, tmp_path, monkeypatch, caplog):
    main, work, remove = STAGES[stage]
    error, where, code, words = FAULTS[fault]
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    for name in remove:
        shutil.rmtree(root / name, ignore_errors=True)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    monkeypatch.delenv("TARDIFF_DEBUG", raising=False)
    caplog.set_level(logging.INFO)
    with monkeypatch.context() as patch:
        broken(patch, work if where == "work" else (atomic, "flush"), error)
        assert entry._guarded(main, tiny_arguments(root, *FEW)) == code
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(told) == 1 and words in told[0]
    assert half_written(root) == []
    assert [path for path in leftovers(root) if ".partial" in path] == []
    changed = {
        path for path, raw in before.items() if not path.is_file() or path.read_bytes() != raw
    }
    assert {path.name for path in changed} <= {"config.yaml", "record.json"}


def test_the_stages_are_all_there():
    """A stage with an entry of its own belongs into the list."""
    packages = ("configs", "data_preprocess", "classifier", "tardiff", "scripts")
    modules = [path for name in packages for path in Path(name).rglob("*.py")]
    entries = {path for path in modules if "run_stage(main)" in path.read_text(encoding="utf-8")}
    listed = {
        "data_preprocess/build.py",
        "tardiff/train.py",
        "classifier/train.py",
        "tardiff/generate.py",
        "scripts/evaluate.py",
        "scripts/influence_report/__main__.py",
        "scripts/tune.py",
    }
    # Put together from the stages above, or seconds long.
    others = {
        "scripts/matrix.py",
        "tardiff/export_guidance.py",
        "tardiff/fit_guide.py",
    }
    assert {str(path) for path in entries} - others == listed
