"""Damaged files against every reader, briefly; `python -m benchmarks.fuzz` goes on for longer."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from benchmarks.faults_compare import differences, half_written, leftovers
from benchmarks.fuzz_readers import READERS, Reader, answer
from configs.runtime.errors import UserError


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_give_a_result_or_a_users_error(name, tmp_path):
    """One stretch of a valid file is replaced by any bytes; nothing but a UserError is raised."""
    reader = READERS[name]
    path = tmp_path / f"x{reader.suffix}"
    reader.write(path)
    valid = path.read_bytes()
    answers = []

    @settings(max_examples=40, deadline=10_000)
    @given(st.integers(0, len(valid)), st.integers(0, 64), st.binary(max_size=64))
    @example(0, len(valid), b"")
    @example(len(valid) // 2, len(valid), b"")
    def damage(start: int, length: int, replacement: bytes) -> None:
        raw = valid[:start] + replacement + valid[start + length :]
        answers.append(answer(reader, path, raw))

    damage()
    assert False in answers


def test_the_fuzzer_sees_what_it_looks_for(tmp_path):
    """Another error than the user's is passed on to the fuzzer."""

    def read(path):
        raw = path.read_bytes()
        if raw.startswith(b"a"):
            raise UserError("refused")
        return raw.decode("ascii")

    reader = Reader("", (tmp_path / "x").touch, read)
    assert [answer(reader, tmp_path / "x", raw) for raw in (b"a", b"b")] == [False, True]
    with pytest.raises(UnicodeDecodeError):
        answer(reader, tmp_path / "x", b"\xff")


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
