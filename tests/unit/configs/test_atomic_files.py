"""Files appear whole or not at all: order of the steps, full disks, and what a kill leaves."""

import errno
import logging
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
import torch

from configs import cli as entry
from configs.runtime import atomic_files as atomic
from configs.runtime.atomic_files import (
    atomic_path,
    fresh_folder,
    stale_siblings,
    temporary_sibling,
    write_text,
)
from configs.runtime.errors import UserError
from configs.runtime.torch_files import load_plain, save_plain


def test_the_file_is_flushed_before_the_rename_and_the_folder_after(tmp_path, monkeypatch):
    steps = []
    flush = atomic.flush
    monkeypatch.setattr(
        atomic, "flush", lambda p: (steps.append((p.name, final.exists())), flush(p))
    )
    final = tmp_path / "x.txt"
    write_text(final, "whole")
    assert [exists for _, exists in steps] == [False, True]
    assert steps[1][0] == tmp_path.name
    assert final.read_text() == "whole"


def test_the_final_name_moves_to_a_new_file_and_the_old_one_is_never_written_to(tmp_path):
    """A copy over the old file would leave half of it there when killed."""
    final = tmp_path / "x.txt"
    write_text(final, "old content")
    with final.open() as reader:
        write_text(final, "new")
        assert reader.read() == "old content"
    assert final.read_text() == "new"


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")]
)
def test_a_full_or_read_only_disk_leaves_the_old_file_and_says_so(tmp_path, code, words):
    final = tmp_path / "x.txt"
    write_text(final, "old")
    with pytest.raises(UserError, match=words), atomic_path(final) as temporary:
        temporary.write_text("half")
        raise OSError(code, os.strerror(code))
    assert final.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.txt"]


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from configs.runtime.torch_files import save_plain
from configs.runtime.atomic_files import atomic_path
from configs.runtime.errors import UserError
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
folder = Path(sys.argv[1])
def arrays():
    with atomic_path(folder / "x.npz") as temporary:
        np.savez(temporary, x=np.zeros(10_000))
for write in (arrays, lambda: save_plain(folder / "x.pt", torch.zeros(10_000))):
    try:
        write()
    except UserError as error:
        assert "files this large" in str(error), error
    else:
        raise SystemExit("nothing was refused")
"""


def test_a_disk_that_takes_no_more_bytes_is_reported_by_every_writer(tmp_path):
    subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], check=True, cwd=os.getcwd())
    assert os.listdir(tmp_path) == []


KILLED = """
import os, signal, sys
from pathlib import Path
from configs.runtime.atomic_files import atomic_path
from configs.runtime.atomic_files import fresh_folder
folder = Path(sys.argv[1])
with fresh_folder(folder / "data.d") as inner, atomic_path(folder / "x.npz") as temporary:
    (inner / "half").write_text("half")
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_write(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    left = sorted(os.listdir(tmp_path))
    assert len(left) == 2 and all(name.startswith(".") for name in left)
    mine = temporary_sibling(tmp_path / "x.npz")  # of a process that still runs: this one
    mine.write_text("in use")
    assert len(stale_siblings(tmp_path / "x.npz")) == 1
    with atomic_path(tmp_path / "x.npz") as temporary:
        np.savez(temporary, x=np.ones(3))
    with fresh_folder(tmp_path / "data.d") as inner:
        (inner / "whole").write_text("whole")
    assert sorted(os.listdir(tmp_path)) == sorted(["data.d", "x.npz", mine.name])


def test_a_folder_is_replaced_whole(tmp_path):
    final = tmp_path / "built"
    for content in ("old", "new"):
        with atomic.fresh_folder(final) as folder:
            (folder / content).write_text(content)
    assert [path.name for path in final.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["built"]


def test_a_link_to_a_folder_stays_and_its_target_is_replaced(tmp_path):
    link, target = tmp_path / "link", tmp_path / "disk" / "built"
    target.mkdir(parents=True)
    (target / "old").write_text("old")
    link.symlink_to(target)
    with atomic.fresh_folder(link) as folder:
        (folder / "new").write_text("new")
    assert link.is_symlink()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["built", "disk", "link", "new"]


def test_a_folder_that_cannot_be_moved_into_place_leaves_the_old_one(tmp_path, monkeypatch):
    final, rename = tmp_path / "built", os.rename
    with atomic.fresh_folder(final) as folder:
        (folder / "old").write_text("old")

    def second_fails(source, target):
        if target == final and not (source / "old").exists():
            raise OSError("no space")
        rename(source, target)

    monkeypatch.setattr(os, "rename", second_fails)
    with pytest.raises(OSError, match="no space"), atomic.fresh_folder(final):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["built", "old"]


def test_a_failed_build_leaves_the_old_folder(tmp_path):
    final = tmp_path / "built"
    with atomic.fresh_folder(final) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(ZeroDivisionError), atomic.fresh_folder(final):
        raise ZeroDivisionError
    assert [path.name for path in tmp_path.rglob("*")] == ["built", "old"]


def test_what_another_users_process_may_still_write_stays(tmp_path, monkeypatch):
    def forbidden(process, signal_number):
        raise PermissionError

    partial = atomic.temporary_sibling(tmp_path / "a.txt")
    partial.write_text("in progress")
    monkeypatch.setattr(os, "kill", forbidden)
    assert atomic.stale_siblings(tmp_path / "a.txt") == []


def test_what_a_process_of_another_host_may_still_write_stays(tmp_path):
    for host, stale in ((atomic._HOST, True), ("0" * 8, False)):
        left = tmp_path / f".a.{host}-4194305-ab.partial.txt"  # no process here has this number
        left.touch()
        assert (left in stale_siblings(tmp_path / "a.txt")) == stale


def test_a_folder_is_flushed_too(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(os, "fsync", lambda handle: flushed.append(os.fstat(handle).st_ino))
    atomic.flush(tmp_path)
    assert flushed == [tmp_path.stat().st_ino]


def test_plain_files_come_back_as_they_were(tmp_path):
    save_plain(tmp_path / "x.pt", {"a": torch.arange(3), "b": [1, "two"]})
    found = load_plain(tmp_path / "x.pt", "file")
    assert found["a"].tolist() == [0, 1, 2] and found["b"] == [1, "two"]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FloatingPointError("step 3"), "step 3"),
        (OSError(errno.ENOSPC, "No space left", "x.csv"), "x.csv: the disk is full"),
        (MemoryError("Unable to allocate"), "lower diffusion.micro_batch"),
        (RuntimeError("CUDA out of memory. Tried"), "sampler.batch_size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you"), "lower diffusion"),
    ],
)
def test_causes_outside_the_program_become_one_message(monkeypatch, caplog, error, words):
    def main(config):
        raise error

    monkeypatch.delenv("TARDIFF_DEBUG", raising=False)
    caplog.set_level(logging.INFO)
    assert entry._guarded(main, ["configs/base/tiny.yaml"]) == entry.EXIT_USER_ERROR
    assert words in caplog.text


def test_a_defect_keeps_its_traceback(monkeypatch):
    def main(config):
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        entry._guarded(main, ["configs/base/tiny.yaml"])
