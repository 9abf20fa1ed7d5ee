"""Pieces of work in worker processes: each once, one thread each, ended by errors and by a kill."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch

from configs import load_config
from configs.runtime.errors import ConfigError, UserError
from configs.runtime.processes import Processes

ROOT = Path(__file__).parents[3]
PIECES = [str(number) for number in range(8)]


def _note(folder: Path, piece: str) -> int:
    """Writes who made the piece; fails if it was made before."""
    with (folder / piece).open("x") as file:
        file.write(f"{os.getpid()} {torch.get_num_threads()}")
    time.sleep(0.1)
    return int(piece) ** 2


def _fail(folder: Path, piece: str) -> None:
    (folder / piece).touch()
    if piece == "3":
        raise ValueError(f"no {piece}")
    time.sleep(0.05)


def _slow(folder: Path, piece: str) -> None:
    (folder / f"{os.getpid()}.pid").touch()
    (folder / piece).touch()
    time.sleep(0.2)


def notes(folder: Path) -> list[list[str]]:
    return [(folder / piece).read_text().split() for piece in PIECES]


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_two_processes_make_every_piece_once_with_one_thread_each(tmp_path, two_threads):
    found = dict(Processes(2).run(partial(_note, tmp_path), PIECES))
    assert found == {piece: int(piece) ** 2 for piece in PIECES}
    made = notes(tmp_path)
    assert len({process for process, _ in made}) == 2 and str(os.getpid()) not in made[0]
    assert {threads for _, threads in made} == {"1"}
    assert torch.get_num_threads() == 2


def test_one_worker_is_this_process_in_order(tmp_path, two_threads):
    assert [item for item, _ in Processes(1).run(partial(_note, tmp_path), PIECES)] == PIECES
    assert {tuple(note) for note in notes(tmp_path)} == {(str(os.getpid()), "1")}
    assert list(Processes(2).run(partial(_note, tmp_path), [])) == []


def test_no_more_processes_than_pieces(tmp_path):
    assert list(Processes(0).run(partial(_note, tmp_path), ["0"])) == [("0", 0)]
    assert (tmp_path / "0").read_text().split()[0] == str(os.getpid())


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_piece_raises_ends_the_work(tmp_path, workers):
    pieces = [str(number) for number in range(200)]
    with pytest.raises(ValueError, match="no 3"):
        list(Processes(workers).run(partial(_fail, tmp_path), pieces))
    assert 4 <= len(list(tmp_path.iterdir())) < len(pieces)


def test_another_thread_may_run_them_which_cannot_set_signals():
    with ThreadPoolExecutor(1) as threads:
        found = threads.submit(lambda: list(Processes(1).run(abs, [-2]))).result()
    assert found == [(-2, 2)]


def _lives(process: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{process}/stat").read_text()  # dead, not yet buried
    except FileNotFoundError:
        return False


def with_workers(folder: Path, before: str = "") -> subprocess.Popen[bytes]:
    """A process that does `before` and starts two workers; its messages go to `folder`/told."""
    script = (
        "import os, signal, threading\n"
        "from functools import partial\n"
        "from pathlib import Path\n"
        "from configs.runtime.processes import Processes\n"
        "from tests.unit.configs.test_processes import _slow\n"
        f"work = partial(_slow, Path({str(folder)!r}))\n"
        f"{before}\n"
        "list(Processes(2).run(work, [str(n) for n in range(4000)]))\n"
    )
    with (folder / "told").open("wb") as told:
        return subprocess.Popen(
            [sys.executable, "-c", script],
            cwd=ROOT,
            stderr=told,
            start_new_session=True,
            # Tests run in the background would hand an ignored SIGINT down to their children.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def started(folder: Path) -> subprocess.Popen[bytes]:
    """A process with two workers, once both work."""
    home = with_workers(folder)
    until = time.monotonic() + 120
    while len(list(folder.glob("*.pid"))) < 2:
        assert time.monotonic() < until, "the workers did not start"
        time.sleep(0.05)
    return home


def wait_for_end(folder: Path, seconds: float) -> None:
    workers = [int(path.stem) for path in folder.glob("*.pid")]
    until = time.monotonic() + seconds
    while any(_lives(worker) for worker in workers):
        assert time.monotonic() < until, "a worker outlived the process that it worked for"
        time.sleep(0.1)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_a_killed_process(tmp_path, ending):
    home = started(tmp_path)
    home.send_signal(ending)
    home.wait(30)
    wait_for_end(tmp_path, 60)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_ctrl_c_ends_in_seconds(tmp_path):
    home = started(tmp_path)
    os.killpg(home.pid, signal.SIGINT)  # a terminal sends it to all processes in front
    home.wait(20)
    wait_for_end(tmp_path, 20)


def test_ctrl_c_while_workers_start_is_answered_by_one_process(tmp_path):
    soon = "threading.Timer(0.5, lambda: os.killpg(0, signal.SIGINT)).start()"  # they import then
    home = with_workers(tmp_path, soon)
    home.wait(60)
    told = (tmp_path / "told").read_text()
    assert "KeyboardInterrupt" in told and told.count("Traceback") == 1, told


def test_dask_needs_a_scheduler_that_answers(monkeypatch):
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    with pytest.raises(ConfigError, match="no scheduler is named"):
        list(Processes(backend="dask").run(abs, [1]))
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(UserError, match=r"\[cluster\]"):
        list(Processes(backend="dask", scheduler="tcp://127.0.0.1:1").run(abs, [1]))


def test_the_config_knows_both_places():
    tiny = "configs/base/tiny.yaml"
    assert load_config([tiny]).processes.backend == "loky"
    assert load_config([tiny, "processes.backend=dask"]).processes.backend == "dask"
    assert load_config([tiny]).generation.workers == 0
    with pytest.raises(ConfigError, match=r"processes\.backend"):
        load_config([tiny, "processes.backend=threads"])
