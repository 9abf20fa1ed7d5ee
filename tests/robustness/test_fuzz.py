"""Mutated files against every reader, briefly; `python -m benchmarks.fuzz` goes on for longer."""

import subprocess
import sys

import numpy as np
import pytest

from benchmarks import fuzz
from benchmarks.faults_compare import differences, half_written, leftovers
from configs.runtime.errors import UserError


@pytest.mark.parametrize("name", fuzz.READERS)
def test_mutated_files_give_a_result_or_a_users_error(name, tmp_path):
    tally = fuzz.fuzz(name, tmp_path, 0.3, seed=1)
    assert tally.findings == []
    assert tally.refused > 0


def test_the_fuzzer_sees_what_it_looks_for(tmp_path):
    """A reader that fails in another way than by a user's error is a finding."""

    def read(path):
        raw = path.read_bytes()
        if raw.startswith(b"a"):
            raise UserError("refused")
        return raw.decode("ascii")

    path, tally = tmp_path / "x", fuzz.Tally()
    for raw in (b"a", b"b", b"\xff"):
        path.write_bytes(raw)
        fuzz.try_one(fuzz.Reader("", path.touch, read), path, tally)
    assert (tally.refused, tally.valid, len(tally.findings)) == (1, 1, 1)


def test_mutations_depend_on_the_seed_alone():
    raw = bytes(range(100))
    first, again = (fuzz.mutate(raw, np.random.default_rng(3)) for _ in range(2))
    assert first == again != raw


def test_the_comparison_sees_half_changed_and_left_files(tmp_path):
    here, expected = tmp_path / "a", tmp_path / "b"
    for folder in (here, expected):
        folder.mkdir()
        np.savez(folder / "x.npz", x=np.arange(3))
        (folder / "x.json").write_text('{"seconds": 1, "auc": 0.5}')
    (here / "x.json").write_text('{"seconds": 2, "auc": 0.5}')
    assert differences(here, expected) == [] and half_written(here) == []
    (here / "x.json").write_text('{"seconds": 1, "auc": 0.6}')
    assert differences(here, expected) == ["x.json differs"]
    (here / "x.npz").write_bytes((here / "x.npz").read_bytes()[:50])
    assert len(half_written(here)) == 1
    (here / ".x.1-2-3.partial.npz").touch()
    assert leftovers(here) == [str(here / ".x.1-2-3.partial.npz")]


@pytest.mark.slow
def test_every_stage_survives_kills():
    command = [sys.executable, "-m", "benchmarks.faults", "--kills", "2"]
    subprocess.run(command, check=True)
