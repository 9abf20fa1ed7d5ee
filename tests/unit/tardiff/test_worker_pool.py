"""Work that several processes take from one list."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import joblib
import pytest
import torch

from tardiff.generation.worker_pool import spread

HERE = os.getpid()


def _wait_for(path: Path) -> None:
    until = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < until, f"no {path.name}"
        time.sleep(0.01)


def _note(folder: Path, home: int, piece: str) -> None:
    """Writes who made the piece; this process waits at its first until a helper has made one."""
    helps = os.getpid() != home
    if not helps:
        _wait_for(folder / "helped")
    with (folder / piece).open("x") as file:  # fails if the piece was made before
        file.write(f"{os.getpid()} {torch.get_num_threads()}")
    if helps:
        (folder / "helped").touch()


def _helper_fails(folder: Path, home: int, piece: str) -> None:
    if os.getpid() != home:
        (folder / "helped").touch()
        raise ValueError(f"no {piece}")
    _wait_for(folder / "helped")
    (folder / piece).touch()
    time.sleep(0.05)


def _home_fails(folder: Path, home: int, piece: str) -> None:
    if os.getpid() == home:
        _wait_for(folder / "helped")
        raise ValueError(f"no {piece}")
    (folder / "helped").touch()
    time.sleep(600)


def _slow(folder: Path, home: int, piece: str) -> None:
    (folder / piece).touch()
    if os.getpid() != home:
        (folder / "pid").write_text(str(os.getpid()))
        (folder / "pid").replace(folder / "helped")
    time.sleep(0.05)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
        return " Z " not in Path(f"/proc/{process}/stat").read_text()  # dead, not yet buried
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return not Path("/proc/self").exists()  # no /proc here, or gone in between


def run(make, tmp_path, pieces="abcdefgh", workers=2):
    (tmp_path / "out").mkdir(exist_ok=True)
    work = partial(make, tmp_path / "out", HERE)
    return list(spread(work, pieces, workers=workers, folder=tmp_path / "meet"))


def test_two_processes_make_every_piece_once_with_one_thread_each(tmp_path):
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert sorted(run(_note, tmp_path)) == list("abcdefgh")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    notes = [(tmp_path / "out" / piece).read_text().split() for piece in "abcdefgh"]
    assert len({process for process, _ in notes}) == 2
    assert {threads for _, threads in notes} == {"1"}
    assert not list((tmp_path / "meet").iterdir())


def test_a_single_worker_makes_them_in_order_and_here(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "helped").touch()
    assert run(_note, tmp_path, workers=1) == list("abcdefgh")
    assert {(tmp_path / "out" / p).read_text().split()[0] for p in "abcdefgh"} == {str(HERE)}
    assert run(_note, tmp_path, pieces="", workers=2) == []
    assert not (tmp_path / "meet").exists()


def test_the_last_piece_alone_has_one_thread_too(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "helped").touch()
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert run(_note, tmp_path, pieces="a", workers=2) == ["a"]
    finally:
        torch.set_num_threads(before)
    assert (tmp_path / "out" / "a").read_text().split() == [str(HERE), "1"]


def test_joblib_has_its_own_processes(tmp_path):
    for turn in ("first", "second"):
        (tmp_path / turn).mkdir()
        assert sorted(run(_note, tmp_path / turn)) == list("abcdefgh")
        assert sum(joblib.Parallel(n_jobs=2)(joblib.delayed(abs)(-n) for n in (1, 2, 3))) == 6


def test_what_a_helper_raises_ends_the_work_at_once(tmp_path):
    with pytest.raises(ValueError, match="no "):
        run(_helper_fails, tmp_path, pieces=[str(number) for number in range(400)])
    assert 2 <= len(list((tmp_path / "out").iterdir())) < 400
    assert not list((tmp_path / "meet").iterdir())


def test_helpers_do_not_outlive_an_error_here(tmp_path):
    with pytest.raises(ValueError, match="no "):
        run(_home_fails, tmp_path)
    (tmp_path / "out" / "helped").unlink()
    assert sorted(run(_note, tmp_path)) == list("abcdefgh")


def test_helpers_end_with_a_killed_process(tmp_path):
    pieces = [str(number) for number in range(4000)]
    script = (
        "import os, sys\n"
        "from functools import partial\n"
        "from pathlib import Path\n"
        "from tests.unit.tardiff.test_worker_pool import _slow\n"
        "from tardiff.generation.worker_pool import spread\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "work = partial(_slow, folder, os.getpid())\n"
        f"list(spread(work, {pieces!r}, workers=2, folder=folder / 'meet'))\n"
    )
    home = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[3])
    try:
        _wait_for(tmp_path / "helped")
    finally:
        home.send_signal(signal.SIGKILL)
        home.wait()
    helper = int((tmp_path / "helped").read_text())
    until = time.monotonic() + 60
    while _lives(helper):
        assert time.monotonic() < until, "the helper outlived the process that it helped"
        time.sleep(0.1)
    assert len(list(tmp_path.iterdir())) < len(pieces)
